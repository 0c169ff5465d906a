/** A curve is one signal of one branch in one mode. */
export interface CurveKey {
  readonly branch: string;
  /** Full name, for example `train/loss`. */
  readonly signal: string;
  readonly mode: 'train' | 'audit';
}

/** A curve, or a range of it. All arrays have the same length. */
export interface CurveData {
  readonly key: CurveKey;
  /** Ascending. */
  readonly steps: Float64Array;
  /** May hold NaN and infinities. */
  readonly values: Float64Array;
  /** Spread of the per-sample values behind each point. */
  readonly deviations?: Float64Array;
  /** Points in the whole curve. */
  readonly pointCount: number;
  /** Whether points were left out. */
  readonly reduced: boolean;
}

export interface Branch {
  readonly branch: string;
  readonly name: string;
  /** `null` for the first branch. */
  readonly parent: { readonly branch: string; readonly step: number } | null;
}

export interface Checkpoint {
  readonly branch: string;
  readonly step: number;
}

export type ExportFormat = 'csv' | 'json';

export interface PlotPanelProps {
  /** A curve whose arrays are the same objects as before is taken as unchanged. */
  readonly curves: readonly CurveData[];
  readonly branches: readonly Branch[];
  readonly checkpoints: readonly Checkpoint[];
  /** Steps from which edits held. */
  readonly edits: readonly Checkpoint[];
  /** Ids of the curves that are not drawn. */
  readonly hidden: readonly string[];
  readonly onHidden: (ids: readonly string[]) => void;
  /** Points of one curve between two steps, both included, reduced to `budget` points. */
  readonly fetchRange: (key: CurveKey, first: number, last: number, budget: number) => Promise<CurveData>;
  /** Every raw point of the curves. */
  readonly exportCurves: (keys: readonly CurveKey[], format: ExportFormat) => Promise<Blob>;
  readonly onLoadCheckpoint: (branch: string, step: number) => void;
  /** Shows the samples behind a point. */
  readonly onStepSamples: (key: CurveKey, step: number) => void;
  /** Breaks a curve by slices of a tag; the entry is left out without it. */
  readonly onBreakBySlices?: (key: CurveKey) => void;
  readonly theme: 'dark' | 'light';
  /** Keeps what is drawn until it is false again, or until `refreshToken` changes. */
  readonly frozen: boolean;
  readonly refreshToken?: number;
  /** A viewer without the editor's role cannot load checkpoints. */
  readonly readOnly?: boolean;
  /** Told what went wrong, in a sentence for people. */
  readonly onError?: (message: string) => void;
}
