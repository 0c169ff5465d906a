import { describe, expect, it } from 'vitest';
import { ago, bytes, count, measure } from './numbers';

describe('numbers', () => {
  it('writes measured values in few characters', () => {
    const written = [0, 12, 0.123456, 1234.5678, 1.5e-7, 2.5e9, Number.NaN, Number.NEGATIVE_INFINITY];
    expect(written.map(measure)).toEqual(['0', '12', '0.1235', '1,235', '1.50e-7', '2.50e+9', '–', '−∞']);
  });

  it('writes sizes and counts', () => {
    expect([0, 999, 1500, 2_500_000].map(bytes)).toEqual(['0 B', '999 B', '1.5 kB', '2.5 MB']);
    expect(count(1234567n)).toBe('1,234,567');
  });

  it('says how long ago, and never a time to come', () => {
    const now = 1_000_000_000;
    expect([now + 5000, now - 59_000, now - 61_000, now - 7_300_000].map((then) => ago(then, now))).toEqual([
      '0 s ago',
      '59 s ago',
      '1 min ago',
      '2 h ago',
    ]);
  });
});
