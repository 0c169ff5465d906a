import { describe, expect, it } from 'vitest';
import { logTicks } from './ticks';

describe('ticks of a logarithmic axis', () => {
  it('stand at the digits of each decade', () => {
    expect(logTicks({ min: 0.25, max: 30 })).toEqual([
      0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30,
    ]);
  });

  it('are few and ascending wherever a range begins', () => {
    for (let power = -12; power < 6; power++)
      for (let mantissa = 1; mantissa < 10; mantissa += 0.01) {
        const min = mantissa * 10 ** power;
        const ticks = logTicks({ min, max: min * 130 });
        expect(ticks.length).toBeGreaterThan(10);
        expect(ticks.length).toBeLessThan(30);
        expect(ticks).toEqual([...ticks].sort((a, b) => a - b));
      }
  });

  it('stand at round places within a part of a decade', () => {
    expect(logTicks({ min: 2.13, max: 2.91 })).toEqual([2.2, 2.4, 2.6, 2.8]);
  });

  it('stand at powers of ten of a range of very many', () => {
    expect(logTicks({ min: 1e-30, max: 1 })).toHaveLength(31);
  });

  it.each([
    { min: 0, max: 1 },
    { min: -1, max: 1 },
    { min: 2, max: 2 },
    { min: Number.NaN, max: Number.NaN },
    { min: 1, max: Number.POSITIVE_INFINITY },
  ])('are none where there is no such axis: %o', (range) => {
    expect(logTicks(range)).toEqual([]);
  });
});
