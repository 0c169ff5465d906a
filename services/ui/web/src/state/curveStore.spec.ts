import { describe, expect, it } from 'vitest';
import type { CurveKey } from '../plots/types';
import { CurveStore } from './curveStore';

const KEY: CurveKey = { branch: 'a', signal: 'train/loss', mode: 'train' };

function points(first: number, count: number, pointCount = first + count) {
  const ordinals = Float64Array.from({ length: count }, (_, i) => first + i);
  return { key: KEY, firstOrdinal: first, steps: ordinals, values: ordinals, pointCount };
}

describe('CurveStore', () => {
  it('keeps every point once, however deltas overlap', () => {
    const store = new CurveStore();
    expect(store.apply(points(0, 3))).toBeNull();
    expect(store.apply(points(0, 3))).toBeNull();
    expect(store.apply(points(2, 3))).toBeNull();
    expect([...(store.curves()[0]?.values ?? [])]).toEqual([0, 1, 2, 3, 4]);
  });

  it('tells from where points are missing, and is whole again when they came', () => {
    const store = new CurveStore();
    store.apply(points(0, 2));
    expect(store.apply(points(5, 2))).toBe(2);
    expect(store.apply(points(2, 5))).toBeNull();
    expect([...(store.curves()[0]?.steps ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('knows of points that were left out behind a delta', () => {
    const store = new CurveStore();
    expect(store.apply(points(0, 2, 10))).toBe(2);
    expect(store.curves()[0]?.pointCount).toBe(10);
  });

  it('goes on behind a reduced curve', () => {
    const store = new CurveStore();
    const [steps, values] = [Float64Array.of(0, 900), Float64Array.of(3, 1)];
    store.replace(KEY, { steps, values, pointCount: 1000, reduced: true });
    expect(store.positions()).toEqual([{ key: KEY, pointCount: 1000 }]);
    expect(store.apply(points(1000, 1))).toBeNull();
    expect(store.curves()[0]).toMatchObject({ pointCount: 1001, reduced: true });
  });

  it('does not go back when an older answer comes late', () => {
    const store = new CurveStore();
    store.apply(points(0, 50));
    store.replace(KEY, {
      steps: Float64Array.of(0),
      values: Float64Array.of(0),
      pointCount: 1,
      reduced: false,
    });
    expect(store.curves()[0]?.values.length).toBe(50);
  });

  it('gives the same arrays until a curve changes', () => {
    const store = new CurveStore();
    store.apply(points(0, 2));
    const before = store.curves()[0];
    expect(store.curves()[0]).toBe(before);
    store.apply(points(2, 1));
    expect(store.curves()[0]).not.toBe(before);
    expect([...(before?.values ?? [])]).toEqual([0, 1]);
  });

  it('thins a long curve and keeps its spike', () => {
    const store = new CurveStore();
    const values = new Float64Array(30_000);
    values[12_345] = 99;
    const steps = Float64Array.from(values, (_, i) => i);
    store.apply({ key: KEY, firstOrdinal: 0, steps, values, pointCount: values.length });
    const curve = store.curves()[0];
    expect(curve?.reduced).toBe(true);
    expect(curve?.values.length).toBeLessThan(7_000);
    expect(Math.max(...(curve?.values ?? []))).toBe(99);
    expect(curve?.steps.at(-1)).toBe(29_999);
  });

  it('fills deviations that a live point does not have', () => {
    const store = new CurveStore();
    const one = Float64Array.of(1);
    store.replace(KEY, { steps: one, values: one, deviations: one, pointCount: 1, reduced: false });
    store.apply(points(1, 2));
    expect([...(store.curves()[0]?.deviations ?? [])]).toEqual([1, Number.NaN, Number.NaN]);
  });
});
