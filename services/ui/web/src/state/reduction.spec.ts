import { describe, expect, it } from 'vitest';
import { extremes } from './reduction';

describe('extremes', () => {
  it('keeps everything that fits', () => {
    expect([...extremes(Float64Array.of(3, 1, 2), 3)]).toEqual([0, 1, 2]);
  });

  it('keeps first, last and every spike within the budget', () => {
    const values = new Float64Array(10_000);
    values[4321] = 5;
    values[8765] = -5;
    const kept = [...extremes(values, 100)];
    expect(kept.length).toBeLessThanOrEqual(100);
    expect(kept).toEqual([...kept].sort((a, b) => a - b));
    expect(kept).toEqual(expect.arrayContaining([0, 4321, 8765, 9999]));
  });

  it('keeps a point of a stretch without numbers', () => {
    const values = new Float64Array(100).fill(Number.NaN);
    values[0] = 1;
    values[99] = 2;
    const kept = extremes(values, 12);
    expect(kept.length).toBeGreaterThan(2);
  });
});
