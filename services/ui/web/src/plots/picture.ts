import type { CurveModel } from './CurveModel';
import { canvasTheme } from './theme';

const PADDING = 14;
const TITLE_PX = 14;
const LEGEND_PX = 11;
const LEGEND_GAP = 18;

/** The plot as a picture for a report: title, axes, curves and legend on the surface of the theme. */
export function plotPicture(
  canvas: HTMLCanvasElement,
  options: { readonly title: string; readonly curves: readonly CurveModel[] },
): Promise<Blob> {
  const theme = canvasTheme(canvas);
  const ratio = devicePixelRatio;
  const top = PADDING + TITLE_PX + 10;
  const picture = document.createElement('canvas');
  picture.width = canvas.width + 2 * PADDING * ratio;
  picture.height = canvas.height + (top + PADDING + LEGEND_PX + 22) * ratio;
  const context = picture.getContext('2d');
  if (!context) return Promise.reject(new Error('this browser gives no canvas'));
  context.fillStyle = theme.surface;
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(canvas, PADDING * ratio, top * ratio);
  context.scale(ratio, ratio);
  context.textBaseline = 'middle';
  context.fillStyle = theme.ink;
  context.font = `600 ${TITLE_PX}px ${theme.font}`;
  context.fillText(options.title, PADDING, PADDING + TITLE_PX / 2);
  context.font = `${LEGEND_PX}px ${theme.font}`;
  const y = top + canvas.height / ratio + 16;
  let x = PADDING + 46;
  for (const { name, color } of options.curves) {
    context.fillStyle = color;
    context.fillRect(x, y - 1.5, 12, 3);
    context.fillStyle = theme.ink;
    context.fillText(name, x + 17, y);
    x += 17 + context.measureText(name).width + LEGEND_GAP;
  }
  context.fillStyle = theme.muted;
  context.textAlign = 'right';
  context.fillText('step', picture.width / ratio - PADDING, y);
  return new Promise((resolve, reject) => {
    picture.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large'))),
      'image/png',
    );
  });
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken the address by the next task; keeping it would keep the whole file in memory.
  setTimeout(() => URL.revokeObjectURL(link.href), 0);
}
