/** Boxes of a sample in one layer, as the gateway tells them. */
export interface Boxes {
  /** Size of the source in pixels. */
  readonly width: number;
  readonly height: number;
  /** Left, top, right, bottom of each box in pixels of the source. */
  readonly corners: readonly number[];
  readonly labels: readonly number[];
  /** How sure the model is, 0 to 1; `null` where it was not said. */
  readonly scores: readonly (number | null)[];
}

/** A box to be drawn; places and sizes are fractions of the image. */
export interface BoxMark {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly text: string;
  /** `#rrggbb`. */
  readonly color: string;
}

/** In pictures of outlines 0 is the background, so class 0 has this id there. */
export const ID_OF_CLASS_0 = 255;

export interface BoxLook {
  readonly name: (label: number) => string;
  /** Colour and whether it is drawn go by the id in the picture of outlines. */
  readonly color: (id: number) => string;
  readonly hidden: ReadonlySet<number>;
}

export function marksOf({ width, height, corners, labels, scores }: Boxes, look: BoxLook): BoxMark[] {
  return labels.flatMap((label, place) => {
    const id = Math.min(label, ID_OF_CLASS_0) || ID_OF_CLASS_0;
    if (look.hidden.has(id)) return [];
    const [left = 0, top = 0, right = 0, bottom = 0] = corners.slice(4 * place, 4 * place + 4);
    const score = scores[place];
    return {
      left: left / width,
      top: top / height,
      width: (right - left) / width,
      height: (bottom - top) / height,
      text: look.name(label) + (typeof score === 'number' ? ` ${score.toFixed(2)}` : ''),
      color: look.color(id),
    };
  });
}
