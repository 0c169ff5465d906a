import { computed, signal } from '@preact/signals';
import type { Layer } from '../modal/types';
import { ID_OF_CLASS_0, marksOf } from '../overlay/boxes';
import { className } from '../overlay/classNames';
import { MaskStore } from '../overlay/MaskStore';
import { classesOf, type Drawn, type Mask, type OverlayKind, paint, VERDICTS } from '../overlay/paint';
import { experimentName } from './run';
import { mediaUrl, type SampleName } from './sample';
import { PALETTE } from './settings';
import { remembered } from './storage';
import { splits } from './view';

/** What lies over the images; part of the address. */
export const overlayKind = signal<OverlayKind>('raw');
/** The left half of each image stays bare. */
export const splitView = remembered('overlay.split', false);
export const overlayOpacity = remembered('overlay.opacity', 0.55);
export const overlayContour = remembered('overlay.contour', true);
export const classColors = remembered<Record<string, string>>('colors.class', {});
/** Classes that are not painted; the first is the background for most. */
export const hiddenClasses = remembered<number[]>('overlay.hidden', [0]);
/** What the masks of a split have held so far. */
interface Seen {
  readonly ids: readonly number[];
  readonly boxes: boolean;
}

/** By split. */
const seen = signal<Readonly<Record<string, Seen>>>({});

const store = new MaskStore();
/** Splits whose samples turned out to have no such layer, so that it is not asked for again and again. */
const bare = signal<ReadonlySet<string>>(new Set());

export interface MaskClass {
  readonly id: number;
  readonly name: string;
  readonly color: string;
}

export function classColor(id: number): string {
  if (id === 255 && !classColors.value[id]) return '#9aa0ad';
  return classColors.value[id] ?? (PALETTE[(id + PALETTE.length - 1) % PALETTE.length] as string);
}

/** The classes of the masks seen so far, by id; one that splits name differently has all of its names. */
export const maskClasses = computed<readonly MaskClass[]>(() => {
  const found = Object.entries(seen.value);
  const ids = [...new Set(found.flatMap(([, { ids }]) => ids))].sort((a, b) => a - b);
  return ids.map((id) => {
    const names = found
      .filter(([, split]) => split.ids.includes(id))
      .map(([split, { boxes }]) => className(splits.value, split, boxes && id === ID_OF_CLASS_0 ? 0 : id));
    return { id, name: [...new Set(names)].join(' · '), color: classColor(id) };
  });
});

/** Says which layer no sample of the shown splits has; empty when all is well. */
export const missingLayer = computed(() => {
  const kind = overlayKind.value;
  const lacking = kind !== 'raw' && splits.value.some(({ split }) => bare.value.has(bareKey(split, kind)));
  if (!lacking) return '';
  return kind === 'gt'
    ? 'No ground truth is known for these samples.'
    : 'No prediction is known for these samples yet.';
});

function bareKey(split: string, layer: Layer): string {
  return `${experimentName.value}\u0000${split}\u0000${layer}`;
}

async function mask(sample: SampleName, layer: Layer, sizePx: number, slice: number): Promise<Mask | null> {
  const key = bareKey(sample.split, layer);
  if (bare.value.has(key)) return null;
  const told = splits.value.find(({ split }) => split === sample.split)?.layers ?? [];
  if (told.length > 0 && !told.includes(layer)) {
    bare.value = new Set([...bare.value, key]);
    return null;
  }
  const found = await store.get(mediaUrl(sample, sizePx, layer, slice));
  if (!found) bare.value = new Set([...bare.value, key]);
  return found;
}

function note(split: string, found: Mask): void {
  const before = seen.value[split] ?? { ids: [], boxes: false };
  const fresh = classesOf(found).filter((id) => !before.ids.includes(id));
  const boxes = before.boxes || found.boxes !== undefined;
  if (fresh.length === 0 && boxes === before.boxes) return;
  seen.value = { ...seen.value, [split]: { ids: [...before.ids, ...fresh], boxes } };
}

/** Draws what lies over the image of a sample, in the looks of the moment; `null` when nothing does. */
export type DrawMask = (sample: SampleName, sizePx: number, slice: number) => Promise<Drawn | null>;

/** Another function whenever something would be drawn differently; `null` while images are bare. */
export const drawMask = computed<DrawMask | null>(() => {
  const kind = overlayKind.value;
  if (kind === 'raw') return null;
  const comparing = kind === 'diff';
  const look = {
    opacity: overlayOpacity.value,
    contour: overlayContour.value && !comparing,
    hidden: new Set(comparing ? [0] : hiddenClasses.value),
    color: comparing
      ? (id: number) => VERDICTS[id - 1]?.color ?? 0
      : (id: number) => Number.parseInt(classColor(id).slice(1), 16),
  };
  // Read here, or a change of a colour would not be seen.
  classColors.value;
  return async (sample, sizePx, slice) => {
    const found = await mask(sample, kind, sizePx, slice);
    if (!found) return null;
    if (!comparing) note(sample.split, found);
    const name = (label: number) => className(splits.value, sample.split, label);
    const boxes = found.boxes ? marksOf(found.boxes, { ...look, name, color: classColor }) : [];
    return { pixels: new ImageData(paint(found, look), found.width, found.height), boxes, grey: comparing };
  };
});

/** Predictions move while a model learns: they are fetched anew. */
export function refreshMasks(): void {
  store.clear();
  bare.value = new Set();
}

export function toggleClass(id: number): void {
  const hidden = hiddenClasses.value;
  hiddenClasses.value = hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id];
}
