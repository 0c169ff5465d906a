export type OverlayKind = 'raw' | 'gt' | 'pred' | 'diff';

/** Class ids of an image's pixels, row by row. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly ids: Uint8Array;
}

export interface MaskLook {
  /** 0 to 1. */
  readonly opacity: number;
  /** Strong edges, faint insides. */
  readonly contour: boolean;
  /** `0xRRGGBB` of a class. */
  readonly color: (id: number) => number;
  /** Classes that are not painted. */
  readonly hidden: ReadonlySet<number>;
}

/** What a comparison says of a pixel; 0 is nothing. */
export const VERDICTS = [
  { name: 'true positive', color: 0x2ca58d },
  { name: 'false positive', color: 0xe0575b },
  { name: 'false negative', color: 0x4f7cff },
  { name: 'confused class', color: 0xf2a42b },
] as const;

const INSIDE = 0.25;

/** For each pixel 1 to 4, a place in `VERDICTS` counted from 1; 0 where both see the background. */
export function compare(gt: Mask, pred: Mask): Mask {
  const { width, height } = gt;
  const ids = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * pred.height) / height) * pred.width;
    for (let x = 0; x < width; x++) {
      const meant = gt.ids[y * width + x] as number;
      const seen = pred.ids[row + Math.floor((x * pred.width) / width)] as number;
      if (meant === seen) ids[y * width + x] = meant === 0 ? 0 : 1;
      else ids[y * width + x] = meant === 0 ? 2 : seen === 0 ? 3 : 4;
    }
  }
  return { width, height, ids };
}

/** RGBA of a mask, transparent where nothing is painted. */
export function paint(mask: Mask, look: MaskLook): Uint8ClampedArray<ArrayBuffer> {
  const { width, height, ids } = mask;
  const pixels = new Uint8ClampedArray(width * height * 4);
  const full = Math.round(look.opacity * 255);
  const faint = Math.round(look.opacity * 255 * INSIDE);
  const colors = new Map<number, number>();
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    if (look.hidden.has(id)) continue;
    let color = colors.get(id);
    if (color === undefined) {
      color = look.color(id);
      colors.set(id, color);
    }
    const x = i % width;
    const edge =
      x === 0 ||
      x === width - 1 ||
      ids[i - 1] !== id ||
      ids[i + 1] !== id ||
      ids[i - width] !== id ||
      ids[i + width] !== id;
    pixels[4 * i] = color >> 16;
    pixels[4 * i + 1] = (color >> 8) & 255;
    pixels[4 * i + 2] = color & 255;
    pixels[4 * i + 3] = look.contour && !edge ? faint : full;
  }
  return pixels;
}

/** The class ids that a mask holds, ascending. */
export function classesOf(mask: Mask): number[] {
  const seen = new Uint8Array(256);
  for (const id of mask.ids) seen[id] = 1;
  return Array.from(seen.keys()).filter((id) => seen[id] === 1);
}
