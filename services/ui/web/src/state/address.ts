import type { OverlayKind } from '../overlay/paint';

/** What of the page's state is in its address, so that it can be shared and gone back to. */
export interface ViewState {
  /** What lies over the images. */
  readonly overlay: OverlayKind;
  /** Ids of the curves that are not shown. */
  readonly hidden: readonly string[];
  readonly experiment: string;
  readonly filter: string;
  readonly sort: readonly SortKey[];
  readonly offset: number;
  /** The sample that is open, or null. */
  readonly sample: { readonly split: string; readonly uid: string } | null;
}

export interface SortKey {
  readonly column: string;
  readonly descending: boolean;
}

export const START: ViewState = {
  experiment: '',
  filter: '',
  sort: [],
  offset: 0,
  sample: null,
  overlay: 'raw',
  hidden: [],
};

const OVERLAYS: readonly OverlayKind[] = ['gt', 'pred', 'diff'];

/** Ids are made of parts that a null character keeps apart, which does not travel well. */
function writeId(id: string): string {
  return id.split('\u0000').map(encodeURIComponent).join('|');
}

function readId(text: string): string {
  try {
    return text.split('|').map(decodeURIComponent).join('\u0000');
  } catch {
    return text;
  }
}

export function readAddress(search: string): ViewState {
  const given = new URLSearchParams(search);
  const offset = Number(given.get('at') ?? 0);
  const [split, uid] = [given.get('split'), given.get('sample')];
  return {
    experiment: given.get('x') ?? '',
    filter: given.get('q') ?? '',
    sort: given
      .getAll('sort')
      .filter((text) => text.length > 1)
      .map((text) => ({ descending: text.startsWith('-'), column: text.slice(1) })),
    offset: Number.isInteger(offset) && offset > 0 ? offset : 0,
    overlay: OVERLAYS.find((kind) => kind === given.get('overlay')) ?? 'raw',
    hidden: given.getAll('hide').map(readId),
    sample: split !== null && uid !== null ? { split, uid } : null,
  };
}

/** The search part of the address, empty or beginning with `?`. */
export function writeAddress(state: ViewState): string {
  const written = new URLSearchParams();
  if (state.experiment) written.set('x', state.experiment);
  if (state.filter) written.set('q', state.filter);
  for (const { column, descending } of state.sort) written.append('sort', (descending ? '-' : '+') + column);
  if (state.offset > 0) written.set('at', String(state.offset));
  if (state.overlay !== 'raw') written.set('overlay', state.overlay);
  for (const id of state.hidden) written.append('hide', writeId(id));
  if (state.sample) {
    written.set('split', state.sample.split);
    written.set('sample', state.sample.uid);
  }
  const text = written.toString();
  return text && `?${text}`;
}
