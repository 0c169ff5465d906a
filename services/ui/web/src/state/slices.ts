import { signal } from '@preact/signals';
import { reason } from '../api/client';
import { float64s, int64s } from '../api/columns';
import type { ChartCurve } from '../plots/PlotChart';
import type { CurveKey } from '../plots/types';
import { toWire } from './curves';
import { experimentName, status } from './run';
import { api } from './session';
import { PALETTE } from './settings';

/** The curve that is broken by slices, or null. */
export const broken = signal<CurveKey | null>(null);

export interface Slices {
  readonly curves: readonly ChartCurve[];
  readonly error: string;
}

/** What is chosen quickly one after the other is asked for once. */
const SETTLE_MS = 200;
const EVERY_MS = 3_000;

/**
 * Tells the slices of a curve now and, as members of a tag and values of the run move, again and again, until the
 * returned function is called. Never asks before the last answer: over a long run it takes the ledger a while.
 */
export function followSlices(
  key: CurveKey,
  tags: readonly string[],
  onSlices: (slices: Slices) => void,
): () => void {
  const stop = new AbortController();
  let timer = 0;
  const load = async () => {
    // Nobody looks at a hidden tab.
    const slices = document.hidden ? null : await fetchSlices(key, tags, stop.signal);
    if (stop.signal.aborted) return;
    if (slices) onSlices(slices);
    timer = window.setTimeout(load, EVERY_MS);
  };
  timer = window.setTimeout(load, SETTLE_MS);
  return () => {
    clearTimeout(timer);
    stop.abort();
  };
}

/** Mean over the samples of each tag, in every branch; the first slice is all samples. */
async function fetchSlices(key: CurveKey, tags: readonly string[], stopped: AbortSignal): Promise<Slices> {
  try {
    const { signal: name, mode } = toWire(key);
    const slices = [{ tags: [] }, ...tags.map((tag) => ({ tags: [tag] }))];
    const reply = await api().signals.getSliceCurves(
      { experiment: experimentName.value, signal: name, mode, slices },
      { signal: stopped },
    );
    const branches = new Map(status.value?.branches.map(({ branch, name }) => [branch, name || branch]));
    const several = new Set(reply.curves.map(({ branch }) => branch)).size > 1;
    const curves = reply.curves.map(({ slice, branch, steps, means, deviations }) => {
      const slicedBy = slice === 0 ? 'all samples' : (tags[slice - 1] ?? '');
      const size = Number(reply.sampleCounts[slice] ?? 0);
      const values = float64s(means, slicedBy);
      return {
        id: `${slice} ${branch}`,
        data: {
          key: { ...key, branch },
          steps: int64s(steps, slicedBy),
          values,
          deviations: float64s(deviations, slicedBy),
          pointCount: values.length,
          reduced: false,
        },
        color: slice === 0 ? '#8d95a7' : (PALETTE[(slice - 1) % PALETTE.length] as string),
        name: `${slicedBy} (${size.toLocaleString('en')})${several ? ` · ${branches.get(branch) ?? branch}` : ''}`,
        hidden: false,
      };
    });
    return { curves, error: '' };
  } catch (error) {
    return { curves: [], error: reason(error) };
  }
}
