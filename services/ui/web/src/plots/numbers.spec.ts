import { describe, expect, it } from 'vitest';
import { compactCount, formatSignal, formatTick } from './numbers';

describe('numbers in few characters', () => {
  it.each([
    [7, '7'],
    [2000, '2,000'],
    [12_345, '12.3 k'],
    [999_999, '999 k'],
    [1_234_567, '1.2 M'],
    [2e9, '2 G'],
  ])('a count of %i is %s', (count, text) => expect(compactCount(count)).toBe(text));
  it.each([
    [0.123456, '0.1235'],
    [0, '0.000'],
    [12345.6, '12,346'],
    [1e-5, '1.00e-5'],
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '−∞'],
  ])('a value of %d is %s', (value, text) => expect(formatSignal(value)).toBe(text));
  it.each([
    [0, '0'],
    [0.30000000000000004, '0.3'],
    [1500, '1.5k'],
    [2_000_000, '2M'],
    [1e-5, '1e-5'],
    [-250, '-250'],
  ])('a tick at %d is %s', (value, text) => expect(formatTick(value)).toBe(text));
});
