import { signal } from '@preact/signals';
import { float64s, int64s } from '../api/columns';
import type { CurveData, CurveKey } from '../plots/types';
import type { CurveKey as WireKey } from '../proto/weightslab/v1/common_pb';
import { Mode } from '../proto/weightslab/v1/common_pb';
import type { CurveDelta } from '../proto/weightslab/v1/experiment_pb';
import type { Curve } from '../proto/weightslab/v1/signal_pb';
import { CurveStore, keyText } from './curveStore';
import { api } from './session';
import { plotIntervalSecs } from './settings';

const OVERVIEW_POINTS = 4_000;
/** Above this a gap is not filled point by point: the curve is fetched anew, reduced. */
const MAX_REPAIRED_POINTS = 100_000;

const store = new CurveStore();
const repairing = new Set<string>();
let publishing = 0;
let publishedAtMs = 0;

export const curves = signal<readonly CurveData[]>([]);
/** Ids of the curves that this viewer has hidden; part of the address. */
export const hiddenCurves = signal<readonly string[]>([]);
/** The newest value of every curve, not held back by the interval of the plots. */
export const curveVersion = signal(0);

export function fromWire(key: WireKey | undefined): CurveKey {
  return {
    branch: key?.branch ?? '',
    signal: key?.signal ?? '',
    mode: key?.mode === Mode.AUDIT ? 'audit' : 'train',
  };
}

export function toWire(key: CurveKey) {
  return { branch: key.branch, signal: key.signal, mode: key.mode === 'audit' ? Mode.AUDIT : Mode.TRAIN };
}

export function curveData(curve: Curve): CurveData {
  const name = curve.key?.signal ?? '';
  const shown = {
    key: fromWire(curve.key),
    steps: int64s(curve.steps, `${name} steps`),
    values: float64s(curve.values, name),
    pointCount: Number(curve.pointCount),
    reduced: curve.reduced,
  };
  return curve.deviations.length
    ? { ...shown, deviations: float64s(curve.deviations, `${name} deviations`) }
    : shown;
}

export function positions() {
  return store
    .positions()
    .map(({ key, pointCount }) => ({ key: toWire(key), pointCount: BigInt(pointCount) }));
}

export function clearCurves(): void {
  store.clear();
  publish();
}

/** Fetches an overview of every curve. */
export async function loadCurves(experiment: string): Promise<void> {
  const reply = await api().signals.getCurves({ experiment, budget: OVERVIEW_POINTS });
  for (const curve of reply.curves) {
    const data = curveData(curve);
    store.replace(data.key, data);
  }
  publish();
}

export function applyDeltas(experiment: string, deltas: readonly CurveDelta[]): void {
  for (const delta of deltas) {
    const key = fromWire(delta.key);
    const missing = store.apply({
      key,
      firstOrdinal: Number(delta.firstOrdinal),
      steps: int64s(delta.steps, `${key.signal} steps`),
      values: float64s(delta.values, key.signal),
      pointCount: Number(delta.pointCount),
    });
    if (missing !== null) void repair(experiment, key, missing);
  }
  if (deltas.length) schedulePublish();
}

/** Fetches what is missing of a curve from an ordinal on, until nothing is. */
async function repair(experiment: string, key: CurveKey, from: number): Promise<void> {
  const name = keyText(key);
  if (repairing.has(name)) return;
  repairing.add(name);
  try {
    let missing: number | null = from;
    while (missing !== null) {
      const first: number = missing;
      const reply = await api().signals.getCurves({
        experiment,
        keys: [toWire(key)],
        firstOrdinal: BigInt(first),
        budget: MAX_REPAIRED_POINTS,
        raw: true,
      });
      const [curve] = reply.curves;
      if (!curve || curve.values.length === 0) return;
      missing = store.apply({ ...curveData(curve), firstOrdinal: first });
    }
  } catch {
    // The next delta of this curve shows the gap again and starts the next attempt.
  } finally {
    repairing.delete(name);
    schedulePublish();
  }
}

function publish(): void {
  publishing = 0;
  publishedAtMs = performance.now();
  curves.value = store.curves();
  curveVersion.value += 1;
}

/** At once after a rest, else at the pace of the plots. */
function schedulePublish(): void {
  if (publishing) return;
  const restedMs = performance.now() - publishedAtMs;
  publishing = window.setTimeout(publish, Math.max(0, plotIntervalSecs.value * 1000 - restedMs));
}

export async function fetchRange(
  experiment: string,
  request: { key: CurveKey; first: number; last: number; budget: number },
): Promise<CurveData> {
  const reply = await api().signals.getCurves({
    experiment,
    keys: [toWire(request.key)],
    firstStep: BigInt(Math.floor(request.first)),
    lastStep: BigInt(Math.ceil(request.last)),
    budget: Math.max(4, Math.min(100_000, Math.round(request.budget))),
  });
  const [curve] = reply.curves;
  if (!curve) throw new Error(`there are no points of ${request.key.signal}`);
  return curveData(curve);
}
