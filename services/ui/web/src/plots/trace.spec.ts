import { describe, expect, it } from 'vitest';
import { type Scale, scaleOf, toPixel } from './scale';
import { emptyTrace, traceCurve, visibleRange } from './trace';

const y: Scale = scaleOf({ min: -10, max: 10 }, { from: 200, to: 0 }, false);

function traced(steps: Float64Array, values: Float64Array, options: { width: number; y?: Scale; x?: Scale }) {
  const x =
    options.x ??
    scaleOf({ min: steps[0] as number, max: steps.at(-1) as number }, { from: 0, to: options.width }, false);
  const trace = emptyTrace();
  traceCurve(
    { steps, values },
    { x, y: options.y ?? y, first: 0, last: steps.length, width: options.width },
    trace,
  );
  return { xs: [...trace.x.subarray(0, trace.count)], ys: [...trace.y.subarray(0, trace.count)] };
}

const ramp = (count: number) => Float64Array.from({ length: count }, (_, i) => i);

describe('a sparse curve', () => {
  it('keeps every point', () => {
    const { xs } = traced(ramp(5), Float64Array.of(1, 2, 3, 4, 5), { width: 100 });
    expect(xs).toEqual([0, 25, 50, 75, 100]);
  });
  it('breaks where a value is not finite', () => {
    const { xs } = traced(ramp(4), Float64Array.of(1, Number.NaN, 3, Number.POSITIVE_INFINITY), {
      width: 30,
    });
    expect(xs).toEqual([0, Number.NaN, 20, Number.NaN]);
  });
  it('breaks where a value is not positive on a log axis', () => {
    const log = scaleOf({ min: 0.1, max: 10 }, { from: 100, to: 0 }, true);
    const { ys } = traced(ramp(3), Float64Array.of(1, 0, 10), { width: 30, y: log });
    expect(ys[0]).toBeCloseTo(50);
    expect(ys[1]).toBeNaN();
    expect(ys[2]).toBeCloseTo(0);
  });
});

describe('a dense curve', () => {
  const count = 100_000;
  const steps = ramp(count);

  it('leaves a few points per pixel', () => {
    const values = Float64Array.from(steps, (step) => Math.sin(step));
    expect(traced(steps, values, { width: 400 }).xs.length).toBeLessThanOrEqual(4 * 401);
  });
  it.each([0, 1, 777, 50_000, count - 1])('keeps a spike of one step at %i', (at) => {
    const values = new Float64Array(count);
    values[at] = 9;
    expect(Math.min(...traced(steps, values, { width: 300 }).ys)).toBeCloseTo(toPixel(y, 9));
  });
  it('starts with the first and ends with the last value', () => {
    const values = Float64Array.from(steps, (_, i) => (i === 0 ? 5 : i === count - 1 ? -5 : 0));
    const { ys } = traced(steps, values, { width: 200 });
    expect(ys[0]).toBeCloseTo(toPixel(y, 5));
    expect(ys.at(-1)).toBeCloseTo(toPixel(y, -5));
  });
  it('shows a gap of several pixels and hides none of the rest', () => {
    const values = new Float64Array(count).fill(Number.NaN, 40_000, 60_000);
    const { xs } = traced(steps, values, { width: 100 });
    expect(xs.filter(Number.isNaN).length).toBeGreaterThan(0);
    expect(xs.some((x) => x > 41 && x < 59)).toBe(false);
    expect(Math.max(...xs.filter((x) => !Number.isNaN(x)))).toBeGreaterThan(98);
  });
  it('stays within its arrays when every second value is missing', () => {
    const values = Float64Array.from(steps, (_, i) => (i % 2 ? Number.NaN : 1));
    const { xs, ys } = traced(steps, values, { width: 128 });
    expect(xs.length).toBe(ys.length);
    expect(xs.every((x) => x !== undefined)).toBe(true);
  });
  it('works on a log axis of steps', () => {
    const x = scaleOf({ min: 1, max: count }, { from: 0, to: 200 }, true);
    const { xs } = traced(steps, new Float64Array(count).fill(1), { width: 200, x });
    expect(xs[0]).toBe(0.5);
    expect(xs.at(-1)).toBeGreaterThan(198);
  });
});

describe('the visible range', () => {
  it('takes a neighbour on each side', () => {
    expect(visibleRange(Float64Array.of(0, 10, 20, 30, 40), 12, 28)).toEqual({ first: 1, last: 5 });
  });
});
