import { describe, expect, it } from 'vitest';
import { bandWindow, deviationBand, rollingExtent, smooth, smoothingUnit } from './smoothing';

const steps = (count: number, every = 1) => Float64Array.from({ length: count }, (_, i) => i * every);
const smoothed = (at: Float64Array, values: Float64Array, weight: number) => {
  const out = new Float64Array(values.length);
  smooth(at, values, { weight, unit: smoothingUnit(at), out });
  return out;
};

describe('smoothing', () => {
  it('leaves the curve as it is at weight 0', () => {
    const values = Float64Array.of(3, 1, 4, 1, 5);
    expect([...smoothed(steps(5), values, 0)]).toEqual([3, 1, 4, 1, 5]);
  });
  it('starts at the first value instead of near zero', () => {
    const out = smoothed(steps(50), new Float64Array(50).fill(7), 0.99);
    for (const value of out) expect(value).toBeCloseTo(7, 10);
  });
  it('equals the formula of the bias-corrected average on evenly spaced points', () => {
    const values = Float64Array.from({ length: 80 }, (_, i) => Math.sin(i) * i);
    let mean = 0;
    const expected = [...values].map((value, i) => {
      mean = 0.8 * mean + 0.2 * value;
      return mean / (1 - 0.8 ** (i + 1));
    });
    smoothed(steps(80, 10), values, 0.8).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 8);
    });
  });
  it('leaves the few points of a young curve nearly as they are', () => {
    const out = smoothed(steps(5), Float64Array.of(0, 1, 1, 1, 1), 0.7);
    expect(out[1]).toBeGreaterThan(0.95);
  });
  it('keeps gaps as gaps and goes on behind them', () => {
    const out = smoothed(steps(4), Float64Array.of(2, Number.NaN, Number.POSITIVE_INFINITY, 2), 0.5);
    expect([...out]).toEqual([2, Number.NaN, Number.NaN, 2]);
  });
  it('is nearly the same for a curve and for every second point of it', () => {
    const at = steps(4000);
    const values = Float64Array.from(at, (step) => Math.sin(step / 300));
    const half = (all: Float64Array) => all.filter((_, i) => i % 2 === 0);
    const full = smoothed(at, values, 0.9);
    const reduced = smoothed(half(at), half(values), 0.9);
    for (let i = 100; i < reduced.length; i++) {
      expect(Math.abs((reduced[i] as number) - (full[i * 2] as number))).toBeLessThan(0.02);
    }
  });
});

describe('the min/max band', () => {
  it('equals the extent of each window', () => {
    const values = Float64Array.from({ length: 200 }, (_, i) => ((i * 7919) % 211) - 100);
    const low = new Float64Array(200);
    const high = new Float64Array(200);
    rollingExtent(values, { window: 9, low, high });
    for (let i = 0; i < 200; i++) {
      const window = [...values.subarray(Math.max(0, i - 4), i + 5)];
      expect(low[i]).toBe(Math.min(...window));
      expect(high[i]).toBe(Math.max(...window));
    }
  });
  it('passes over values that are not numbers', () => {
    const low = new Float64Array(4);
    const high = new Float64Array(4);
    rollingExtent(Float64Array.of(1, Number.NaN, 3, Number.NEGATIVE_INFINITY), { window: 3, low, high });
    expect([...low]).toEqual([1, Number.NaN, 3, Number.NaN]);
    expect([...high]).toEqual([1, Number.NaN, 3, Number.NaN]);
  });
  it('grows with the smoothing', () => {
    expect(bandWindow(0.99)).toBeGreaterThan(bandWindow(0.5));
    expect(bandWindow(0.7) % 2).toBe(1);
  });
});

describe('the deviation band', () => {
  const band = (values: Float64Array, deviations?: Float64Array) => {
    const at = steps(values.length);
    const low = new Float64Array(values.length);
    const high = new Float64Array(values.length);
    const curve = { steps: at, values, smoothed: smoothed(at, values, 0.9), deviations };
    deviationBand(curve, { weight: 0.9, unit: 1, low, high });
    return { low, high };
  };
  it('is as wide as the spread of the samples when that is known', () => {
    const { low, high } = band(new Float64Array(30).fill(5), new Float64Array(30).fill(2));
    expect(low[29]).toBeCloseTo(3, 8);
    expect(high[29]).toBeCloseTo(7, 8);
  });
  it('is as wide as the scatter of the points otherwise', () => {
    const values = Float64Array.from({ length: 400 }, (_, i) => (i % 2 ? 1 : -1));
    const { low, high } = band(values);
    const half = ((high[399] as number) - (low[399] as number)) / 2;
    expect(half).toBeGreaterThan(0.9);
    expect(half).toBeLessThan(1.05);
  });
});
