import { describe, expect, it } from 'vitest';
import { branchColor, contrast, isColor, palette } from './colors';

describe('the colours of curves', () => {
  it.each([
    ['light', '#ffffff'],
    ['dark', '#171a21'],
  ] as const)('stand out from the %s surface', (theme, surface) => {
    for (const color of palette(theme)) expect(contrast(color, surface)).toBeGreaterThan(4);
  });
  it('start again when there are more branches than colours', () => {
    expect(branchColor(palette('dark').length, 'dark')).toBe(branchColor(0, 'dark'));
    expect(isColor(branchColor(-1, 'light'))).toBe(true);
  });
  it('have the contrast that WCAG computes', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
    expect(contrast('#777777', '#ffffff')).toBeCloseTo(4.48, 2);
  });
  it('are told from other text', () => {
    expect(isColor('#12ab9F')).toBe(true);
    expect(isColor('red; background: url(x)')).toBe(false);
  });
});
