import type { CellLook, CellNode } from './CellNode';
import { CellPool } from './CellPool';
import { fieldLabels } from './format';
import { ImageFailures } from './imageFailure';
import { captionHeight, cellAt, cellsIn, type Layout, layoutOf, movedFocus, visitLine } from './layout';
import { type Modifiers, PointerGestures, type PointerTarget } from './pointer';
import { added, EVERYTHING, isSelected, keyOf, NOTHING, only, SeenOrder, toggled } from './selection';
import type { Cell, GridPage, GridProps, Selection } from './types';
import { WheelPager } from './wheel';

const NO_CELLS: readonly Cell[] = [];
const NO_LAYOUT: Layout = {
  columns: 0,
  rows: 0,
  cellWidth: 0,
  cellHeight: 0,
  imageHeight: 0,
  gap: 0,
  padding: 0,
};
const RETRY_CHECK_MS = 400;
const LINE_PX = 40;

/** The grid of samples: plain DOM, patched on animation frames. */
export class GridSurface implements PointerTarget {
  private readonly pool: CellPool;
  private readonly gestures: PointerGestures;
  private readonly observer: ResizeObserver;
  private readonly failures = new ImageFailures();
  private readonly seen = new SeenOrder();
  private readonly pager = new WheelPager();
  private readonly rubber = document.createElement('div');

  private props: GridProps;
  private layout: Layout = NO_LAYOUT;
  private look: CellLook | null = null;
  private labels: readonly string[] = [];
  private page: GridPage | null = null;
  /** As the observer tells it: asking the element would make the browser lay out the page in the middle of a frame. */
  private box = { width: 0, height: 0 };
  private capacity = 0;
  private frame = 0;
  private retryTimer = 0;
  private focused = 0;
  /** Focus to give once another page has arrived: an index, or from the end when negative. */
  private focusOnArrival: number | null = null;
  /** Position in the view where a range starts. */
  private anchor = 0;
  /** The selection while a rectangle is being drawn. */
  private draft: Selection | null = null;
  private stroke = new Set<number>();

  constructor(
    private readonly root: HTMLElement,
    props: GridProps,
  ) {
    this.props = props;
    this.pool = new CellPool(root, (node, url) => this.explainImage(node, url));
    this.rubber.className = 'grid-rubber';
    this.rubber.hidden = true;
    root.parentElement?.append(this.rubber);
    this.gestures = new PointerGestures(root, this);
    this.observer = new ResizeObserver(([entry]) => {
      const size = entry?.borderBoxSize[0];
      if (size) this.box = { width: size.inlineSize, height: size.blockSize };
      this.schedule();
    });
    this.observer.observe(root);
    root.addEventListener('keydown', this.onKey);
    root.addEventListener('dblclick', this.onDoubleClick);
    root.addEventListener('contextmenu', this.onContextMenu);
    root.addEventListener('focusin', this.onFocusIn);
    root.addEventListener('wheel', this.onWheel, { passive: false });
  }

