/** What the suite asks of a client, whichever library it is made of. */
export interface Options {
  metadata: Record<string, string>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

export interface Client {
  query(
    request: { experiment: string; filter: string; offset?: bigint },
    options: Options,
  ): Promise<{ uids: string[]; requestId: string }>;
  /** Yields the points of each message. */
  exportPoints(request: { experiment: string }, options: Options): AsyncIterable<number>;
  /** Yields the curves of each message. */
  watch(request: { experiment: string }, options: Options): AsyncIterable<number>;
  listExperiments(options: Options): Promise<number>;
}

/** How a call failed, by the name of its status. */
export class Failure extends Error {
  constructor(
    readonly status: string,
    readonly text: string,
    /** Whether machine-readable details came along. */
    readonly detailed: boolean,
  ) {
    super(`${status}: ${text}`);
  }
}
