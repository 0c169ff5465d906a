// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { bound } from './DistributionCard';

describe('bound', () => {
  it('is short and never within the bin', () => {
    for (const value of [0.01086234301328659, -0.0543117, 123456.789, -7e-9, 3, 0]) {
      expect(bound(value, false)).toBeLessThanOrEqual(value);
      expect(bound(value, true)).toBeGreaterThanOrEqual(value);
    }
    expect(bound(0.01086234301328659, false)).toBe(0.01086);
    expect(bound(0.01086234301328659, true)).toBe(0.01087);
    expect(bound(-1234567, false)).toBe(-1235000);
  });
});
