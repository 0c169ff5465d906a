import { lowerBound } from './scale';

export interface JoinPoint {
  readonly step: number;
  readonly value: number;
}

/** The parent's last point with a value at or before the step where a branch leaves it. */
export function joinPoint(
  parent: { readonly steps: Float64Array; readonly values: Float64Array },
  step: number,
): JoinPoint | null {
  for (let i = lowerBound(parent.steps, step + 1) - 1; i >= 0; i--) {
    const at = parent.steps[i] as number;
    const value = parent.values[i] as number;
    if (at <= step && Number.isFinite(value)) return { step: at, value };
  }
  return null;
}

/** The newest of some ascending steps at or before a step; `null` when all are later. */
export function newestAtOrBefore(steps: readonly number[], step: number): number | null {
  let result: number | null = null;
  for (const candidate of steps) {
    if (candidate <= step && (result === null || candidate > result)) result = candidate;
  }
  return result;
}
