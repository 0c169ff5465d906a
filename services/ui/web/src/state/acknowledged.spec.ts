import { describe, expect, it } from 'vitest';
import { RunState } from '../proto/weightslab/v1/common_pb';
import { acknowledge, judge } from './acknowledged';

describe('judge', () => {
  const paused = acknowledge(RunState.PAUSED, 40n, 1000);

  it('takes a status from before the pause as stale', () => {
    expect(judge(paused, { state: RunState.RUNNING, step: 40n }, 1100)).toBe('stale');
    expect(judge(paused, { state: RunState.PENDING, step: 39n }, 1100)).toBe('stale');
  });

  it('takes the same state as the confirmation', () => {
    expect(judge(paused, { state: RunState.PAUSED, step: 40n }, 1100)).toBe('confirms');
  });

  it('believes that steps were taken since', () => {
    expect(judge(paused, { state: RunState.RUNNING, step: 41n }, 1100)).toBe('newer');
  });

  it('believes a status that keeps saying otherwise', () => {
    expect(judge(paused, { state: RunState.RUNNING, step: 40n }, 4000)).toBe('newer');
  });

  it('keeps a resume against the pause before it', () => {
    const resumed = acknowledge(RunState.RUNNING, 40n, 1000);
    expect(judge(resumed, { state: RunState.PAUSED, step: 40n }, 1100)).toBe('stale');
  });
});
