import type { CurveView, PlotScales } from './CurveModel';
import type { JoinPoint } from './join';
import { toPixel } from './scale';
import { emptyTrace, type Trace, traceCurve } from './trace';

/** The part of a canvas that the drawing uses. */
export type Canvas2d = Pick<
  CanvasRenderingContext2D,
  | 'arc'
  | 'beginPath'
  | 'closePath'
  | 'fill'
  | 'fillStyle'
  | 'globalAlpha'
  | 'lineCap'
  | 'lineJoin'
  | 'lineTo'
  | 'lineWidth'
  | 'moveTo'
  | 'setLineDash'
  | 'stroke'
  | 'strokeStyle'
>;

/** The drawing area in canvas pixels and the ratio of these to CSS pixels. */
export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly ratio: number;
}

const RAW_ALPHA = 0.28;
const BAND_ALPHA = 0.16;
const MARK_ALPHA = 0.6;

const main = emptyTrace();
const other = emptyTrace();
const SOLID: number[] = [];

function tracePath(context: Canvas2d, trace: Trace): void {
  context.beginPath();
  let open = false;
  for (let i = 0; i < trace.count; i++) {
    const x = trace.x[i] as number;
    if (Number.isNaN(x)) {
      open = false;
      continue;
    }
    const y = trace.y[i] as number;
    if (open) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      // A single point between two gaps is a dot: round ends make one of a line without length.
      if (i + 1 >= trace.count || Number.isNaN(trace.x[i + 1] as number)) context.lineTo(x + 0.01, y);
      open = true;
    }
  }
}

function strokeValues(
  context: Canvas2d,
  view: CurveView,
  values: Float64Array,
  style: { readonly scales: PlotScales; readonly area: Area; readonly width: number; readonly alpha: number },
): void {
  const { scales, area } = style;
  const { first, last } = view;
  traceCurve({ steps: view.source.steps, values }, { ...scales, first, last, width: area.width }, main);
  tracePath(context, main);
  context.globalAlpha = style.alpha;
  context.lineWidth = style.width * area.ratio;
  context.strokeStyle = view.model.color;
  context.lineJoin = 'round';
  context.lineCap = 'round';
  context.stroke();
  context.globalAlpha = 1;
}

/** Fills between the edges of the band, piece by piece between gaps. */
export function drawBand(context: Canvas2d, view: CurveView, scales: PlotScales, area: Area): void {
  const { steps } = view.source;
  const range = { ...scales, first: view.first, last: view.last, width: area.width };
  traceCurve({ steps, values: view.derived.high }, range, main);
  traceCurve({ steps, values: view.derived.low }, range, other);
  context.globalAlpha = BAND_ALPHA;
  context.fillStyle = view.model.color;
  let high = 0;
  let low = 0;
  while (high < main.count && low < other.count) {
    const highEnd = pieceEnd(main, high);
    const lowEnd = pieceEnd(other, low);
    context.beginPath();
    context.moveTo(main.x[high] as number, main.y[high] as number);
    for (let i = high + 1; i < highEnd; i++) context.lineTo(main.x[i] as number, main.y[i] as number);
    for (let i = lowEnd - 1; i >= low; i--) context.lineTo(other.x[i] as number, other.y[i] as number);
    context.closePath();
    context.fill();
    high = nextPiece(main, highEnd);
    low = nextPiece(other, lowEnd);
  }
  context.globalAlpha = 1;
}

function pieceEnd(trace: Trace, start: number): number {
  let end = start;
  while (end < trace.count && !Number.isNaN(trace.x[end] as number)) end++;
  return end;
}

function nextPiece(trace: Trace, end: number): number {
  let start = end;
  while (start < trace.count && Number.isNaN(trace.x[start] as number)) start++;
  return start;
}

