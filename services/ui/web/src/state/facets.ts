import { effect, signal, untracked } from '@preact/signals';
import { reason } from '../api/client';
import { float64s, int64s } from '../api/columns';
import { ColumnKind } from '../proto/weightslab/v1/sample_pb';
import { experimentName } from './run';
import { api } from './session';
import { closedCards, facetColumns } from './settings';
import { columnKinds, fields, filter, page } from './view';

const BINS = 40;
/** Values move with every batch; their distribution is looked at more calmly. */
const EVERY_MS = 5_000;

export type Histogram =
  | {
      readonly kind: 'numbers';
      /** One more than there are counts. */
      readonly edges: Float64Array;
      readonly counts: Float64Array;
      readonly missing: number;
    }
  | {
      readonly kind: 'texts';
      readonly categories: readonly string[];
      readonly counts: Float64Array;
      readonly missing: number;
    };

export const histogram = signal<Histogram | null>(null);
export const histogramError = signal('');

/** The column whose distribution is shown. */
export function facetColumn(): string {
  const chosen = facetColumns.value[experimentName.value];
  const { main, statistics } = columnKinds.value;
  if (chosen && [...main, ...statistics].some(({ name }) => name === chosen)) return chosen;
  return fields.value.at(-1) ?? main[0]?.name ?? '';
}

export function setFacetColumn(column: string): void {
  facetColumns.value = { ...facetColumns.value, [experimentName.value]: column };
}

let asked = 0;

async function load(column: string): Promise<void> {
  const turn = ++asked;
  try {
    const reply = await api().samples.getHistogram({
      experiment: experimentName.value,
      column,
      filter: filter.value,
      binCount: BINS,
    });
    if (turn !== asked) return;
    const counts = int64s(reply.counts, 'counts');
    const missing = Number(reply.missingCount);
    histogram.value =
      reply.kind === ColumnKind.TEXT
        ? { kind: 'texts', categories: reply.categories, counts, missing }
        : { kind: 'numbers', edges: float64s(reply.edges, 'edges'), counts, missing };
    histogramError.value = '';
  } catch (error) {
    if (turn === asked) histogramError.value = reason(error);
  }
}

/** Follows the filter, the column and, at its own pace, the values; rests while the card is closed. */
export function followFacets(): void {
  let shown = '';
  let loadedAtMs = 0;
  effect(() => {
    const column = facetColumn();
    const subject = JSON.stringify([experimentName.value, column, filter.value]);
    const open = page.value !== null && !closedCards.value.includes('distribution') && column !== '';
    if (!open || (subject === shown && Date.now() - loadedAtMs < EVERY_MS)) return;
    if (subject !== shown) histogram.value = null;
    shown = subject;
    loadedAtMs = Date.now();
    untracked(() => void load(column));
  });
}
