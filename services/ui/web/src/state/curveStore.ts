import type { CurveData, CurveKey } from '../plots/types';
import { GrowingColumn } from './growingColumn';
import { extremes } from './reduction';

/** Above this many points a curve is thinned; a zoom fetches what was left out. */
const MAX_POINTS = 20_000;
const THINNED_POINTS = 6_000;

/** New points of a curve, with the ordinal of the first. */
export interface Points {
  readonly key: CurveKey;
  readonly firstOrdinal: number;
  readonly steps: Float64Array;
  readonly values: Float64Array;
  readonly deviations?: Float64Array;
  /** Points in the whole curve, as far as the sender knows. */
  readonly pointCount: number;
}

interface Held {
  readonly key: CurveKey;
  steps: GrowingColumn;
  values: GrowingColumn;
  deviations: GrowingColumn;
  /** Ordinal of the next point that is needed. */
  next: number;
  /** Points that are known to exist. */
  known: number;
  reduced: boolean;
  shown: CurveData | null;
}

export function keyText(key: CurveKey): string {
  return `${key.signal}\u0000${key.branch}\u0000${key.mode}`;
}

/** Curves by ordinals: a doubled point is ignored, a missing one is told. */
export class CurveStore {
  private readonly held = new Map<string, Held>();

  clear(): void {
    this.held.clear();
  }

  /** What the sender of new points has to know: how many of each curve are here. */
  positions(): { key: CurveKey; pointCount: number }[] {
    return [...this.held.values()].map(({ key, next }) => ({ key, pointCount: next }));
  }

  /** Takes a curve as a whole, reduced or not. */
  replace(key: CurveKey, curve: Omit<Points, 'key' | 'firstOrdinal'> & { reduced: boolean }): void {
    const held = this.at(key);
    if (curve.pointCount < held.next) return;
    held.steps = new GrowingColumn(curve.steps);
    held.values = new GrowingColumn(curve.values);
    held.deviations = new GrowingColumn(curve.deviations ?? new Float64Array(0));
    held.next = curve.pointCount;
    held.known = Math.max(held.known, curve.pointCount);
    held.reduced = curve.reduced;
    held.shown = null;
  }

  /** Adds points; returns the ordinal from which points are missing, or null when none is. */
  apply(points: Points): number | null {
    const held = this.at(points.key);
    const end = points.firstOrdinal + points.values.length;
    held.known = Math.max(held.known, points.pointCount, end);
    if (points.firstOrdinal <= held.next && end > held.next) {
      const skipped = held.next - points.firstOrdinal;
      if (points.deviations) {
        held.deviations.pad(held.steps.length);
        held.deviations.append(points.deviations.subarray(skipped));
      }
      held.steps.append(points.steps.subarray(skipped));
      held.values.append(points.values.subarray(skipped));
      held.next = end;
      held.shown = null;
      if (held.values.length > MAX_POINTS) this.thin(held);
    }
    return held.known > held.next ? held.next : null;
  }

  /** Every curve; the arrays of one that has not changed are the same objects as before. */
  curves(): CurveData[] {
    const byName = [...this.held.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
    return byName.map(([, held]) => {
      held.shown ??= this.show(held);
      return held.shown;
    });
  }

  private at(key: CurveKey): Held {
    const name = keyText(key);
    let held = this.held.get(name);
    if (!held) {
      const empty = () => new GrowingColumn(new Float64Array(0));
      held = {
        key,
        steps: empty(),
        values: empty(),
        deviations: empty(),
        next: 0,
        known: 0,
        reduced: false,
        shown: null,
      };
      this.held.set(name, held);
    }
    return held;
  }

  private show(held: Held): CurveData {
    const shown = {
      key: held.key,
      steps: held.steps.view(),
      values: held.values.view(),
      pointCount: held.known,
      reduced: held.reduced,
    };
    if (held.deviations.length === 0) return shown;
    held.deviations.pad(held.steps.length);
    return { ...shown, deviations: held.deviations.view() };
  }

  private thin(held: Held): void {
    const kept = extremes(held.values.view(), THINNED_POINTS);
    const pick = (column: GrowingColumn) => {
      const from = column.view();
      return new GrowingColumn(kept.map((index) => from[index] ?? Number.NaN));
    };
    if (held.deviations.length > 0) {
      held.deviations.pad(held.steps.length);
      held.deviations = pick(held.deviations);
    }
    held.steps = pick(held.steps);
    held.values = pick(held.values);
    held.reduced = true;
  }
}
