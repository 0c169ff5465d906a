// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { CellLook } from './CellNode';
import { CellPool } from './CellPool';
import type { Cell } from './types';

const look: CellLook = {
  imageUrl: (cell) => `/media/${cell.split}/${cell.uid}`,
  drawMask: null,
  resolutionPx: 64,
  fields: ['train/loss'],
  labels: ['loss'],
  splitColors: { train: 'rgb(1 2 3)' },
  tagColor: undefined,
  captioned: true,
};
const cell = (uid: string, parts: Partial<Cell> = {}): Cell => ({
  row: 0,
  uid,
  split: 'train',
  discarded: false,
  tags: [],
  values: { 'train/loss': 0.5 },
  ...parts,
});

describe('the cells in the document', () => {
  let root: HTMLElement;
  let pool: CellPool;
  const roots = () => [...root.querySelectorAll<HTMLElement>('.grid-cell')];
  const show = (cells: Cell[], columns = 2) => {
    pool.show(cells, look);
    pool.arrange(columns, 0);
  };

  beforeEach(() => {
    root = document.createElement('div');
    pool = new CellPool(root, vi.fn());
    show([cell('a'), cell('b'), cell('c')]);
  });

  it('stand in rows, in the order of the page', () => {
    expect(roots().map((node) => node.dataset.uid)).toEqual(['a', 'b', 'c']);
    expect([...root.children].map((row) => row.children.length)).toEqual([2, 1]);
    expect(root.children[1]?.getAttribute('aria-rowindex')).toBe('2');
  });

  it('keep their node and their image when the sample moves', () => {
    const [a] = roots();
    const image = a?.querySelector('img') as HTMLImageElement;
    const assigned = vi.spyOn(image, 'src', 'set');
    show([cell('c'), cell('a', { values: { 'train/loss': 2 } }), cell('b')]);
    expect(roots()[1]).toBe(a);
    expect(a?.textContent).toContain('2');
    expect(assigned).not.toHaveBeenCalled();
  });

  it('are taken over in place by the samples of the next page', () => {
    const before = roots();
    show([cell('d'), cell('e'), cell('f')]);
    expect(roots()).toEqual(before);
    expect(roots().map((node) => node.querySelector('img')?.getAttribute('src'))).toEqual([
      '/media/train/d',
      '/media/train/e',
      '/media/train/f',
    ]);
  });

  it('of a shorter page leave nothing behind', () => {
    show([cell('b')]);
    expect(roots().map((node) => node.dataset.uid)).toEqual(['b']);
    expect(root.children.length).toBe(1);
  });

  it('say what changes on a sample', () => {
    show([cell('a', { discarded: true, tags: ['hard'] }), cell('b'), cell('c')]);
    const [a] = roots();
    expect(a?.dataset.discarded).toBe('true');
    expect(a?.querySelector('.grid-chip')?.textContent).toBe('hard');
    expect(a?.title).toBe('train a\ndiscarded\ntags: hard\ntrain/loss: 0.5000');
  });

  it('are named by what is written on them, or by a label when they are too small for writing', () => {
    expect(roots()[0]?.hasAttribute('aria-label')).toBe(false);
    pool.show([cell('a', { discarded: true })], { ...look, captioned: false });
    expect(roots()[0]?.getAttribute('aria-label')).toBe('train a, discarded, train/loss: 0.5000');
  });

  it('show hostile names as text', () => {
    const hostile = '<img src=x onerror=alert(1)>';
    show([cell(hostile, { tags: [hostile], split: hostile, values: { 'train/loss': hostile } })]);
    expect(root.querySelectorAll('img').length).toBe(1);
    expect(root.querySelector('.grid-name')?.textContent).toBe(hostile);
    expect(root.querySelector('.grid-value')?.textContent).toBe(hostile);
  });

  it('count the tags that have no room', () => {
    show([cell('a', { tags: ['1', '2', '3', '4', '5'] })]);
    expect([...root.querySelectorAll('.grid-chip')].map((chip) => chip.textContent)).toEqual([
      '1',
      '2',
      '3',
      '+2',
    ]);
  });

  it('tell apart the same uid of two splits', () => {
    const [a] = roots();
    show([cell('a', { split: 'val' }), cell('a')]);
    expect(roots()[1]).toBe(a);
    expect(roots().map((node) => node.dataset.split)).toEqual(['val', 'train']);
  });
});
