import type { Cell, Selection } from './types';

const SEPARATOR = '\u0000';

export const NOTHING: Selection = { everything: false, keys: new Set() };
export const EVERYTHING: Selection = { everything: true, keys: new Set() };

/** Names a sample in a selection: a uid is unique in its split only. */
export function keyOf(sample: { readonly split: string; readonly uid: string }): string {
  return sample.split + SEPARATOR + sample.uid;
}

/** The inverse of `keyOf`. */
export function sampleOf(key: string): { split: string; uid: string } {
  const at = key.indexOf(SEPARATOR);
  return { split: key.slice(0, at), uid: key.slice(at + 1) };
}

export function isSelected(selection: Selection, key: string): boolean {
  return selection.everything || selection.keys.has(key);
}

/** How many samples are selected in a view of `matched` samples. */
export function selectedCount(selection: Selection, matched: number): number {
  return selection.everything ? matched : selection.keys.size;
}

export function only(keys: Iterable<string>): Selection {
  return { everything: false, keys: new Set(keys) };
}

/**
 * A copy of a selection to change key by key.
 *
 * Taking single samples out of "everything" leaves the page, since a query cannot name what it leaves out.
 */
function opened(selection: Selection, page: readonly Cell[]): Set<string> {
  return selection.everything ? new Set(page.map(keyOf)) : new Set(selection.keys);
}

/** Adds each key that is not selected and removes each that is. */
export function toggled(selection: Selection, keys: Iterable<string>, page: readonly Cell[]): Selection {
  const result = opened(selection, page);
  for (const key of keys) {
    if (!result.delete(key)) result.add(key);
  }
  return { everything: false, keys: result };
}

export function added(selection: Selection, keys: Iterable<string>): Selection {
  if (selection.everything) return selection;
  const result = new Set(selection.keys);
  for (const key of keys) result.add(key);
  return { everything: false, keys: result };
}

/**
 * Remembers which sample stands where in a view, so that a range can reach over pages that were seen.
 * Bounded: the oldest positions are forgotten first.
 */
export class SeenOrder {
  private readonly keys = new Map<number, string>();
  private view = '';

  constructor(private readonly limit = 200_000) {}

  note(view: string, offset: number, cells: readonly Cell[]): void {
    if (view !== this.view) {
      this.view = view;
      this.keys.clear();
    }
    for (let i = 0; i < cells.length; i++) this.keys.set(offset + i, keyOf(cells[i]!));
    for (const position of this.keys.keys()) {
      if (this.keys.size <= this.limit) break;
      this.keys.delete(position);
    }
  }

  /** Keys between two positions, both included, in view order; positions that were never seen are left out. */
  between(a: number, b: number): string[] {
    const result: string[] = [];
    for (let position = Math.min(a, b); position <= Math.max(a, b); position++) {
      const key = this.keys.get(position);
      if (key !== undefined) result.push(key);
    }
    return result;
  }
}
