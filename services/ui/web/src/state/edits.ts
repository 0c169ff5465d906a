import { signal } from '@preact/signals';
import { reason } from '../api/client';
import { keyOf, sampleOf, selectedCount } from '../grid/selection';
import type { Cell, Selection } from '../grid/types';
import { type Edit, EditOperation } from '../proto/weightslab/v1/sample_pb';
import { counters, experimentName, setTraining, status, target, tellPaused } from './run';
import { api, canEdit } from './session';
import { pauseBeforeEdit } from './settings';
import { dismiss, say } from './toasts';
import { filter, load, page, patchCells } from './view';

/** Samples that an edit acts on: named ones, or all that the filter matches. */
export type EditTarget =
  | { readonly kind: 'samples'; readonly keys: readonly string[] }
  | { readonly kind: 'matched' };

/** Revisions of this page's edits that can be taken back, newest last. */
const undoable = signal<readonly bigint[]>([]);
const UNDO_TOAST = 'last-edit';

export function targetOf(selection: Selection): EditTarget {
  return selection.everything ? { kind: 'matched' } : { kind: 'samples', keys: [...selection.keys] };
}

export function targetOfCells(cells: readonly Cell[]): EditTarget {
  return { kind: 'samples', keys: cells.map(keyOf) };
}

export function countOf(selection: Selection): number {
  return selectedCount(selection, page.value?.matched ?? 0);
}

function wireTarget(wished: EditTarget) {
  return wished.kind === 'matched'
    ? { kind: { case: 'query' as const, value: { filter: filter.value } } }
    : { kind: { case: 'samples' as const, value: { samples: wished.keys.map(sampleOf) } } };
}

/** What a cell will look like once an edit holds. */
export function edited(cell: Cell, operation: EditOperation, tag: string): Cell {
  switch (operation) {
    case EditOperation.ADD_TAG:
      return cell.tags.includes(tag) ? cell : { ...cell, tags: [...cell.tags, tag] };
    case EditOperation.REMOVE_TAG:
    case EditOperation.DELETE_TAG:
      return cell.tags.includes(tag) ? { ...cell, tags: cell.tags.filter((other) => other !== tag) } : cell;
    case EditOperation.CLEAR_TAGS:
      return { ...cell, tags: [] };
    case EditOperation.DISCARD:
      return { ...cell, discarded: true };
    case EditOperation.RESTORE:
      return { ...cell, discarded: false };
    default:
      return cell;
  }
}

function samples(count: number): string {
  return count === 1 ? '1 sample' : `${count.toLocaleString('en')} samples`;
}

export function sentence(edit: Edit): string {
  const count = samples(Number(edit.changedCount));
  const tag = `“${edit.tag}”`;
  switch (edit.operation) {
    case EditOperation.ADD_TAG:
      return `Tagged ${count} ${tag}`;
    case EditOperation.REMOVE_TAG:
      return `Removed ${tag} from ${count}`;
    case EditOperation.CLEAR_TAGS:
      return `Removed all tags of ${count}`;
    case EditOperation.DELETE_TAG:
      return `Deleted the tag ${tag}`;
    case EditOperation.DISCARD:
      return `Discarded ${count}`;
    case EditOperation.RESTORE:
      return `Restored ${count}`;
    default:
      return `Took back an edit of ${count}`;
  }
}

/** From when on the training obeys an edit, as the end of a sentence. */
function since(edit: Edit): string {
  const obeyed = edit.operation === EditOperation.DISCARD || edit.operation === EditOperation.RESTORE;
  if (!obeyed || edit.effectiveStep === undefined) return '';
  return ` from step ${Number(edit.effectiveStep).toLocaleString('en')}`;
}

async function pauseFirst(): Promise<void> {
  if (!pauseBeforeEdit.value || !status.value || status.value.finished || target.value === 'paused') return;
  await setTraining('paused');
  tellPaused();
}

let sending: Promise<unknown> = Promise.resolve();

