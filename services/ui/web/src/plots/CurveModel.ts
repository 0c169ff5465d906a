import type { Scale } from './scale';
import type { PlotLook } from './settings';
import { bandWindow, deviationBand, rollingExtent, smooth, smoothingUnit } from './smoothing';
import type { CurveData } from './types';

/** The few points of an audit are facts, not a course to be smoothed. */
const AS_IT_IS = { smoothing: 0, band: 'none' } as const;
const EMPTY: Float64Array = new Float64Array(0);

/** An array that grows in steps, so that a curve that gains points every 100 ms does not make garbage each time. */
class Buffer {
  private storage: Float64Array = EMPTY;

  of(length: number): Float64Array {
    if (this.storage.length < length) this.storage = new Float64Array(Math.ceil(length * 1.5) + 64);
    return this.storage.subarray(0, length);
  }
}

/** What is computed from the points of a curve for drawing it: computed again only when points or look change. */
export class DerivedCurve {
  smoothed: Float64Array = EMPTY;
  low: Float64Array = EMPTY;
  high: Float64Array = EMPTY;
  /** Points that cannot be shown because they are NaN or infinite. */
  gapCount = 0;

  private readonly smoothedBuffer = new Buffer();
  private readonly lowBuffer = new Buffer();
  private readonly highBuffer = new Buffer();
  private steps: Float64Array | null = null;
  private values: Float64Array | null = null;
  private signature = '';

  get hasBand(): boolean {
    return this.low.length > 0;
  }

  derive(data: CurveData, look: PlotLook, unit: number): void {
    const signature = `${look.smoothing} ${look.band} ${look.logY} ${unit}`;
    if (data.values === this.values && data.steps === this.steps && signature === this.signature) return;
    this.steps = data.steps;
    this.values = data.values;
    this.signature = signature;
    const { steps, values } = data;
    this.gapCount = countGaps(values);
    if (look.smoothing > 0) {
      this.smoothed = this.smoothedBuffer.of(values.length);
      smooth(steps, values, { weight: look.smoothing, unit, out: this.smoothed });
    } else this.smoothed = values;
    this.deriveBand(data, look, unit);
  }

  private deriveBand(data: CurveData, look: PlotLook, unit: number): void {
    if (look.band === 'none') {
      this.low = EMPTY;
      this.high = EMPTY;
      return;
    }
    const { steps, values, deviations } = data;
    const low = this.lowBuffer.of(values.length);
    const high = this.highBuffer.of(values.length);
    const weight = look.smoothing;
    if (look.band === 'minmax') rollingExtent(values, { window: bandWindow(weight), low, high });
    else deviationBand({ steps, values, smoothed: this.smoothed, deviations }, { weight, unit, low, high });
    // The lower edge of a band may be below what a log axis can show; it then runs out of the picture.
    if (look.logY) {
      for (let i = 0; i < low.length; i++) {
        if ((low[i] as number) <= 0) low[i] = (high[i] as number) * 1e-9;
      }
    }
    this.low = low;
    this.high = high;
  }
}

function countGaps(values: Float64Array): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i] as number)) count++;
  return count;
}

/** Finer points of a range of steps, both ends included. */
export interface Detail {
  readonly data: CurveData;
  readonly first: number;
  readonly last: number;
  /** Steps that were visible when it was asked for; what is fetched around them does not count. */
  readonly width: number;
}

/** A reduction is made anew once less than this fraction of what it was made for is visible. */
const FINER_BELOW = 0.5;

/** A curve as a plot holds it: all of it in a reduction, and a finer piece of it while zoomed. */
export class CurveModel {
  color = '#888888';
  name = '';
  hidden = false;
  private detail: Detail | null = null;
  private detailEnd = 0;
  private readonly wholeDerived = new DerivedCurve();
  private readonly detailDerived = new DerivedCurve();
  private unit = 1;
  private unitSteps: Float64Array | null = null;

  constructor(
    readonly id: string,
    public data: CurveData,
  ) {}

  setDetail(detail: Detail | null): void {
    this.detail = detail;
    this.detailEnd = this.data.steps.at(-1) ?? 0;
  }

  /** Whether what is held of a range of steps is a reduction that can be made finer. */
  needsDetail(first: number, last: number): boolean {
    const source = this.sourceFor(first, last);
    if (!source.reduced) return false;
    return source === this.data || last - first < FINER_BELOW * (this.detail?.width ?? 0);
  }

  /** Whether points came to a range up to `last` after its finer points were fetched. */
  hasGrown(last: number): boolean {
    return this.detail !== null && last > this.detailEnd && (this.data.steps.at(-1) ?? 0) > this.detailEnd;
  }

  /** The finest points held for a range of steps. */
  sourceFor(first: number, last: number): CurveData {
    const { detail, data } = this;
    return detail && detail.first <= first && detail.last >= last ? detail.data : data;
  }

  derived(source: CurveData, look: PlotLook): DerivedCurve {
    if (this.unitSteps !== this.data.steps) {
      this.unitSteps = this.data.steps;
      this.unit = smoothingUnit(this.data.steps);
    }
    const derived = source === this.data ? this.wholeDerived : this.detailDerived;
    derived.derive(source, source.key.mode === 'audit' ? { ...look, ...AS_IT_IS } : look, this.unit);
    return derived;
  }
}

/** A curve with all that is needed to draw it in one view. */
export interface CurveView {
  readonly model: CurveModel;
  readonly source: CurveData;
  readonly derived: DerivedCurve;
  readonly first: number;
  readonly last: number;
}

export interface PlotScales {
  readonly x: Scale;
  readonly y: Scale;
}
