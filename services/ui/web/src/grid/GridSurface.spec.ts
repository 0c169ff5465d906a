// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GridSurface } from './GridSurface';
import { NOTHING, sampleOf } from './selection';
import type { Cell, GridProps, Selection } from './types';

const WIDTH = 16 + 4 * 100 + 3 * 6;
const HEIGHT = 16 + 2 * 121 + 6;
const cells: Cell[] = Array.from({ length: 8 }, (_, i) => ({
  row: i,
  uid: String(i),
  split: 'train',
  discarded: false,
  tags: [],
  values: {},
}));

/** A browser without layout tells no sizes: this one says that the grid has room for four by two cells. */
class FixedSize {
  constructor(
    private readonly tell: (
      entries: { borderBoxSize: { inlineSize: number; blockSize: number }[] }[],
    ) => void,
  ) {}
  observe() {
    this.tell([{ borderBoxSize: [{ inlineSize: WIDTH, blockSize: HEIGHT }] }]);
  }
  disconnect() {}
}

describe('the grid', () => {
  let root: HTMLElement;
  let surface: GridSurface;
  let props: GridProps;
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const at = (index: number) => ({ x: 8 + (index % 4) * 106 + 50, y: 8 + Math.floor(index / 4) * 127 + 50 });
  const uids = (selection: Selection) => [...selection.keys].map((key) => sampleOf(key).uid).sort();
  const selected = () => props.selection;
  const pointer = (type: string, index: number, init: PointerEventInit = {}) => {
    const { x, y } = at(index);
    root.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y, button: 0, bubbles: true, ...init }));
  };
  const click = (index: number, init: PointerEventInit = {}) => {
    pointer('pointerdown', index, init);
    pointer('pointerup', index, init);
  };
  const drag = (from: number, to: number, init: PointerEventInit = {}) => {
    pointer('pointerdown', from, init);
    pointer('pointermove', to, init);
    pointer('pointerup', to, init);
  };
  const press = (key: string, init: KeyboardEventInit = {}) =>
    root.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...init }));
  const change = (part: Partial<GridProps>) => {
    props = { ...props, ...part };
    surface.update(props);
    return frame();
  };

  beforeEach(async () => {
    vi.stubGlobal('ResizeObserver', FixedSize);
    const parent = document.createElement('div');
    root = document.createElement('div');
    root.setPointerCapture = vi.fn();
    root.hasPointerCapture = () => false;
    parent.append(root);
    document.body.append(parent);
    props = {
      data: { view: 'v', offset: 0, matched: 20, cells },
      imageUrl: () => '',
      cellSizePx: 100,
      resolutionPx: 64,
      fields: [],
      splitColors: {},
      selection: NOTHING,
      onSelectionChange: (selection) => {
        props = { ...props, selection };
        surface.update(props);
      },
      onOpen: vi.fn(),
      onContextMenu: vi.fn(),
      painter: null,
      onStroke: vi.fn(),
      onCapacity: vi.fn(),
      onPage: vi.fn(),
      changedCount: 0,
      onRefresh: vi.fn(),
    };
    surface = new GridSurface(root, props);
    await frame();
  });
  afterEach(() => {
    surface.dispose();
    document.body.replaceChildren();
    vi.unstubAllGlobals();
  });

  it('tells how many cells fit', () => {
    expect(props.onCapacity).toHaveBeenCalledExactlyOnceWith(8);
  });
  it('selects by click, adds and takes out by Ctrl, ranges by Shift', () => {
    click(1);
    expect(uids(selected())).toEqual(['1']);
    click(3, { ctrlKey: true });
    click(1, { ctrlKey: true });
    expect(uids(selected())).toEqual(['3']);
    click(6, { shiftKey: true });
    expect(uids(selected())).toEqual(['1', '2', '3', '4', '5', '6']);
  });
  it('selects by rectangle, and toggles by Ctrl and rectangle', () => {
    drag(0, 5);
    expect(uids(selected())).toEqual(['0', '1', '4', '5']);
    drag(5, 6, { ctrlKey: true });
    expect(uids(selected())).toEqual(['0', '1', '4', '6']);
  });
  it('keeps what was selected on other pages', async () => {
    click(0);
    const next = cells.map((cell) => ({ ...cell, uid: `${cell.uid}'` }));
    await change({ data: { view: 'v', offset: 8, matched: 20, cells: next } });
    click(2, { ctrlKey: true });
    expect(uids(selected())).toEqual(['0', "2'"]);
    click(1, { shiftKey: true });
    expect(uids(selected())).toContain("1'");
  });
  it('selects the whole filtered set by Ctrl+A and nothing by Escape', () => {
    press('a', { ctrlKey: true });
    expect(selected().everything).toBe(true);
    press('Escape');
    expect(selected()).toEqual(NOTHING);
  });
  it('moves the focus by keys, toggles by Space, opens by Enter', () => {
    root.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
    press('ArrowRight');
    press('ArrowDown');
    expect((document.activeElement as HTMLElement).dataset.uid).toBe('5');
    press(' ');
    expect(uids(selected())).toEqual(['5']);
    press('Enter');
    expect(props.onOpen).toHaveBeenCalledExactlyOnceWith(cells[5]);
  });
  it('turns the page at its end and puts the focus on the first cell there', async () => {
    root.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
    press('End');
    press('ArrowRight');
    expect(props.onPage).toHaveBeenCalledExactlyOnceWith(1);
    const next = cells.map((cell) => ({ ...cell, uid: `${cell.uid}'` }));
    await change({ data: { view: 'v', offset: 8, matched: 20, cells: next } });
    expect((document.activeElement as HTMLElement).dataset.uid).toBe("0'");
  });
  it('does not turn beyond the ends of the view', async () => {
    press('PageUp');
    await change({ data: { view: 'v', offset: 0, matched: 8, cells } });
    press('PageDown');
    expect(props.onPage).not.toHaveBeenCalled();
  });
  it('tells one stroke of the painter with every cell under it, once each', async () => {
    await change({ painter: { tag: 'hard', mode: 'add' } });
    pointer('pointerdown', 0);
    pointer('pointermove', 3);
    pointer('pointermove', 0);
    pointer('pointerup', 0);
    expect(props.onStroke).toHaveBeenCalledOnce();
    expect(vi.mocked(props.onStroke).mock.calls[0]?.[0].map(({ uid }) => uid)).toEqual(['0', '1', '2', '3']);
    expect(selected()).toEqual(NOTHING);
  });
  it('takes a stroke back on Escape', async () => {
    await change({ painter: { tag: 'hard', mode: 'add' } });
    pointer('pointerdown', 0);
    pointer('pointermove', 3);
    press('Escape');
    pointer('pointerup', 3);
    expect(props.onStroke).not.toHaveBeenCalled();
  });
  it('swaps no sample under a moving pointer', async () => {
    await change({ painter: { tag: 'hard', mode: 'add' } });
    pointer('pointerdown', 0);
    const others = cells.map((cell) => ({ ...cell, uid: `${cell.uid}'` }));
    await change({ data: { view: 'w', offset: 0, matched: 20, cells: others } });
    pointer('pointerup', 0);
    expect(vi.mocked(props.onStroke).mock.calls[0]?.[0][0]?.uid).toBe('0');
    await frame();
    expect(root.querySelector<HTMLElement>('.grid-cell')?.dataset.uid).toBe("0'");
  });
  it('selects the cell of a context menu unless it is selected already', () => {
    click(1);
    click(2, { ctrlKey: true });
    const menuAt = (index: number) =>
      root
        .querySelectorAll('.grid-cell')
        [index]?.dispatchEvent(new MouseEvent('contextmenu', { bubbles: true, cancelable: true }));
    menuAt(2);
    expect(uids(selected())).toEqual(['1', '2']);
    menuAt(5);
    expect(uids(selected())).toEqual(['5']);
    expect(props.onContextMenu).toHaveBeenCalledTimes(2);
  });
});
