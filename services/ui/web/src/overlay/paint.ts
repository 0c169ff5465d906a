import type { Boxes, BoxMark } from './boxes';

export type OverlayKind = 'raw' | 'gt' | 'pred' | 'diff';

/** Class ids of an image's pixels, row by row. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly ids: Uint8Array;
  /** What is outlined, when these are outlines of boxes. */
  readonly boxes?: Boxes;
}

/** What lies over an image: pixels, or instead of them where there is room the boxes that they outline. */
export interface Drawn {
  readonly pixels: ImageData;
  readonly boxes: readonly BoxMark[];
  /** Whether the image below is shown in grey, so that its colours are not taken for those that lie over it. */
  readonly grey: boolean;
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

/** What the ids 1 to 4 of the layer `diff` say of a pixel; 0 is background in both. */
export const VERDICTS = [
  { name: 'true positive', color: 0x2ca58d },
  { name: 'false positive', color: 0xe0575b },
  { name: 'false negative', color: 0x4f7cff },
  { name: 'confused class', color: 0xf2a42b },
] as const;

const INSIDE = 0.25;

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