/** A curve of training: the raw points faint, the smoothed line over them. */
export function drawLine(context: Canvas2d, view: CurveView, scales: PlotScales, area: Area): void {
  const { values } = view.source;
  const { smoothed } = view.derived;
  if (smoothed !== values) strokeValues(context, view, values, { scales, area, width: 1, alpha: RAW_ALPHA });
  strokeValues(context, view, smoothed, { scales, area, width: 1.6, alpha: 1 });
}

/** Points of an audit: hollow diamonds, since they belong to no line of training. */
export function drawAudit(context: Canvas2d, view: CurveView, scales: PlotScales, area: Area): void {
  const { first, last } = view;
  const curve = { steps: view.source.steps, values: view.source.values };
  traceCurve(curve, { ...scales, first, last, width: area.width }, main);
  context.strokeStyle = view.model.color;
  context.lineWidth = 1.4 * area.ratio;
  context.beginPath();
  for (let i = 0; i < main.count; i++) {
    const x = main.x[i] as number;
    if (!Number.isNaN(x)) diamond(context, x, main.y[i] as number, 4 * area.ratio);
  }
  context.stroke();
}

function diamond(context: Canvas2d, x: number, y: number, radius: number): void {
  context.moveTo(x - radius, y);
  context.lineTo(x, y - radius);
  context.lineTo(x + radius, y);
  context.lineTo(x, y + radius);
  context.closePath();
}

/** The dashed line from a parent's point to the first point of a branch, with a ring where it leaves. */
export function drawJoin(
  context: Canvas2d,
  join: { readonly from: JoinPoint; readonly to: JoinPoint; readonly color: string },
  scales: PlotScales,
  area: Area,
): void {
  const { ratio } = area;
  const x = toPixel(scales.x, join.from.step);
  const y = toPixel(scales.y, join.from.value);
  context.strokeStyle = join.color;
  context.lineWidth = 1.4 * ratio;
  context.setLineDash([4 * ratio, 3 * ratio]);
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(toPixel(scales.x, join.to.step), toPixel(scales.y, join.to.value));
  context.stroke();
  context.setLineDash(SOLID);
  context.beginPath();
  context.arc(x, y, 3.5 * ratio, 0, 2 * Math.PI);
  context.stroke();
}

/** Saved checkpoints: small triangles on the axis of steps. Ones that would cover each other are left out. */
export function drawCheckpoints(
  context: Canvas2d,
  marks: { readonly steps: readonly number[]; readonly color: string },
  scales: PlotScales,
  area: Area,
): void {
  const size = 3.5 * area.ratio;
  const bottom = area.top + area.height;
  let previous = Number.NEGATIVE_INFINITY;
  context.fillStyle = marks.color;
  context.globalAlpha = MARK_ALPHA;
  context.beginPath();
  for (const step of marks.steps) {
    if (scales.x.log && step <= 0) continue;
    const x = toPixel(scales.x, step);
    if (x < area.left - size || x > area.left + area.width + size || x - previous < 4 * size) continue;
    previous = x;
    context.moveTo(x, bottom - 1.6 * size);
    context.lineTo(x + size, bottom);
    context.lineTo(x - size, bottom);
    context.closePath();
  }
  context.fill();
  context.globalAlpha = 1;
}

/** Edits of the data: short strokes at the upper edge, where they took effect. */
export function drawEdits(
  context: Canvas2d,
  marks: { readonly steps: readonly number[]; readonly color: string },
  scales: PlotScales,
  area: Area,
): void {
  const { ratio, top } = area;
  let previous = Number.NEGATIVE_INFINITY;
  context.strokeStyle = marks.color;
  context.lineWidth = 1.5 * ratio;
  context.beginPath();
  for (const step of marks.steps) {
    if (scales.x.log && step <= 0) continue;
    const x = toPixel(scales.x, step);
    if (x < area.left || x > area.left + area.width || x - previous < 3 * ratio) continue;
    previous = x;
    context.moveTo(x, top);
    context.lineTo(x, top + 7 * ratio);
  }
  context.stroke();
}
