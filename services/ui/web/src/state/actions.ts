import { EVERYTHING, NOTHING } from '../grid/selection';
import { painter, togglePainter } from '../panels/TagsCard';
import { Mode } from '../proto/weightslab/v1/common_pb';
import { contextMenu, overlay } from '../shell/overlays';
import { clearTags, countOf, discard, restore, targetOf, undo } from './edits';
import { overlayContour, overlayKind, overlayOpacity, splitView } from './masks';
import * as run from './run';
import { opened } from './sample';
import { canEdit } from './session';
import { panelOpen, toggleTheme } from './settings';
import { broken } from './slices';
import { refreshNow } from './studio';
import { movePages, selection, setFilter, setSort } from './view';

export interface Action {
  readonly id: string;
  readonly title: string;
  /** As people write them, `Ctrl+K`; the first is what is shown. */
  readonly keys: readonly string[];
  /** Changes something that others see. */
  readonly edits?: boolean;
  readonly ready?: () => boolean;
  /** Also while a sample is open. */
  readonly anywhere?: boolean;
  readonly run: () => void;
}

const someSelected = () => countOf(selection.value) > 0;
const chosen = () => targetOf(selection.value);
const trainerThere = () => run.status.value !== null && run.shownState.value !== 'away';

const OVERLAY_NAMES = { raw: 'none', gt: 'ground truth', pred: 'prediction', diff: 'difference' };

function fade(change: number): void {
  overlayOpacity.value = Math.min(1, Math.max(0.1, overlayOpacity.value + change));
}

/** Everything that can be done by a key or from the palette. */
export const ACTIONS: readonly Action[] = [
  {
    id: 'palette',
    title: 'Show all commands',
    keys: ['Ctrl+K'],
    run: () => {
      overlay.value = overlay.value === 'palette' ? null : 'palette';
    },
  },
  {
    id: 'keys',
    title: 'Show the keys',
    keys: ['?'],
    run: () => {
      overlay.value = 'keys';
    },
  },
  {
    id: 'query',
    title: 'Filter the samples',
    keys: ['/'],
    run: () => document.getElementById('query')?.focus(),
  },
  { id: 'query-clear', title: 'Show all samples', keys: [], run: () => void setFilter('') },
  { id: 'sort-clear', title: 'Sort as in the data set', keys: [], run: () => void setSort([]) },
  { id: 'next', title: 'Next page', keys: ['PageDown'], run: () => movePages(1) },
  { id: 'previous', title: 'Previous page', keys: ['PageUp'], run: () => movePages(-1) },
  { id: 'refresh', title: 'Refresh', keys: ['R'], run: refreshNow },
  {
    id: 'training',
    title: 'Pause or resume the training',
    keys: ['Space'],
    edits: true,
    ready: trainerThere,
    run: run.toggleTraining,
  },
  {
    id: 'mode',
    title: 'Switch between train and audit',
    keys: ['M'],
    edits: true,
    ready: trainerThere,
    run: () => void run.setMode(run.mode.value === Mode.AUDIT ? Mode.TRAIN : Mode.AUDIT),
  },
  {
    id: 'checkpoint',
    title: 'Save a checkpoint',
    keys: [],
    edits: true,
    ready: trainerThere,
    run: () => void run.saveCheckpoint(),
  },
  {
    id: 'select-all',
    title: 'Select all that match',
    keys: ['Ctrl+A'],
    run: () => {
      selection.value = EVERYTHING;
    },
  },
  {
    id: 'select-none',
    title: 'Select nothing',
    keys: ['Escape'],
    run: () => {
      if (painter.value) painter.value = null;
      else selection.value = NOTHING;
    },
  },
  {
    id: 'tags',
    title: 'Tags of the selection …',
    keys: ['T'],
    edits: true,
    ready: someSelected,
    run: () => {
      overlay.value = 'tags';
    },
  },
  {
    id: 'clear-tags',
    title: 'Remove all tags of the selection',
    keys: [],
    edits: true,
    ready: someSelected,
    run: () => void clearTags(chosen()),
  },
  {
    id: 'discard',
    title: 'Discard the selection',
    keys: ['Delete'],
    edits: true,
    ready: someSelected,
    run: () => void discard(chosen()),
  },
  {
    id: 'restore',
    title: 'Restore the selection',
    keys: ['Shift+Delete'],
    edits: true,
    ready: someSelected,
    run: () => void restore(chosen()),
  },
  {
    id: 'compare',
    title: 'Compare two selected samples',
    keys: ['V'],
    ready: () => countOf(selection.value) === 2 && !selection.value.everything,
    run: () => {
      overlay.value = 'compare';
    },
  },
  { id: 'painter', title: 'Painter on or off', keys: ['P'], edits: true, run: togglePainter },
  { id: 'undo', title: 'Undo my last edit', keys: ['Ctrl+Z'], edits: true, run: () => void undo() },
  ...(['raw', 'gt', 'pred', 'diff'] as const).map((kind, place) => ({
    id: `overlay-${kind}`,
    title: `Overlay: ${OVERLAY_NAMES[kind]}`,
    keys: [String(place + 1)],
    anywhere: true,
    run: () => {
      overlayKind.value = kind;
    },
  })),
  {
    id: 'overlay-split',
    title: 'Split view: left half without overlay',
    keys: ['5'],
    anywhere: true,
    run: () => {
      splitView.value = !splitView.value;
    },
  },
  {
    id: 'overlay-contour',
    title: 'Overlay as contours or filled',
    keys: ['C'],
    anywhere: true,
    run: () => {
      overlayContour.value = !overlayContour.value;
    },
  },
  { id: 'overlay-fainter', title: 'Fainter overlay', keys: ['['], anywhere: true, run: () => fade(-0.1) },
  { id: 'overlay-stronger', title: 'Stronger overlay', keys: [']'], anywhere: true, run: () => fade(0.1) },
  { id: 'theme', title: 'Switch between light and dark', keys: ['D'], run: toggleTheme },
  {
    id: 'panel',
    title: 'Show or hide the left panel',
    keys: ['B'],
    run: () => {
      panelOpen.value = !panelOpen.value;
    },
  },
];

export function available(action: Action): boolean {
  return (!action.edits || canEdit.value) && (action.ready?.() ?? true);
}

/** The keys of an event as `ACTIONS` write them. */
export function keysOf(
  event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey'>,
): string {
  const name = event.key === ' ' ? 'Space' : event.key.length === 1 ? event.key.toUpperCase() : event.key;
  // A character that needs Shift to be typed is named by itself.
  const shifted = event.shiftKey && (event.key.length > 1 || /[a-z]/i.test(event.key));
  const parts = [(event.ctrlKey || event.metaKey) && 'Ctrl', event.altKey && 'Alt', shifted && 'Shift', name];
  return parts.filter(Boolean).join('+');
}

function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !['checkbox', 'button', 'color'].includes(target.type);
  return (
    target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
  );
}

/** A key that a focused control takes for itself. */
function taken(event: KeyboardEvent): boolean {
  return (
    event.key === ' ' && event.target instanceof HTMLElement && event.target.matches('button, input, summary')
  );
}

export function onShortcut(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || contextMenu.value) return;
  const keys = keysOf(event);
  const action = ACTIONS.find((known) => known.keys.includes(keys));
  if (!action || !available(action) || taken(event)) return;
  const everywhere = action.id === 'palette';
  const hidden = overlay.value || broken.value || (opened.value && !action.anywhere);
  if (!everywhere && (typing(event.target) || hidden)) return;
  event.preventDefault();
  action.run();
}
