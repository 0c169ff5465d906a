import type { RunState } from '../proto/weightslab/v1/common_pb';

/** A state that the trainer has acknowledged, until its own status tells the same. */
export interface Acknowledged {
  readonly state: RunState.RUNNING | RunState.PAUSED;
  /** The last step taken when it was acknowledged. */
  readonly step: bigint;
  /** From then on every status is believed: somebody else may have changed the state again. */
  readonly untilMs: number;
}

/** Longer than a status is on its way; trainers tell theirs once a second. */
const HOLD_MS = 2500;

export function acknowledge(state: Acknowledged['state'], step: bigint, nowMs: number): Acknowledged {
  return { state, step, untilMs: nowMs + HOLD_MS };
}

export type Verdict = 'confirms' | 'stale' | 'newer';

/** Whether a status was sent before what was acknowledged, and so must not undo it. */
export function judge(
  known: Acknowledged,
  status: { readonly state: RunState; readonly step: bigint },
  nowMs: number,
): Verdict {
  if (status.state === known.state) return 'confirms';
  if (nowMs >= known.untilMs || status.step > known.step) return 'newer';
  return 'stale';
}
