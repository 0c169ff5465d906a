import { describe, expect, it } from 'vitest';
import { backoffMs, Link, type LinkState } from './link';

describe('backoffMs', () => {
  it('grows up to a bound, with viewers kept apart', () => {
    const waits = Array.from({ length: 8 }, (_, attempt) => backoffMs(attempt, 0.5));
    expect(waits.slice(0, 4)).toEqual([500, 1000, 2000, 4000]);
    expect(Math.max(...waits)).toBe(10_000);
    expect(backoffMs(3, 0)).toBeLessThan(backoffMs(3, 0.99));
  });
});

/** A link over scripted streams: each is a list of messages, ended by an error when it says so. */
function scripted(streams: (number | Error)[][]) {
  const states: string[] = [];
  const messages: number[] = [];
  let finished = () => {};
  const done = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const link = new Link<number>({
    async *open() {
      const script = streams.shift();
      if (!script) {
        finished();
        await new Promise(() => {});
      }
      for (const item of script ?? []) {
        if (item instanceof Error) throw item;
        yield item;
      }
    },
    onMessage: (message) => messages.push(message),
    onState: (state: LinkState) => {
      states.push(state.kind === 'waiting' ? `waiting: ${state.reason}` : state.kind);
      if (state.kind === 'waiting') queueMicrotask(() => link.retryNow());
    },
    reason: (error) => (error as Error).message,
  });
  return { link, states, messages, done };
}

describe('Link', () => {
  it('opens the stream again after it broke, and says why', async () => {
    const { link, states, messages, done } = scripted([
      [1, 2, new Error('gone')],
      [new Error('still gone')],
      [3],
      [],
    ]);
    link.start();
    await done;
    link.stop();
    expect(messages).toEqual([1, 2, 3]);
    expect(states).toEqual([
      'connecting',
      'live',
      'waiting: gone',
      'connecting',
      'waiting: still gone',
      'connecting',
      'live',
      'waiting: The stream of changes ended.',
      'connecting',
    ]);
  });

  it('goes on at once, without a word, after a stream that has come to its time', async () => {
    const { link, states, messages, done } = scripted([[1, 2], [3], [4, new Error('gone')]]);
    link.start();
    await done;
    link.stop();
    expect(messages).toEqual([1, 2, 3, 4]);
    expect(states).toEqual(['connecting', 'live', 'waiting: gone', 'connecting']);
  });

  it('rests without a word from the stream that was open', async () => {
    const { link, states, messages, done } = scripted([[1]]);
    link.start();
    await done;
    link.rest();
    expect(states.at(-1)).toBe('resting');
    expect(messages).toEqual([1]);
  });
});
