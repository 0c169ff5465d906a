import { describe, expect, it } from 'vitest';
import { joinPoint, newestAtOrBefore } from './join';

describe('the point where a branch leaves its parent', () => {
  const parent = { steps: Float64Array.of(10, 20, 30), values: Float64Array.of(1, 2, Number.NaN) };
  it('is the parent point of that step', () => {
    expect(joinPoint(parent, 20)).toEqual({ step: 20, value: 2 });
  });
  it('is the last one before it when there is none', () => {
    expect(joinPoint(parent, 19)).toEqual({ step: 10, value: 1 });
  });
  it('passes over gaps', () => {
    expect(joinPoint(parent, 99)).toEqual({ step: 20, value: 2 });
  });
  it('is missing when the parent starts later', () => {
    expect(joinPoint(parent, 9)).toBeNull();
  });
});

describe('the checkpoint that would be loaded', () => {
  it('is the newest at or before the step, in any order', () => {
    expect(newestAtOrBefore([60, 50, 40], 57)).toBe(50);
    expect(newestAtOrBefore([60], 57)).toBeNull();
  });
});
