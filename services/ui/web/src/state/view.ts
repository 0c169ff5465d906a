import { Code } from '@connectrpc/connect';
import { batch, computed, signal } from '@preact/signals';
import { isCode, reason } from '../api/client';
import { NOTHING } from '../grid/selection';
import type { Cell, GridPage, Selection } from '../grid/types';
import type { ColumnInfo, SplitInfo } from '../proto/weightslab/v1/sample_pb';
import { ColumnKind } from '../proto/weightslab/v1/sample_pb';
import type { SortKey } from './address';
import { Baseline, pageOf } from './page';
import { positionIn } from './queries';
import { counters, experimentName } from './run';
import { api } from './session';
import { chosenFields, dataAuto } from './settings';
import { say } from './toasts';

const MAX_PAGE = 1000;

/** The filter that the samples on the screen match. */
export const filter = signal('');
export const sort = signal<readonly SortKey[]>([]);
export const offset = signal(0);
/** Samples that fit on the screen; 0 until the grid has told. */
export const capacity = signal(0);
export const page = signal<GridPage | null>(null);
export const loading = signal(false);
export const selection = signal<Selection>(NOTHING);

export interface QueryError {
  readonly text: string;
  /** The query that was refused. */
  readonly filter: string;
  /** Where in it, counted from 0; null when it is not known. */
  readonly position: number | null;
}
export const queryError = signal<QueryError | null>(null);

export const columns = signal<readonly ColumnInfo[]>([]);
export const splits = signal<readonly SplitInfo[]>([]);

/** Per-sample values and edits stored so far, as the stream tells. */
export const liveValueVersion = signal(0n);
export const liveRevision = signal(0n);
const pageValueVersion = signal(0n);
const pageRevision = signal(0n);

const baseline = new Baseline();
const movedCells = signal(0);

/** Cells on the screen that have changed since their order was made. */
export const changedCount = computed(() => {
  if (dataAuto.value || !page.value) return movedCells.value;
  const news = liveValueVersion.value - pageValueVersion.value;
  return Math.max(movedCells.value, Math.min(page.value.cells.length, Number(news > 0n ? news : 0n)));
});

/** Fields that are shown when the viewer has not chosen: what it is meant to be, and how badly it is met. */
function usualFields(known: readonly ColumnInfo[]): string[] {
  const target = known.find(({ name }) => /(^|[./_])(target|label|class)$/i.test(name));
  const loss =
    known.find(({ name, group }) => group === 'signal' && /train.*loss$/i.test(name)) ??
    known.find(({ name, group }) => group === 'signal' && /loss$/i.test(name));
  return [target, loss].filter((column) => column !== undefined).map(({ name }) => name);
}

export const fields = computed<readonly string[]>(() => {
  const known = new Set(columns.value.map(({ name }) => name));
  const chosen = chosenFields.value[experimentName.value];
  return chosen ? chosen.filter((name) => known.has(name)) : usualFields(columns.value);
});

export function setFields(names: readonly string[]): void {
  chosenFields.value = { ...chosenFields.value, [experimentName.value]: [...names] };
  void load();
}

export async function loadColumns(): Promise<void> {
  try {
    const reply = await api().samples.listColumns({ experiment: experimentName.value });
    batch(() => {
      columns.value = reply.columns;
      splits.value = reply.splits;
    });
  } catch {
    // The ledger is away; the banner says so, and the columns are asked for again when it is back.
  }
}

interface Wish {
  readonly filter: string;
  readonly sort: readonly SortKey[];
  readonly offset: number;
  /** Make the order anew. */
  readonly remake: boolean;
}

let asked = 0;
/** What is under way; fetching again must not forget it. */
let pending: Wish | null = null;
let again: number | null = null;

/** Fetches the page that is wished for; an older answer never replaces a newer one. Returns whether it is shown. */
async function fetchPage(wish: Wish): Promise<boolean> {
  if (!experimentName.value || capacity.value === 0) return false;
  const turn = ++asked;
  const order = wish.sort.map(({ column }) => column);
  loading.value = true;
  pending = wish;
  try {
    const reply = await api().samples.querySamples({
      experiment: experimentName.value,
      filter: wish.filter,
      sort: wish.sort.map(({ column, descending }) => ({ column, descending })),
      offset: BigInt(wish.offset),
      limit: Math.min(MAX_PAGE, capacity.value),
      columns: [...new Set([...fields.value, ...order])],
      view: wish.remake ? '' : (page.value?.view ?? ''),
    });
    if (turn !== asked) return false;
    const fresh = pageOf(reply);
    if (fresh.cells.length === 0 && fresh.matched > 0 && wish.offset > 0) {
      const last = Math.floor((fresh.matched - 1) / capacity.value) * capacity.value;
      return fetchPage({ ...wish, offset: last });
    }
    batch(() => {
      if (fresh.view !== page.value?.view) baseline.begin(order);
      movedCells.value = baseline.changed(fresh.cells);
      filter.value = wish.filter;
      sort.value = wish.sort;
      offset.value = wish.offset;
      page.value = fresh;
      // Fetching the same again says nothing of a query that was refused.
      if (wish.remake) queryError.value = null;
      pageValueVersion.value = reply.valueVersion;
      pageRevision.value = reply.revision;
    });
    return true;
  } catch (error) {
    if (turn === asked) refuse(error, wish);
    return false;
  } finally {
    if (turn === asked) {
      loading.value = false;
      pending = null;
    }
  }
}

