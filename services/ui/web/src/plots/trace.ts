import { lowerBound, type Scale, toPixel, toValue } from './scale';

/** Most points that one pixel column leaves: first, least, greatest, last, and a break before them. */
const PER_COLUMN = 5;

/** Polylines in canvas pixels. NaN in `x` ends a line. The arrays are used again from frame to frame. */
export interface Trace {
  x: Float64Array;
  y: Float64Array;
  count: number;
}

export function emptyTrace(): Trace {
  return { x: new Float64Array(0), y: new Float64Array(0), count: 0 };
}

function put(trace: Trace, x: number, y: number): void {
  trace.x[trace.count] = x;
  trace.y[trace.count] = y;
  trace.count++;
}

/** What of a curve stands in a range of steps, with the neighbour on each side so that lines run off the edge. */
export function visibleRange(steps: Float64Array, min: number, max: number): { first: number; last: number } {
  const first = Math.max(0, lowerBound(steps, min) - 1);
  const last = Math.min(steps.length, lowerBound(steps, max) + 2);
  return { first, last };
}

/**
 * Writes a curve as polylines into `trace`.
 *
 * Many points per pixel are reduced to the first, least, greatest and last of each pixel column, which draws the same
 * picture: no spike is lost. Values that cannot be shown (not finite, or not positive on a log axis) end a line.
 */
export function traceCurve(
  curve: { readonly steps: Float64Array; readonly values: Float64Array },
  view: {
    readonly x: Scale;
    readonly y: Scale;
    readonly first: number;
    readonly last: number;
    readonly width: number;
  },
  trace: Trace,
): void {
  const { steps, values } = curve;
  const { x, y, first, last, width } = view;
  trace.count = 0;
  const dense = last - first > 4 * width;
  const capacity = dense ? PER_COLUMN * (Math.ceil(width) + 4) : 2 * (last - first) + 2;
  if (trace.x.length < capacity) {
    trace.x = new Float64Array(capacity);
    trace.y = new Float64Array(capacity);
  }
  const floor = y.log ? 0 : Number.NEGATIVE_INFINITY;
  if (dense) traceColumns(steps, values, view, trace, floor);
  else {
    for (let i = first; i < last; i++) {
      const value = values[i] as number;
      const step = steps[i] as number;
      if (value > floor && value < Number.POSITIVE_INFINITY && !(x.log && step <= 0)) {
        put(trace, toPixel(x, step), toPixel(y, value));
      } else if (trace.count > 0) put(trace, Number.NaN, Number.NaN);
    }
  }
}

function traceColumns(
  steps: Float64Array,
  values: Float64Array,
  view: { readonly x: Scale; readonly y: Scale; readonly first: number; readonly last: number },
  trace: Trace,
  floor: number,
): void {
  const { x, y, last } = view;
  let i = view.first;
  if (x.log) while (i < last && (steps[i] as number) <= 0) i++;
  let broken = false;
  while (i < last) {
    const column = Math.floor(toPixel(x, steps[i] as number));
    const end = toValue(x, column + 1);
    const start = i;
    let firstAt = -1;
    let lastAt = -1;
    let leastAt = -1;
    let greatestAt = -1;
    let least = Number.POSITIVE_INFINITY;
    let greatest = Number.NEGATIVE_INFINITY;
    do {
      const value = values[i] as number;
      if (value > floor && value < Number.POSITIVE_INFINITY) {
        if (firstAt < 0) firstAt = i;
        lastAt = i;
        if (value < least) {
          least = value;
          leastAt = i;
        }
        if (value > greatest) {
          greatest = value;
          greatestAt = i;
        }
      }
      i++;
    } while (i < last && (steps[i] as number) < end);
    // A gap within one pixel cannot be seen; one at its edge ends the line.
    if ((broken || firstAt !== start) && trace.count > 0) put(trace, Number.NaN, Number.NaN);
    broken = lastAt !== i - 1;
    if (firstAt < 0) continue;
    put(trace, column + 0.5, toPixel(y, values[firstAt] as number));
    const early = Math.min(leastAt, greatestAt);
    const late = Math.max(leastAt, greatestAt);
    if (early !== firstAt) put(trace, column + 0.5, toPixel(y, values[early] as number));
    if (late !== early && late !== lastAt) put(trace, column + 0.5, toPixel(y, values[late] as number));
    if (lastAt !== firstAt) put(trace, column + 0.5, toPixel(y, values[lastAt] as number));
  }
}
