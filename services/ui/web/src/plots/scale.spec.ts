import { describe, expect, it } from 'vitest';
import {
  Extent,
  lowerBound,
  nearestIndex,
  padded,
  scaleOf,
  tooFine,
  toPixel,
  toValue,
  zoomed,
} from './scale';

describe.each([false, true])('a scale (log: %s)', (log) => {
  const scale = scaleOf({ min: 1, max: 1000 }, { from: 300, to: 0 }, log);
  it('puts the ends of its range on the ends of its pixels', () => {
    expect(toPixel(scale, 1)).toBeCloseTo(300);
    expect(toPixel(scale, 1000)).toBeCloseTo(0);
  });
  it('is undone by its inverse', () => {
    expect(toValue(scale, toPixel(scale, 42))).toBeCloseTo(42);
  });
});

describe('searching', () => {
  const sorted = Float64Array.of(0, 10, 20, 40);
  it('finds the first that is not below', () => {
    expect([-1, 0, 5, 10, 41].map((value) => lowerBound(sorted, value))).toEqual([0, 0, 1, 1, 4]);
  });
  it('finds the nearest', () => {
    expect([-9, 4, 6, 31, 99].map((value) => nearestIndex(sorted, value))).toEqual([0, 0, 1, 3, 3]);
    expect(nearestIndex(new Float64Array(0), 1)).toBe(-1);
  });
});

describe('an extent', () => {
  const values = Float64Array.of(Number.NaN, -5, 0, 3, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
  it('holds finite values only', () => {
    const extent = new Extent(false);
    extent.add(values, 0, values.length);
    expect([extent.min, extent.max]).toEqual([-5, 3]);
  });
  it('holds positive values only on a log axis', () => {
    const extent = new Extent(true);
    extent.add(values, 0, values.length);
    expect([extent.min, extent.max]).toEqual([3, 3]);
  });
  it('says when there is nothing to show', () => {
    const extent = new Extent(false);
    extent.add(values, 4, values.length);
    expect(extent.empty).toBe(true);
  });
});

describe('a range', () => {
  it('has air around the values', () => {
    const range = padded({ min: 0, max: 10 }, false);
    expect(range.min).toBeLessThan(0);
    expect(range.max).toBeGreaterThan(10);
  });
  it.each([
    [{ min: 5, max: 5 }, false],
    [{ min: 0, max: 0 }, false],
    [{ min: 5, max: 5 }, true],
    [{ min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY }, true],
  ])('is never empty: %o', (extent, log) => {
    const range = padded(extent, log);
    expect(range.max).toBeGreaterThan(range.min);
    expect(Number.isFinite(range.max - range.min)).toBe(true);
  });
  it('never asks an axis for ticks finer than numbers are', () => {
    const range = padded({ min: 1, max: 1 + 2 ** -51 }, false);
    expect(range.max - range.min).toBeGreaterThan(0.1);
    expect(tooFine({ min: 1e9, max: 1e9 + 0.1 })).toBe(true);
    expect(tooFine({ min: -1e-9, max: 1e-9 })).toBe(false);
  });
  it('keeps the place it is zoomed at', () => {
    expect(zoomed({ min: 0, max: 100 }, 25, { factor: 0.5, log: false })).toEqual({ min: 12.5, max: 62.5 });
    const log = zoomed({ min: 1, max: 10000 }, 100, { factor: 0.5, log: true });
    expect(log.min).toBeCloseTo(10);
    expect(log.max).toBeCloseTo(1000);
  });
});
