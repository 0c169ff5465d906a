import { describe, expect, it } from 'vitest';
import { readAddress, START, writeAddress } from './address';

describe('the address', () => {
  it('gives back what was written into it, whatever the names are', () => {
    const state = {
      experiment: 'digits',
      filter: 'tag("a,b & c") and `train/loss` > 2',
      sort: [
        { column: '-odd+name', descending: true },
        { column: 'uid', descending: false },
      ],
      offset: 128,
      sample: { split: 'val', uid: '日本/1?#' },
      overlay: 'diff' as const,
      hidden: ['main\u0000a|b/100%\u0000train', 'x\u0000y\u0000audit'],
    };
    expect(readAddress(writeAddress(state))).toEqual(state);
  });

  it('is empty at the start', () => {
    expect(writeAddress(START)).toBe('');
    expect(readAddress('')).toEqual(START);
  });

  it('takes nonsense for the start', () => {
    expect(readAddress('?at=-3&sort=&split=only')).toEqual(START);
    expect(readAddress('?at=1e99x&overlay=<b>')).toEqual(START);
  });
});
