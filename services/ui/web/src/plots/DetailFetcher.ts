import type { CurveModel } from './CurveModel';
import type { Range } from './scale';
import type { CurveData, CurveKey } from './types';

/** The zoom has to rest for so long before points are asked for. */
const REST_MS = 140;
/** A curve that grows while its end is looked at is asked for again so often at most. */
const GROWTH_MS = 1_000;

export interface Wanted {
  readonly range: Range;
  /** Steps around the range that are fetched too, so that smoothing does not start anew at its edge. */
  readonly margin: number;
  readonly budget: number;
}

export interface DetailSource {
  readonly fetchRange: (key: CurveKey, first: number, last: number, budget: number) => Promise<CurveData>;
  readonly onArrived: () => void;
  readonly onError: (message: string) => void;
}

function same(a: Range | null, b: Range): boolean {
  return a !== null && a.min === b.min && a.max === b.max;
}

/** Fetches finer points of what is zoomed into: one request per curve at a time, the newest zoom wins. */
export class DetailFetcher {
  private timer = 0;
  private generation = 0;
  /** The range that a timer or a request is under way for. */
  private busyWith: Range | null = null;
  private failedAt: Range | null = null;

  constructor(private readonly source: DetailSource) {}

  /** Forgets what is under way. */
  cancel(): void {
    clearTimeout(this.timer);
    this.generation++;
    this.busyWith = null;
    this.failedAt = null;
  }

  want(models: readonly CurveModel[], wanted: Wanted): void {
    const { range } = wanted;
    if (same(this.busyWith, range) || same(this.failedAt, range)) return;
    const coarse = models.some((model) => model.needsDetail(range.min, range.max));
    const grown = models.some((model) => model.hasGrown(range.max));
    if (!coarse && !grown) return;
    this.cancel();
    this.busyWith = range;
    this.timer = setTimeout(() => void this.fetch(models, wanted), coarse ? REST_MS : GROWTH_MS);
  }

  private async fetch(models: readonly CurveModel[], { range, margin, budget }: Wanted): Promise<void> {
    const generation = this.generation;
    const first = Math.max(0, Math.floor(range.min - margin));
    const last = Math.ceil(range.max + margin);
    const reduced = models.filter((model) => model.data.reduced);
    try {
      const pieces = await Promise.all(
        reduced.map((model) => this.source.fetchRange(model.data.key, first, last, budget)),
      );
      if (generation !== this.generation) return;
      this.busyWith = null;
      pieces.forEach((piece, i) => {
        reduced[i]?.setDetail({ data: piece, first, last, width: range.max - range.min });
      });
      this.source.onArrived();
    } catch (error) {
      if (generation !== this.generation) return;
      this.busyWith = null;
      this.failedAt = range;
      const reason = error instanceof Error ? error.message : String(error);
      this.source.onError(`Finer points could not be fetched: ${reason}`);
    }
  }
}
