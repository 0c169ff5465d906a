import type { ComponentChildren } from 'preact';
import type { Drawn } from '../overlay/paint';

export type Layer = 'image' | 'gt' | 'pred' | 'diff';

export interface SampleField {
  readonly name: string;
  /** `identity`, `metadata`, `signal`, `score` or another heading. */
  readonly group: string;
  readonly value: number | string;
}

/** Everything known of one sample. */
export interface SampleDetail {
  readonly split: string;
  readonly uid: string;
  readonly row: number;
  readonly discarded: boolean;
  readonly tags: readonly string[];
  readonly fields: readonly SampleField[];
  /** Slices along Z; 0 when it is no volume. */
  readonly sliceCount: number;
  /** Place in the view, counted from 0; absent when it is not in the view. */
  readonly position?: { readonly index: number; readonly matched: number };
  /** The newest edit of this sample, as a sentence for people. */
  readonly lastEdit?: string;
}

/** Values of one signal over epochs, a line for each sample and branch. */
export interface Trajectory {
  readonly signal: string;
  readonly lines: readonly {
    /** Which of the samples that were asked for, from 0. */
    readonly sample: number;
    readonly epochs: Float64Array;
    readonly values: Float64Array;
  }[];
}

export interface SampleModalProps {
  readonly sample: SampleDetail;
  /** Address of the image; the same address is the same image. */
  readonly imageUrl: (sizePx: number, slice: number) => string;
  /** Images that are likely to be asked for next. */
  readonly prefetchUrls?: readonly string[];
  /** `null` at the first sample of the view. */
  readonly onPrevious: (() => void) | null;
  /** `null` at the last sample of the view. */
  readonly onNext: (() => void) | null;
  readonly onClose: () => void;
  /** Draws what lies over the image; another function when it would draw differently. */
  readonly drawMask?: ((sizePx: number, slice: number) => Promise<Drawn | null>) | null;
  readonly splitView?: boolean;
  readonly trajectories?: readonly Trajectory[];
  /** Controls of the overlay, next to those of the zoom. */
  readonly overlaySwitch?: ComponentChildren;
  readonly onTagAdd: (tag: string) => void;
  readonly onTagRemove: (tag: string) => void;
  readonly onDiscard: () => void;
  readonly onRestore: () => void;
  /** Tags to offer while typing. */
  readonly knownTags?: readonly string[];
  readonly tagColor?: (tag: string) => string;
  readonly readOnly: boolean;
}

/** Size in which the modal asks for an image first; neighbours are worth prefetching in it. */
export const IMAGE_PX = 1024;
/** Size asked for once a larger image is zoomed into. */
export const FULL_IMAGE_PX = 4096;
