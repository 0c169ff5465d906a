import { bit, float64s, uint32s } from '../api/columns';
import { keyOf } from '../grid/selection';
import type { Cell, GridPage } from '../grid/types';
import { ColumnKind, type QuerySamplesResponse } from '../proto/weightslab/v1/sample_pb';

/** The cells of a reply. Raises RangeError when the columns have not the length of the page. */
export function pageOf(reply: QuerySamplesResponse): GridPage {
  const count = reply.uids.length;
  const rows = uint32s(reply.rows, 'rows');
  const columns = reply.columns.map((column) => ({
    name: column.name,
    values:
      column.kind === ColumnKind.TEXT ? column.texts : Array.from(float64s(column.numbers, column.name)),
  }));
  for (const { name, values } of [{ name: 'rows', values: rows }, ...columns]) {
    if (values.length !== count) {
      throw new RangeError(`column ${name} has ${values.length} values for ${count} samples`);
    }
  }
  const cells = reply.uids.map(
    (uid, i): Cell => ({
      row: rows[i] as number,
      uid,
      split: reply.splits[reply.splitIndex[i] ?? -1] ?? '',
      discarded: bit(reply.discarded, i),
      tags: reply.tags.filter((tag) => bit(tag.members, i)).map((tag) => tag.tag),
      values: Object.fromEntries(columns.map(({ name, values }) => [name, values[i] as number | string])),
    }),
  );
  return { view: reply.view, offset: Number(reply.offset), matched: Number(reply.matched), cells };
}

/** What a cell's place in the view depends on, as text. */
function signature(cell: Cell, columns: readonly string[]): string {
  return JSON.stringify([cell.discarded, cell.tags, columns.map((name) => String(cell.values[name]))]);
}

/** Remembers the cells of a view as they were when its order was made. */
export class Baseline {
  private signatures = new Map<string, string>();
  private columns: readonly string[] = [];

  /** `columns` are those that the order was made of. */
  begin(columns: readonly string[]): void {
    this.signatures = new Map();
    this.columns = columns;
  }

  /** How many of `cells` are no longer as they were when they were first seen in this view. */
  changed(cells: readonly Cell[]): number {
    let count = 0;
    for (const cell of cells) {
      const key = keyOf(cell);
      const now = signature(cell, this.columns);
      const before = this.signatures.get(key);
      if (before === undefined) this.signatures.set(key, now);
      else if (before !== now) count++;
    }
    return count;
  }
}