function refuse(error: unknown, wish: Wish): void {
  if (isCode(error, Code.InvalidArgument)) {
    const text = reason(error);
    queryError.value = {
      text: text.replace(/^query, character \d+: /, ''),
      filter: wish.filter,
      position: positionIn(text, wish.filter),
    };
  } else if (isCode(error, Code.Unauthenticated) || isCode(error, Code.Canceled)) {
    return;
  } else if (isCode(error, Code.Unavailable) || isCode(error, Code.Unknown) || isCode(error, Code.NotFound)) {
    retryLater();
  } else {
    say(`The samples could not be fetched: ${reason(error)}`, { kind: 'bad', id: 'query-failed' });
  }
}

/** What is missing is said by the banner; the page comes as soon as it is back. */
function retryLater(): void {
  if (again !== null) return;
  again = window.setTimeout(() => {
    again = null;
    void load();
  }, 1000);
}

function current(): Wish {
  return { filter: filter.value, sort: sort.value, offset: offset.value, remake: false };
}

/** Fetches what is on the screen, or on its way there, again; the cells keep their places. */
export function load(): Promise<boolean> {
  return fetchPage(pending ?? current());
}

/** Makes the order anew. */
export function remake(): Promise<boolean> {
  return fetchPage({ ...current(), remake: true });
}

export async function setFilter(text: string): Promise<boolean> {
  const shown = await fetchPage({ ...current(), filter: text.trim(), offset: 0, remake: true });
  if (shown) selection.value = NOTHING;
  return shown;
}

export function setSort(keys: readonly SortKey[]): Promise<boolean> {
  return fetchPage({ ...current(), sort: keys, offset: 0, remake: true });
}

export function setView(wish: Omit<Wish, 'remake'>): Promise<boolean> {
  return fetchPage({ ...wish, remake: true });
}

/** The offset next to `wished` at which a page may begin. */
function clamped(wished: number): number {
  const matched = page.value?.matched ?? 0;
  const last = Math.max(0, matched - capacity.value);
  return Math.max(0, Math.min(Math.round(wished), last));
}

export function goTo(wished: number): Promise<boolean> {
  return fetchPage({ ...current(), offset: clamped(wished) });
}

export function movePages(delta: number): void {
  const wished = clamped(offset.value + delta * capacity.value);
  if (wished !== offset.value) void goTo(wished);
}

export function setCapacity(cells: number): void {
  if (cells === capacity.value || cells <= 0) return;
  capacity.value = cells;
  void load();
}

/** Whether the stream has told of values or edits that the page does not show. */
export function outdated(): boolean {
  return liveValueVersion.value > pageValueVersion.value || liveRevision.value > pageRevision.value;
}

export function editsAreNew(): boolean {
  return liveRevision.value > pageRevision.value;
}

/** Replaces cells of the page by `change`; returns a function that takes it back. */
export function patchCells(change: (cell: Cell) => Cell): () => void {
  const before = page.value;
  if (!before) return () => {};
  const patched = { ...before, cells: before.cells.map(change) };
  page.value = patched;
  return () => {
    if (page.value === patched) page.value = before;
    else void load();
  };
}

export function isNumber(column: string): boolean {
  return columns.value.find(({ name }) => name === column)?.kind === ColumnKind.NUMBER;
}

/** Columns without the statistics of others (`train/loss.mean` is one of `train/loss`), and those statistics. */
export const columnKinds = computed(() => {
  const names = new Set(columns.value.map(({ name }) => name));
  const main: ColumnInfo[] = [];
  const statistics: ColumnInfo[] = [];
  for (const column of columns.value) {
    const owner = column.name.slice(0, Math.max(0, column.name.lastIndexOf('.')));
    (names.has(owner) ? statistics : main).push(column);
  }
  return { main, statistics };
});

export function forgetView(): void {
  batch(() => {
    asked++;
    pending = null;
    page.value = null;
    columns.value = [];
    splits.value = [];
    selection.value = NOTHING;
    queryError.value = null;
    liveValueVersion.value = 0n;
    liveRevision.value = 0n;
  });
}

/** The split counters of the data set as plain numbers. */
export const totals = computed(() => ({
  total: Number(counters.value?.total ?? 0),
  active: Number(counters.value?.active ?? 0),
  matched: page.value?.matched ?? 0,
}));
