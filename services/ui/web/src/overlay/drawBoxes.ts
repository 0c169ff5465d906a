import type { BoxMark } from './boxes';

/** Where an image lies on a canvas, in CSS pixels. */
interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** How names are written on boxes. */
export interface NameLook {
  readonly font: string;
  /** Height of a name's ground, and air at each of its sides. */
  readonly heightPx: number;
  readonly airPx: number;
}

export const LARGE_NAMES: NameLook = { font: '600 12px system-ui, sans-serif', heightPx: 17, airPx: 4 };
export const SMALL_NAMES: NameLook = { font: '600 10px system-ui, sans-serif', heightPx: 13, airPx: 3 };

/** Black or white, whichever can be read on a colour `#rrggbb`. */
function inkOn(color: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? '#000' : '#fff';
}

/** Where the name of a box begins: above it where there is room, and within the image. */
export function namePlace(
  box: BoxMark,
  frame: Frame,
  name: { readonly width: number; readonly height: number },
): { left: number; top: number } {
  const left = frame.left + box.left * frame.width - 1;
  const top = frame.top + box.top * frame.height;
  const rightmost = frame.left + frame.width - name.width;
  return {
    left: Math.max(frame.left, Math.min(left, rightmost)),
    top: top - name.height >= Math.max(0, frame.top) ? top - name.height : top,
  };
}

/** Lines and names keep their size however large the image is; without `names` only the lines are drawn. */
export function drawBoxes(
  context: CanvasRenderingContext2D,
  boxes: readonly BoxMark[],
  frame: Frame,
  names: NameLook | null,
): void {
  context.lineWidth = 2;
  for (const box of boxes) {
    context.strokeStyle = box.color;
    context.strokeRect(
      frame.left + box.left * frame.width,
      frame.top + box.top * frame.height,
      box.width * frame.width,
      box.height * frame.height,
    );
  }
  if (!names) return;
  context.font = names.font;
  context.textBaseline = 'middle';
  for (const box of boxes) {
    const width = context.measureText(box.text).width + 2 * names.airPx;
    const { left, top } = namePlace(box, frame, { width, height: names.heightPx });
    context.fillStyle = box.color;
    context.fillRect(left, top, width, names.heightPx);
    context.fillStyle = inkOn(box.color);
    context.fillText(box.text, left + names.airPx, top + names.heightPx / 2);
  }
}