/** Sends edits one after the other, whatever each waits for: the last one made is the last one that holds. */
function inOrder<T>(send: () => Promise<T>): Promise<T> {
  const sent = sending.then(send);
  sending = sent.catch(() => {});
  return sent;
}

/** Makes an edit: shown at once, and taken back from the screen when it is refused. */
export async function makeEdit(
  operation: EditOperation,
  wished: EditTarget | null,
  tag = '',
): Promise<boolean> {
  if (!canEdit.value || (wished?.kind === 'samples' && wished.keys.length === 0)) return false;
  const keys = wished?.kind === 'samples' ? new Set(wished.keys) : null;
  const takeBack = patchCells((cell) =>
    keys === null || keys.has(keyOf(cell)) ? edited(cell, operation, tag.trim()) : cell,
  );
  try {
    await inOrder(async () => {
      // A trainer that cannot be paused is no reason to refuse an edit, which is safe either way.
      await pauseFirst().catch(() => {});
      const { edit } = await api().samples.editSamples({
        experiment: experimentName.value,
        editId: crypto.randomUUID(),
        operation,
        tag,
        ...(wished && { target: wireTarget(wished) }),
      });
      if (edit) acknowledge(edit);
    });
    return true;
  } catch (error) {
    takeBack();
    say(`Nothing was changed: ${reason(error)}`, { kind: 'bad' });
    return false;
  }
}

function acknowledge(edit: Edit): void {
  if (edit.counters) counters.value = edit.counters;
  if (edit.changedCount === 0n && edit.operation !== EditOperation.DELETE_TAG) {
    say('Nothing to change: it was so already.', { id: UNDO_TOAST });
    return;
  }
  undoable.value = [...undoable.value, edit.revision].slice(-50);
  say(`${sentence(edit)}${since(edit)}.`, {
    id: UNDO_TOAST,
    kind: 'good',
    actions: [{ label: 'Undo', run: () => void undo(edit.revision) }],
  });
}

/** Takes back an edit of this page: the one named, else the newest. */
export async function undo(revision?: bigint): Promise<void> {
  if (!canEdit.value) return;
  try {
    // The newest is known once those before are acknowledged.
    await inOrder(() => takeBackEdit(revision ?? undoable.value.at(-1)));
  } catch (error) {
    say(`It could not be undone: ${reason(error)}`, { kind: 'bad' });
  }
}

async function takeBackEdit(revision: bigint | undefined): Promise<void> {
  if (revision === undefined) {
    say('There is no edit of yours to take back.', { id: UNDO_TOAST });
    return;
  }
  undoable.value = undoable.value.filter((other) => other !== revision);
  dismiss(UNDO_TOAST);
  await pauseFirst().catch(() => {});
  const { edit } = await api().samples.undoEdit({
    experiment: experimentName.value,
    editId: crypto.randomUUID(),
    revision,
  });
  if (edit?.counters) counters.value = edit.counters;
  say(`Undone: ${samples(Number(edit?.changedCount ?? 0))} changed back.`, { id: UNDO_TOAST, kind: 'good' });
  await load();
}

export const addTag = (wished: EditTarget, tag: string) => makeEdit(EditOperation.ADD_TAG, wished, tag);
export const removeTag = (wished: EditTarget, tag: string) => makeEdit(EditOperation.REMOVE_TAG, wished, tag);
export const clearTags = (wished: EditTarget) => makeEdit(EditOperation.CLEAR_TAGS, wished);
export const deleteTag = (tag: string) => makeEdit(EditOperation.DELETE_TAG, null, tag);
export const discard = (wished: EditTarget) => makeEdit(EditOperation.DISCARD, wished);
export const restore = (wished: EditTarget) => makeEdit(EditOperation.RESTORE, wished);

/** For each tag, how many of the target's samples have it. */
export async function summarize(wished: EditTarget) {
  return api().samples.summarizeSelection({ experiment: experimentName.value, target: wireTarget(wished) });
}
