/** From values to canvas pixels along one axis: `shift + factor * (log ? log10(value) : value)`. */
export interface Scale {
  readonly log: boolean;
  readonly shift: number;
  readonly factor: number;
}

export interface Range {
  readonly min: number;
  readonly max: number;
}

export function scaleOf(
  range: Range,
  pixels: { readonly from: number; readonly to: number },
  log: boolean,
): Scale {
  const min = log ? Math.log10(range.min) : range.min;
  const max = log ? Math.log10(range.max) : range.max;
  const factor = (pixels.to - pixels.from) / (max - min);
  return { log, factor, shift: pixels.from - min * factor };
}

export function toPixel(scale: Scale, value: number): number {
  return scale.shift + scale.factor * (scale.log ? Math.log10(value) : value);
}

export function toValue(scale: Scale, pixel: number): number {
  const value = (pixel - scale.shift) / scale.factor;
  return scale.log ? 10 ** value : value;
}

/** Index of the first element that is not below `value`. */
export function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the element nearest to `value`, or -1 when there is none. */
export function nearestIndex(sorted: Float64Array, value: number): number {
  const at = lowerBound(sorted, value);
  if (at === 0) return sorted.length > 0 ? 0 : -1;
  if (at === sorted.length) return at - 1;
  return value - (sorted[at - 1] as number) <= (sorted[at] as number) - value ? at - 1 : at;
}

/** Gathers the least and greatest of what can be shown on an axis. */
export class Extent {
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;

  constructor(private readonly log: boolean) {}

  add(values: Float64Array, first: number, last: number): void {
    let { min, max } = this;
    const floor = this.log ? 0 : Number.NEGATIVE_INFINITY;
    for (let i = first; i < last; i++) {
      const value = values[i] as number;
      // Both comparisons are false for NaN; infinities are not shown.
      if (value > floor && value < min) min = value;
      if (value > max && value < Number.POSITIVE_INFINITY && value > floor) max = value;
    }
    this.min = min;
    this.max = max;
  }

  get empty(): boolean {
    return this.min > this.max;
  }
}

/** What a range may differ by at least, as a share of its values. */
const LEAST_SHARE = 1e-9;

/** Whether the values of a range differ in their last digits only: no axis has ticks that fine. */
export function tooFine({ min, max }: Range): boolean {
  return max - min <= Math.max(Math.abs(min), Math.abs(max)) * LEAST_SHARE;
}

/** A range with air around the values, never empty. */
export function padded(extent: Range, log: boolean): Range {
  const { min, max } = extent;
  if (min > max) return log ? { min: 0.1, max: 10 } : { min: 0, max: 1 };
  if (log) {
    const air = Math.max((max / min) ** 0.06, 1.05);
    return { min: min / air, max: max * air };
  }
  const height = max - min;
  const air = tooFine(extent) ? Math.abs(max) * 0.1 || 1 : height * 0.07;
  return { min: min - air, max: max + air };
}

/** A range zoomed by `factor` (below 1 is closer) around a place that stays where it is. */
export function zoomed(
  range: Range,
  at: number,
  options: { readonly factor: number; readonly log: boolean },
): Range {
  const { factor, log } = options;
  if (log) {
    const centre = Math.log10(at);
    const min = Math.log10(range.min);
    const max = Math.log10(range.max);
    return { min: 10 ** (centre - (centre - min) * factor), max: 10 ** (centre + (max - centre) * factor) };
  }
  return { min: at - (at - range.min) * factor, max: at + (range.max - at) * factor };
}
