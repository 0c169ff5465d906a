import { describe, expect, it } from 'vitest';
import { captionHeight, cellAt, cellsIn, layoutOf, movedFocus, visitLine } from './layout';

const layout = layoutOf({ width: 640, height: 400, cellSizePx: 96, fieldCount: 1 });
const middle = (index: number): [number, number] => [
  layout.padding + (index % layout.columns) * (layout.cellWidth + layout.gap) + layout.cellWidth / 2,
  layout.padding +
    Math.floor(index / layout.columns) * (layout.cellHeight + layout.gap) +
    layout.cellHeight / 2,
];

describe('the layout', () => {
  it('fits whole cells into its box', () => {
    const { columns, rows, cellWidth, cellHeight, gap, padding } = layout;
    expect(2 * padding + columns * (cellWidth + gap) - gap).toBeLessThanOrEqual(640);
    expect(2 * padding + rows * (cellHeight + gap) - gap).toBeLessThanOrEqual(400);
    expect(columns).toBe(6);
    expect(rows).toBe(3);
  });
  it('makes cells a little lower when that lets another row in', () => {
    const box = { width: 640, cellSizePx: 96, fieldCount: 0 };
    const rows = (height: number) => layoutOf({ ...box, height }).rows;
    expect(rows(16 + 3 * 96 + 3 * 21 + 12)).toBe(3);
    expect(rows(16 + 3 * 82 + 3 * 21 + 12)).toBe(3);
    expect(rows(16 + 3 * 70 + 3 * 21 + 12)).toBe(2);
  });
  it('makes cells a little wider than asked for when that fills the height', () => {
    const filled = layoutOf({ width: 1160, height: 512, cellSizePx: 96, fieldCount: 2 });
    expect(filled.cellWidth).toBeLessThanOrEqual(120);
    expect(512 - 2 * filled.padding - filled.rows * (filled.cellHeight + filled.gap)).toBeLessThan(12);
  });
  it('makes images no higher than wide when there is room', () => {
    const { rows, imageHeight, cellWidth } = layoutOf({
      width: 640,
      height: 170,
      cellSizePx: 96,
      fieldCount: 0,
    });
    expect(rows).toBe(1);
    expect(imageHeight).toBe(cellWidth);
  });
  it('never has fewer than one cell', () => {
    expect(layoutOf({ width: 10, height: 0, cellSizePx: 300, fieldCount: 9 })).toMatchObject({
      columns: 1,
      rows: 1,
    });
  });
  it('gives tiny cells no caption', () => {
    expect(captionHeight(40, 3)).toBe(0);
    expect(captionHeight(100, 3)).toBeGreaterThan(captionHeight(100, 1));
  });
});

describe('finding cells', () => {
  it('finds each cell under its middle', () => {
    for (let index = 0; index < 12; index++) expect(cellAt(layout, 12, ...middle(index))).toBe(index);
  });
  it('finds none in a gap, outside, or past the last sample', () => {
    expect(cellAt(layout, 12, layout.padding + layout.cellWidth + 1, 20)).toBe(-1);
    expect(cellAt(layout, 12, 2, 2)).toBe(-1);
    expect(cellAt(layout, 12, 639, 20)).toBe(-1);
    expect(cellAt(layout, 5, ...middle(7))).toBe(-1);
  });
  it('selects what a rectangle touches, in page order', () => {
    const [left, top] = middle(1);
    const [right, bottom] = middle(8);
    expect(cellsIn(layout, 12, { left, top, right, bottom })).toEqual([1, 2, 7, 8]);
  });
  it('selects nothing in a gap and nothing past the end', () => {
    const x = layout.padding + layout.cellWidth + 2;
    expect(cellsIn(layout, 12, { left: x, right: x + 1, top: 10, bottom: 300 })).toEqual([]);
    expect(cellsIn(layout, 3, { left: 0, right: 640, top: 0, bottom: 400 })).toEqual([0, 1, 2]);
  });
  it('skips no cell under a fast stroke', () => {
    const [fromX, fromY] = middle(0);
    const [toX, toY] = middle(5);
    const seen: number[] = [];
    visitLine(layout, 12, { fromX, fromY, toX, toY }, (index) => seen.push(index));
    expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe('the focus', () => {
  it('moves by cell and by row, and off the page', () => {
    expect(movedFocus(layout, 12, 0, 'ArrowRight')).toBe(1);
    expect(movedFocus(layout, 12, 1, 'ArrowDown')).toBe(1 + layout.columns);
    expect(movedFocus(layout, 12, 0, 'ArrowUp')).toBeLessThan(0);
    expect(movedFocus(layout, 12, 11, 'ArrowRight')).toBe(12);
    expect(movedFocus(layout, 12, 4, 'End')).toBe(11);
    expect(movedFocus(layout, 12, 4, 'x')).toBeNull();
  });
});