  update(props: GridProps): void {
    this.props = props;
    this.schedule();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    clearInterval(this.retryTimer);
    this.observer.disconnect();
    this.gestures.dispose();
    this.rubber.remove();
    this.root.removeEventListener('keydown', this.onKey);
    this.root.removeEventListener('dblclick', this.onDoubleClick);
    this.root.removeEventListener('contextmenu', this.onContextMenu);
    this.root.removeEventListener('focusin', this.onFocusIn);
    this.root.removeEventListener('wheel', this.onWheel);
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  private get cells(): readonly Cell[] {
    return this.page?.cells ?? NO_CELLS;
  }

  private get count(): number {
    return this.pool.nodes.length;
  }

  private schedule(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.frame = 0;
    this.fit();
    // A sample must not be swapped under a moving pointer: what the person sees is what the stroke takes.
    if (!this.gestures.active) this.turnPage();
    this.showCells();
    this.showSelection();
    this.root.classList.toggle('is-painting', this.props.painter !== null);
    this.root.classList.toggle('is-split', this.props.splitView === true);
    this.root.dataset.painter = this.props.painter?.mode ?? '';
  }

  private fit(): void {
    const { box } = this;
    if (box.width === 0 || box.height === 0) return;
    const { cellSizePx, fields } = this.props;
    const layout = layoutOf({ ...box, cellSizePx, fieldCount: fields.length });
    if (layout.cellWidth !== this.layout.cellWidth || layout.cellHeight !== this.layout.cellHeight) {
      const { style } = this.root;
      style.setProperty('--cell-width', `${layout.cellWidth}px`);
      style.setProperty('--cell-height', `${layout.cellHeight}px`);
      style.setProperty('--gap', `${layout.gap}px`);
      style.setProperty('--padding', `${layout.padding}px`);
    }
    if (layout.columns !== this.layout.columns)
      this.root.style.setProperty('--columns', String(layout.columns));
    this.layout = layout;
    const capacity = layout.columns * layout.rows;
    if (capacity !== this.capacity) {
      this.capacity = capacity;
      this.props.onCapacity(capacity);
    }
  }

  private turnPage(): void {
    const next = this.props.data;
    if (next === this.page) return;
    const turned = next?.offset !== this.page?.offset || next?.view !== this.page?.view;
    this.page = next;
    if (!next) return;
    this.seen.note(next.view, next.offset, next.cells);
    if (turned && this.focusOnArrival !== null) this.focused = this.focusOnArrival;
  }

  private showCells(): void {
    const { imageUrl, resolutionPx, fields, splitColors, tagColor, drawMask = null } = this.props;
    const captioned = captionHeight(this.layout.cellWidth, fields.length) > 0;
    if (fields !== this.look?.fields) this.labels = fieldLabels(fields);
    const { labels } = this;
    const look = { imageUrl, resolutionPx, drawMask, fields, labels, splitColors, tagColor, captioned };
    if (!sameLook(look, this.look)) this.look = look;
    const hadFocus = this.root.contains(document.activeElement);
    this.pool.show(this.cells.slice(0, this.capacity), this.look ?? look);
    this.pool.arrange(this.layout.columns, Math.floor((this.page?.offset ?? 0) / this.layout.columns));
    for (const node of this.pool.nodes) {
      node.setBox(this.layout.cellWidth, this.layout.imageHeight);
    }
    this.root.setAttribute('aria-colcount', String(this.layout.columns));
    this.root.setAttribute(
      'aria-rowcount',
      String(Math.ceil((this.page?.matched ?? 0) / this.layout.columns)),
    );
    this.restoreFocus(hadFocus);
  }

  private restoreFocus(hadFocus: boolean): void {
    if (this.count === 0) return;
    const wanted = this.focused < 0 ? this.count + this.focused : this.focused;
    this.focused = Math.min(this.count - 1, Math.max(0, wanted));
    for (let i = 0; i < this.count; i++) {
      const cell = (this.pool.nodes[i] as CellNode).root;
      const tabIndex = i === this.focused ? 0 : -1;
      if (cell.tabIndex !== tabIndex) cell.tabIndex = tabIndex;
    }
    if (hadFocus || this.focusOnArrival !== null) this.focusCell(this.focused);
    if (this.page === this.props.data) this.focusOnArrival = null;
  }

  private showSelection(): void {
    const selection = this.draft ?? this.props.selection;
    const mode = this.props.painter?.mode ?? '';
    for (let i = 0; i < this.count; i++) {
      const node = this.pool.nodes[i] as CellNode;
      node.setSelected(isSelected(selection, node.key));
      node.setPainted(this.stroke.has(i) ? mode : '');
    }
  }

  private explainImage(node: CellNode, url: string): void {
    void this.failures.explain(url, (reason) => node.explain(url, reason));
    this.retryTimer ||= setInterval(() => this.retryImages(), RETRY_CHECK_MS);
  }

  private retryImages(): void {
    for (const node of this.pool.nodes) node.retryImage();
    if (this.pool.nodes.some((node) => node.waiting || node.loading)) return;
    clearInterval(this.retryTimer);
    this.retryTimer = 0;
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  painting(): boolean {
    return this.props.painter !== null;
  }

  press(x: number, y: number): void {
    const index = this.indexAt(x, y);
    if (index >= 0) this.focusCell(index);
  }

  click(x: number, y: number, modifiers: Modifiers): void {
    const index = this.indexAt(x, y);
    if (index < 0) {
      if (!modifiers.toggle && !modifiers.range) this.props.onSelectionChange(NOTHING);
    } else this.choose(index, modifiers);
  }

  drag(area: { left: number; top: number; right: number; bottom: number }, modifiers: Modifiers): void {
    const keys = cellsIn(this.layout, this.count, area).map((index) => this.keyAt(index));
    const before = this.props.selection;
    if (modifiers.toggle) this.draft = toggled(before, keys, this.cells);
    else if (modifiers.range) this.draft = added(before, keys);
    else this.draft = only(keys);
    this.rubber.hidden = false;
    const style = this.rubber.style;
    style.transform = `translate(${this.root.offsetLeft + area.left}px, ${this.root.offsetTop + area.top}px)`;
    style.width = `${area.right - area.left}px`;
    style.height = `${area.bottom - area.top}px`;
    this.schedule();
  }

  dragEnd(): void {
    const selection = this.draft;
    this.cancel();
    if (selection) this.props.onSelectionChange(selection);
  }

  paint(fromX: number, fromY: number, toX: number, toY: number): void {
    visitLine(this.layout, this.count, { fromX, fromY, toX, toY }, (index) => this.stroke.add(index));
    this.schedule();
  }

  paintEnd(): void {
    const cells = [...this.stroke].flatMap((index) => this.pool.nodes[index]?.cell ?? []);
    this.cancel();
    if (cells.length > 0) this.props.onStroke(cells);
  }

  cancel(): void {
    this.draft = null;
    this.stroke = new Set();
    this.rubber.hidden = true;
    this.schedule();
  }

  private readonly onDoubleClick = (event: MouseEvent): void => {
    // The target is the grid itself, which has captured the pointer.
    const box = this.root.getBoundingClientRect();
    const cell = this.pool.nodes[this.indexAt(event.clientX - box.left, event.clientY - box.top)]?.cell;
    if (cell && !this.props.painter) this.props.onOpen(cell);
  };

  private readonly onContextMenu = (event: MouseEvent): void => {
    const index = this.indexOf(event.target);
    const cell = this.pool.nodes[index]?.cell;
    if (!cell) return;
    event.preventDefault();
    this.focusCell(index);
    if (!isSelected(this.props.selection, keyOf(cell))) {
      this.anchor = (this.page?.offset ?? 0) + index;
      this.props.onSelectionChange(only([keyOf(cell)]));
    }
    this.props.onContextMenu(cell, event.clientX, event.clientY);
  };

  private readonly onWheel = (event: WheelEvent): void => {
    if (event.ctrlKey || event.deltaY === 0) return;
    event.preventDefault();
    if (this.gestures.active) return;
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PX;
    const pages = this.pager.move(event.deltaY * unit, event.timeStamp);
    if (pages !== 0) this.turn(pages);
  };

  // --- keyboard ----------------------------------------------------------------------------------------------------

  private readonly onKey = (event: KeyboardEvent): void => {
    if (this.onCommand(event)) {
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = movedFocus(this.layout, this.count, this.focused, event.key);
    if (next === null) return;
    event.preventDefault();
    this.moveFocus(next, event.shiftKey);
  };

  /** Keys that do something to the focused cell, the page or the whole selection. */
  private onCommand(event: KeyboardEvent): boolean {
    const cell = this.pool.nodes[this.focused]?.cell;
    const control = event.ctrlKey || event.metaKey;
    switch (event.key) {
      case 'Escape':
        if (this.gestures.active) this.gestures.cancel();
        else this.props.onSelectionChange(NOTHING);
        return true;
      case 'Enter':
        if (cell) this.props.onOpen(cell);
        return true;
      case ' ':
        if (cell) this.choose(this.focused, { toggle: !event.shiftKey, range: event.shiftKey });
        return true;
      case 'PageUp':
      case 'PageDown':
        this.turn(event.key === 'PageUp' ? -1 : 1);
        return true;
      case 'a':
      case 'A':
        if (!control || event.shiftKey) return false;
        this.props.onSelectionChange(EVERYTHING);
        return true;
      default:
        return false;
    }
  }

  private moveFocus(next: number, extend: boolean): void {
    const { page, layout } = this;
    if (!page) return;
    if (next >= 0 && next < this.count) {
      this.focusCell(next);
      if (extend) this.choose(next, { toggle: false, range: true });
    } else if (next < 0 && page.offset > 0) {
      this.focusOnArrival = next === this.focused - 1 ? -1 : this.capacity - layout.columns + this.focused;
      this.turn(-1);
    } else if (next >= this.count && page.offset + this.count < page.matched) {
      this.focusOnArrival = next === this.focused + 1 ? 0 : this.focused % layout.columns;
      this.turn(1);
    }
  }

  // --- selection and focus -----------------------------------------------------------------------------------------

  private choose(index: number, modifiers: Modifiers): void {
    const key = this.keyAt(index);
    const position = (this.page?.offset ?? 0) + index;
    const { selection, onSelectionChange } = this.props;
    if (modifiers.range) {
      const keys = this.seen.between(this.anchor, position);
      onSelectionChange(modifiers.toggle ? added(selection, keys) : only(keys));
      return;
    }
    this.anchor = position;
    onSelectionChange(modifiers.toggle ? toggled(selection, [key], this.cells) : only([key]));
  }

  private turn(pages: number): void {
    const { page } = this;
    if (!page) return;
    if (pages < 0 && page.offset === 0) return;
    if (pages > 0 && page.offset + this.count >= page.matched) return;
    this.props.onPage(pages);
  }

  private readonly onFocusIn = (event: FocusEvent): void => {
    const index = this.indexOf(event.target);
    if (index < 0 || index === this.focused) return;
    const before = this.pool.nodes[this.focused];
    if (before) before.root.tabIndex = -1;
    this.focused = index;
    (this.pool.nodes[index] as CellNode).root.tabIndex = 0;
  };

  private focusCell(index: number): void {
    const cell = this.pool.nodes[index]?.root;
    if (cell && document.activeElement !== cell) cell.focus({ preventScroll: true });
  }

  private keyAt(index: number): string {
    return this.pool.nodes[index]?.key ?? '';
  }

  private indexAt(x: number, y: number): number {
    return cellAt(this.layout, this.count, x, y);
  }

  private indexOf(target: EventTarget | null): number {
    const root = target instanceof Element ? target.closest('.grid-cell') : null;
    return root ? this.pool.nodes.findIndex((node) => node.root === root) : -1;
  }
}

function sameLook(a: CellLook, b: CellLook | null): boolean {
  return (
    b !== null &&
    a.imageUrl === b.imageUrl &&
    a.resolutionPx === b.resolutionPx &&
    a.drawMask === b.drawMask &&
    a.fields === b.fields &&
    a.splitColors === b.splitColors &&
    a.tagColor === b.tagColor &&
    a.captioned === b.captioned
  );
}
