/** A curve of up to this many evenly spaced points is smoothed point by point; longer ones by the step. */
const NOMINAL_POINTS = 1_000;
/** A curve of fewer points is smoothed less: a handful of points is not a course with noise. */
const FULLY_SMOOTHED_POINTS = 60;
/** Fewest points a band looks at, so that it is visible without smoothing too. */
const MIN_WINDOW = 9;

/**
 * Steps that count as one point for smoothing.
 *
 * Weighing by distance in steps makes the smoothed curve the same whether all points are there or a reduction of
 * them, and whether the curve is zoomed or not.
 */
export function smoothingUnit(steps: Float64Array): number {
  const count = steps.length;
  if (count < 2) return 1;
  const range = (steps[count - 1] as number) - (steps[0] as number);
  const spacing = range / (Math.min(count, NOMINAL_POINTS) - 1);
  return Math.max(spacing * Math.min(1, count / FULLY_SMOOTHED_POINTS), Number.MIN_VALUE);
}

/**
 * Exponential moving average with the bias of its start corrected, written to `out`.
 *
 * `weight` is 0 (raw) to below 1, per `unit` steps. Values that are not finite leave a gap and are not averaged.
 * The correction divides by the weights given so far, as in Kingma and Ba, "Adam", section 3.
 */
export function smooth(
  steps: Float64Array,
  values: Float64Array,
  options: { readonly weight: number; readonly unit: number; readonly out: Float64Array },
): void {
  const { weight, unit, out } = options;
  let mean = 0;
  let given = 0;
  let previous = Number.NaN;
  let distance = Number.NaN;
  let kept = weight;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!Number.isFinite(value)) {
      out[i] = Number.NaN;
      continue;
    }
    const step = steps[i] as number;
    // Steps are mostly evenly spaced: the power is computed once for a run of equal distances.
    if (step - previous !== distance) {
      distance = step - previous;
      kept = Number.isNaN(distance) ? weight : weight ** (distance / unit);
    }
    previous = step;
    mean = kept * mean + (1 - kept) * value;
    given = kept * given + (1 - kept);
    out[i] = given > 0 ? mean / given : value;
  }
}

/** Points on which a min/max band stands at a smoothing weight; odd. */
export function bandWindow(weight: number): number {
  return Math.max(MIN_WINDOW, Math.round(1 / (1 - weight)) * 2 + 1);
}

/**
 * Least and greatest value in a window around each point, written to `low` and `high`.
 * One pass with two monotone queues (Lemire 2006), so the cost does not depend on the window.
 */
export function rollingExtent(
  values: Float64Array,
  options: { readonly window: number; readonly low: Float64Array; readonly high: Float64Array },
): void {
  const { low, high } = options;
  const half = options.window >> 1;
  const count = values.length;
  const least = new Int32Array(count);
  const greatest = new Int32Array(count);
  let leastHead = 0;
  let leastTail = 0;
  let greatestHead = 0;
  let greatestTail = 0;
  for (let i = 0; i < count + half; i++) {
    if (i < count) {
      const value = values[i] as number;
      if (Number.isFinite(value)) {
        while (leastTail > leastHead && (values[least[leastTail - 1] as number] as number) >= value)
          leastTail--;
        least[leastTail++] = i;
        while (
          greatestTail > greatestHead &&
          (values[greatest[greatestTail - 1] as number] as number) <= value
        ) {
          greatestTail--;
        }
        greatest[greatestTail++] = i;
      }
    }
    const centre = i - half;
    if (centre < 0) continue;
    while (leastHead < leastTail && (least[leastHead] as number) < centre - half) leastHead++;
    while (greatestHead < greatestTail && (greatest[greatestHead] as number) < centre - half) greatestHead++;
    const there = Number.isFinite(values[centre] as number);
    low[centre] = there ? (values[least[leastHead] as number] as number) : Number.NaN;
    high[centre] = there ? (values[greatest[greatestHead] as number] as number) : Number.NaN;
  }
}

/**
 * A band of one standard deviation around the smoothed curve.
 *
 * `deviations` are those of the samples behind each point; without them the spread of the raw points around the
 * smoothed curve is taken, with the same weights as the smoothing.
 */
export function deviationBand(
  curve: {
    readonly steps: Float64Array;
    readonly values: Float64Array;
    readonly smoothed: Float64Array;
    readonly deviations: Float64Array | undefined;
  },
  options: {
    readonly weight: number;
    readonly unit: number;
    readonly low: Float64Array;
    readonly high: Float64Array;
  },
): void {
  const { steps, values, smoothed, deviations } = curve;
  const { weight, unit, low, high } = options;
  const spread = high;
  if (deviations) {
    smooth(steps, deviations, { weight, unit, out: spread });
  } else {
    for (let i = 0; i < values.length; i++) low[i] = ((values[i] as number) - (smoothed[i] as number)) ** 2;
    smooth(steps, low, { weight: Math.max(weight, 0.9), unit, out: spread });
    for (let i = 0; i < values.length; i++) spread[i] = Math.sqrt(spread[i] as number);
  }
  for (let i = 0; i < values.length; i++) {
    const half = spread[i] as number;
    const centre = smoothed[i] as number;
    low[i] = centre - half;
    high[i] = centre + half;
  }
}
