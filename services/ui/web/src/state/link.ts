/** How the one stream of this page stands. */
export type LinkState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'waiting'; readonly reason: string; readonly untilMs: number }
  /** The tab is hidden: nothing is asked for. */
  | { readonly kind: 'resting' };

export interface LinkOptions<T> {
  /** Opens the stream from where the viewer stands. */
  readonly open: (signal: AbortSignal) => AsyncIterable<T>;
  readonly onMessage: (message: T) => void;
  readonly onState: (state: LinkState) => void;
  /** A sentence for people on why the stream ended. */
  readonly reason: (error: unknown) => string;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** The wait before attempt `attempt` (0, 1, 2, …); `random` in [0, 1) keeps many viewers apart. */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return full * (0.8 + 0.4 * random);
}

/**
 * Keeps a stream open: opens it again from where it stood, after a wait that grows. A stream that ends without an error
 * has only come to its time, and goes on at once without a word.
 */
export class Link<T> {
  private readonly options: LinkOptions<T>;
  private running: AbortController | null = null;
  private wake: (() => void) | null = null;

  constructor(options: LinkOptions<T>) {
    this.options = options;
  }

  start(): void {
    if (this.running) return;
    this.running = new AbortController();
    void this.run(this.running.signal);
  }

  stop(): void {
    this.running?.abort();
    this.running = null;
    this.wake?.();
  }

  rest(): void {
    this.stop();
    this.options.onState({ kind: 'resting' });
  }

  /** Ends a wait at once. */
  retryNow(): void {
    this.wake?.();
  }

  private async run(signal: AbortSignal): Promise<void> {
    let attempt = 0;
    while (!signal.aborted) {
      if (attempt !== -1) this.options.onState({ kind: 'connecting' });
      let reason = 'The stream of changes ended.';
      let told = false;
      try {
        for await (const message of this.options.open(signal)) {
          if (signal.aborted) return;
          told = true;
          if (attempt !== -1) this.options.onState({ kind: 'live' });
          attempt = -1;
          this.options.onMessage(message);
        }
        if (told) continue;
      } catch (error) {
        reason = this.options.reason(error);
      }
      if (signal.aborted) return;
      attempt += 1;
      const waitMs = backoffMs(attempt, Math.random());
      this.options.onState({ kind: 'waiting', reason, untilMs: Date.now() + waitMs });
      await this.wait(waitMs);
    }
  }

  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
