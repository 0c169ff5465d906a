import { type CellLook, CellNode } from './CellNode';
import { keyOf } from './selection';
import type { Cell } from './types';

/**
 * The rows and cells in the document.
 *
 * A sample that stays on the page keeps its node wherever it moves, so its image is not loaded again; the nodes of
 * samples that left are taken by those that came, so paging makes no garbage.
 */
export class CellPool {
  /** Shown cells in page order. */
  nodes: CellNode[] = [];
  private spare: CellNode[] = [];
  private readonly rows: HTMLElement[] = [];

  constructor(
    private readonly root: HTMLElement,
    private readonly onImageError: (node: CellNode, url: string) => void,
  ) {}

  show(cells: readonly Cell[], look: CellLook): void {
    const staying = new Map<string, CellNode>();
    for (const node of this.nodes) staying.set(node.key, node);
    const keys = cells.map(keyOf);
    const next: (CellNode | undefined)[] = keys.map((key) => {
      const node = staying.get(key);
      staying.delete(key);
      return node;
    });
    // Left-over nodes keep their place where they can: nothing moves in the document while paging.
    const free = [...staying.values()];
    for (let i = 0; i < next.length; i++) {
      const sameplace = this.nodes[i];
      if (!next[i] && sameplace && staying.delete(sameplace.key)) next[i] = sameplace;
    }
    const rest = free.filter((node) => staying.has(node.key));
    this.nodes = next.map(
      (node) => node ?? rest.pop() ?? this.spare.pop() ?? new CellNode(this.onImageError),
    );
    for (const node of rest) {
      node.root.remove();
      node.clear();
      this.spare.push(node);
    }
    for (let i = 0; i < cells.length; i++) this.nodes[i]?.show(keys[i] as string, cells[i] as Cell, look);
  }

  /** Puts the cells into rows. `firstRow` is the number of the first one in the whole view, counted from 0. */
  arrange(columns: number, firstRow: number): void {
    const count = Math.ceil(this.nodes.length / columns);
    while (this.rows.length > count) this.rows.pop()?.remove();
    while (this.rows.length < count) {
      const row = document.createElement('div');
      row.className = 'grid-row';
      row.setAttribute('role', 'row');
      this.rows.push(row);
      this.root.append(row);
    }
    for (let r = 0; r < count; r++) {
      const row = this.rows[r] as HTMLElement;
      row.setAttribute('aria-rowindex', String(firstRow + r + 1));
      this.fillRow(row, this.nodes.slice(r * columns, (r + 1) * columns));
    }
  }

  private fillRow(row: HTMLElement, nodes: readonly CellNode[]): void {
    for (let c = 0; c < nodes.length; c++) {
      const cell = (nodes[c] as CellNode).root;
      const there = row.children[c] ?? null;
      if (there !== cell) row.insertBefore(cell, there);
      cell.setAttribute('aria-colindex', String(c + 1));
    }
    while (row.children.length > nodes.length) row.lastElementChild?.remove();
  }
}
