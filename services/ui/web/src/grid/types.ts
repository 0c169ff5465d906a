import type { Drawn } from '../overlay/paint';

/** One sample on the page of a view. */
export interface Cell {
  readonly row: number;
  readonly uid: string;
  readonly split: string;
  readonly discarded: boolean;
  readonly tags: readonly string[];
  /** Values of the columns of this page by column name; NaN where there is no value yet. */
  readonly values: Readonly<Record<string, number | string>>;
}

/** One page of a filtered and sorted view. */
export interface GridPage {
  /** Names the order of samples; it changes when the order is made anew. */
  readonly view: string;
  /** Position of the first cell in the view. */
  readonly offset: number;
  /** Samples in the view. */
  readonly matched: number;
  readonly cells: readonly Cell[];
}

/** The samples a viewer has selected, whatever page they are on. */
export interface Selection {
  /** Every sample of the filtered set; `keys` is empty then. */
  readonly everything: boolean;
  /** `keyOf` of each selected sample. */
  readonly keys: ReadonlySet<string>;
}

/** Draws what lies over the image of a sample; `null` when nothing does. */
export type DrawMask = (cell: Cell, sizePx: number, slice: number) => Promise<Drawn | null>;

/** What a stroke of the pointer does while the painter is on. */
export interface Painter {
  readonly tag: string;
  readonly mode: 'add' | 'remove';
}

export interface GridProps {
  /** `null` until the first page has arrived. */
  readonly data: GridPage | null;
  /** Address of a cell's image for a square of `sizePx`; empty when the sample has no image. */
  readonly imageUrl: (cell: Cell, sizePx: number) => string;
  /** Width of a cell in CSS pixels. */
  readonly cellSizePx: number;
  /** Size to ask images in. */
  readonly resolutionPx: number;
  /** Draws what lies over a cell's image; another function when it would draw differently. */
  readonly drawMask?: DrawMask | null;
  /** The left half of each image stays bare. */
  readonly splitView?: boolean;
  /** Columns written on the cells, in this order. */
  readonly fields: readonly string[];
  /** CSS colour of each split's edge. */
  readonly splitColors: Readonly<Record<string, string>>;
  /** CSS colour of a tag's chip; without it a stable colour is derived from the text. */
  readonly tagColor?: (tag: string) => string;
  readonly selection: Selection;
  readonly onSelectionChange: (selection: Selection) => void;
  readonly onOpen: (cell: Cell) => void;
  /** Coordinates are those of the viewport. */
  readonly onContextMenu: (cell: Cell, x: number, y: number) => void;
  readonly painter: Painter | null;
  /** Told once per stroke with the cells it touched, in that order. */
  readonly onStroke: (cells: readonly Cell[]) => void;
  /** How many cells fit; told after each change of size. */
  readonly onCapacity: (cellsPerPage: number) => void;
  /** Asks for another page, so many pages from this one. */
  readonly onPage: (delta: number) => void;
  /** Cells whose values have moved since the view was made. */
  readonly changedCount: number;
  /** Makes the view anew. */
  readonly onRefresh: () => void;
}
