/** Where the cells of a page stand. All lengths are CSS pixels. */
export interface Layout {
  readonly columns: number;
  readonly rows: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
  /** Height of the box that the image is fitted into. */
  readonly imageHeight: number;
  readonly gap: number;
  readonly padding: number;
}

export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

const GAP = 6;
const PADDING = 8;
/** Height of a caption line and of the space around the caption. */
export const LINE_HEIGHT = 15;
const CAPTION_PADDING = 6;
/** Cells narrower than this carry no caption: nothing in it could be read. */
export const CAPTION_MIN_WIDTH = 60;

export function captionHeight(cellWidth: number, fieldCount: number): number {
  return cellWidth < CAPTION_MIN_WIDTH ? 0 : CAPTION_PADDING + LINE_HEIGHT * (1 + fieldCount);
}

/** How much lower than asked for an image may become when that lets another row of cells in. */
const LEAST_HEIGHT = 0.82;
/** How much wider than asked for a cell may become when that fills the box better. */
const GREATEST_WIDTH = 1.25;

interface GridBox {
  readonly width: number;
  readonly height: number;
  readonly cellSizePx: number;
  readonly fieldCount: number;
}

/**
 * Fits whole cells into a box. Columns are stretched to fill its width and rows to fill its height, as far as images
 * stay no higher than wide; of the numbers of columns that are near to what is asked for that one is taken that leaves
 * least of the height over.
 */
export function layoutOf(box: GridBox): Layout {
  const width = Math.max(1, box.width - 2 * PADDING);
  const wanted = Math.max(16, box.cellSizePx);
  const most = Math.max(1, Math.floor((width + GAP) / (wanted + GAP)));
  const least = Math.max(1, Math.ceil((width + GAP) / (wanted * GREATEST_WIDTH + GAP)));
  let best = layoutIn(box, most);
  for (let columns = most - 1; columns >= least; columns--) {
    const other = layoutIn(box, columns);
    if (heightOf(other) > heightOf(best)) best = other;
  }
  return best;
}

/** The height that the cells take. */
function heightOf({ rows, cellHeight, gap }: Layout): number {
  return rows * (cellHeight + gap);
}

function layoutIn(box: GridBox, columns: number): Layout {
  const width = Math.max(1, box.width - 2 * PADDING);
  const height = Math.max(1, box.height - 2 * PADDING);
  const wanted = Math.max(16, box.cellSizePx);
  const cellWidth = Math.max(16, Math.floor((width + GAP) / columns) - GAP);
  const caption = captionHeight(cellWidth, box.fieldCount);
  const rows = Math.max(1, Math.floor((height + GAP) / (wanted * LEAST_HEIGHT + caption + GAP)));
  const room = Math.floor((height + GAP) / rows) - GAP - caption;
  const imageHeight = Math.max(16, Math.min(room, Math.max(cellWidth, wanted)));
  const cellHeight = imageHeight + caption;
  return { columns, rows, cellWidth, cellHeight, imageHeight, gap: GAP, padding: PADDING };
}

/** Index of the cell under a point, or -1 between cells and outside. */
export function cellAt(layout: Layout, count: number, x: number, y: number): number {
  const pitchX = layout.cellWidth + layout.gap;
  const pitchY = layout.cellHeight + layout.gap;
  const column = Math.floor((x - layout.padding) / pitchX);
  const row = Math.floor((y - layout.padding) / pitchY);
  if (column < 0 || column >= layout.columns || row < 0) return -1;
  if (x - layout.padding - column * pitchX >= layout.cellWidth) return -1;
  if (y - layout.padding - row * pitchY >= layout.cellHeight) return -1;
  const index = row * layout.columns + column;
  return index < count ? index : -1;
}

/** Indices of the cells that a rectangle touches, in page order. */
export function cellsIn(layout: Layout, count: number, area: Rectangle): number[] {
  const pitchX = layout.cellWidth + layout.gap;
  const pitchY = layout.cellHeight + layout.gap;
  const firstColumn = Math.max(0, Math.floor((area.left - layout.padding + layout.gap) / pitchX));
  const lastColumn = Math.min(layout.columns - 1, Math.floor((area.right - layout.padding) / pitchX));
  const firstRow = Math.max(0, Math.floor((area.top - layout.padding + layout.gap) / pitchY));
  const lastRow = Math.floor((area.bottom - layout.padding) / pitchY);
  const result: number[] = [];
  for (let row = firstRow; row <= lastRow; row++) {
    for (let column = firstColumn; column <= lastColumn; column++) {
      const index = row * layout.columns + column;
      if (index >= count) return result;
      result.push(index);
    }
  }
  return result;
}

/**
 * Calls `visit` for each cell under the line from one point to another, the first included.
 * A fast pointer skips cells between two events; a stroke must not.
 */
export function visitLine(
  layout: Layout,
  count: number,
  line: { readonly fromX: number; readonly fromY: number; readonly toX: number; readonly toY: number },
  visit: (index: number) => void,
): void {
  const length = Math.hypot(line.toX - line.fromX, line.toY - line.fromY);
  const stride = Math.max(2, Math.min(layout.cellWidth, layout.cellHeight) / 4);
  const points = Math.max(1, Math.ceil(length / stride));
  let previous = -1;
  for (let i = 0; i <= points; i++) {
    const x = line.fromX + ((line.toX - line.fromX) * i) / points;
    const y = line.fromY + ((line.toY - line.fromY) * i) / points;
    const index = cellAt(layout, count, x, y);
    if (index >= 0 && index !== previous) visit(index);
    if (index >= 0) previous = index;
  }
}

/** Where a key moves the focus; a result outside `0 … count - 1` is on another page. */
export function movedFocus(layout: Layout, count: number, index: number, key: string): number | null {
  switch (key) {
    case 'ArrowLeft':
      return index - 1;
    case 'ArrowRight':
      return index + 1;
    case 'ArrowUp':
      return index - layout.columns;
    case 'ArrowDown':
      return index + layout.columns;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
