import { computed, signal } from '@preact/signals';
import { reason } from '../api/client';
import { keyOf } from '../grid/selection';
import type { Layer, SampleDetail } from '../modal/types';
import { ColumnKind, type GetSampleResponse } from '../proto/weightslab/v1/sample_pb';
import { sentence } from './edits';
import { experimentName } from './run';
import { api, config } from './session';
import { say } from './toasts';
import { filter, goTo, load, offset, page, sort } from './view';

export interface SampleName {
  readonly split: string;
  readonly uid: string;
}

/** The sample that is open. */
export const opened = signal<SampleName | null>(null);
export const detail = signal<SampleDetail | null>(null);
/** Where the open sample stands in the view; null when it is not in it. */
const position = signal<number | null>(null);

/** The place of the open sample in the view. */
export const place = computed(() =>
  position.value === null || !page.value
    ? null
    : { index: position.value, matched: Math.max(page.value.matched, position.value + 1) },
);

let asked = 0;

export function mediaUrl(sample: SampleName, sizePx: number, layer: Layer = 'image', slice = 0): string {
  const server = config.value?.serverUrl ?? '';
  const path = [experimentName.value, sample.split, sample.uid].map(encodeURIComponent).join('/');
  const query = new URLSearchParams({ layer, w: String(Math.round(sizePx)) });
  if (slice > 0) query.set('z', String(slice));
  return `${server}/media/${path}?${query}`;
}

function indexOnPage(sample: SampleName): number | null {
  const index = page.value?.cells.findIndex((cell) => keyOf(cell) === keyOf(sample)) ?? -1;
  return index < 0 ? null : (page.value?.offset ?? 0) + index;
}

/** Without the signals that were never measured for this sample, and their statistics. */
function known(fields: GetSampleResponse['fields']): GetSampleResponse['fields'] {
  const unknown = new Set(
    fields
      .filter(
        ({ kind, number, group }) =>
          kind === ColumnKind.NUMBER && Number.isNaN(number) && group !== 'metadata',
      )
      .map(({ name }) => name),
  );
  return fields.filter(({ name }) => {
    const owner = name.slice(0, Math.max(0, name.lastIndexOf('.')));
    return !unknown.has(name) && !unknown.has(owner);
  });
}

function describe(reply: GetSampleResponse, sample: SampleName): SampleDetail {
  const shown = {
    split: sample.split,
    uid: sample.uid,
    row: reply.row,
    discarded: reply.discarded,
    tags: reply.tags,
    fields: known(reply.fields).map((field) => ({
      name: field.name,
      group: field.group,
      value: field.kind === ColumnKind.TEXT ? field.text : field.number,
    })),
    sliceCount: reply.sliceCount,
  };
  if (!reply.lastEdit) return shown;
  const { author, createdUnixMs } = reply.lastEdit;
  const when = new Date(Number(createdUnixMs)).toLocaleString();
  return { ...shown, lastEdit: `${sentence(reply.lastEdit)} by ${author || 'somebody'}, ${when}` };
}

export async function open(sample: SampleName, at: number | null = indexOnPage(sample)): Promise<void> {
  position.value = at;
  opened.value = sample;
  await refreshSample();
}

/** Everything known of a sample; what went wrong is said. */
export async function fetchDetail(sample: SampleName): Promise<SampleDetail> {
  try {
    return describe(await api().samples.getSample({ experiment: experimentName.value, sample }), sample);
  } catch (error) {
    say(`Sample ${sample.uid} of ${sample.split} could not be shown: ${reason(error)}`, { kind: 'bad' });
    throw error;
  }
}

export async function refreshSample(): Promise<void> {
  const sample = opened.value;
  if (!sample || !experimentName.value) return;
  const turn = ++asked;
  try {
    const reply = await api().samples.getSample({ experiment: experimentName.value, sample });
    if (turn === asked && opened.value) detail.value = describe(reply, sample);
  } catch (error) {
    if (turn !== asked) return;
    say(`Sample ${sample.uid} of ${sample.split} could not be shown: ${reason(error)}`, { kind: 'bad' });
    if (!detail.value || keyOf(detail.value) !== keyOf(sample)) close();
  }
}

export function close(): void {
  asked++;
  opened.value = null;
  detail.value = null;
}

/** Opens the neighbour in the view, also across pages. */
export async function step(delta: 1 | -1): Promise<void> {
  if (position.value === null || !page.value) return;
  const index = position.value + delta;
  if (index < 0 || index >= page.value.matched) return;
  const { cells } = page.value;
  const onPage = index - page.value.offset;
  if (onPage < 0 || onPage >= cells.length) {
    // The page follows, so that the grid shows the open sample when the window is closed.
    await goTo(delta > 0 ? index : index - cells.length + 1);
  }
  const cell = page.value.cells[index - page.value.offset];
  if (cell) await open({ split: cell.split, uid: cell.uid }, index);
}

export function canStep(delta: 1 | -1): boolean {
  if (position.value === null || !page.value) return false;
  const index = position.value + delta;
  return index >= 0 && index < page.value.matched;
}

/** Addresses of the images next to the open one, as far as they are on the page. */
export function neighbourUrls(sizePx: number): string[] {
  if (position.value === null || !page.value) return [];
  const at = position.value - page.value.offset;
  return [at + 1, at - 1]
    .map((index) => page.value?.cells[index])
    .filter((cell) => cell !== undefined)
    .map((cell) => mediaUrl(cell, sizePx));
}

/** The view changed: the open sample may stand elsewhere. */
export function viewMoved(): void {
  if (opened.value) position.value = indexOnPage(opened.value) ?? position.value;
}

/** Reads what the view depends on, for effects. */
export function viewOf() {
  return { filter: filter.value, sort: sort.value, offset: offset.value, sample: opened.value };
}

export async function refreshAll(): Promise<void> {
  await Promise.all([load(), refreshSample()]);
}
