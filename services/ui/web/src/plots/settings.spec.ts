import { describe, expect, it } from 'vitest';
import { DEFAULT_LOOK, DEFAULT_SETTINGS, flipped, lookOf, parseSettings } from './settings';

describe('stored settings', () => {
  it('come back as they were', () => {
    const settings = {
      look: { smoothing: 0.9, band: 'std', markers: false, logX: true, logY: true },
      looks: { 'train/loss': { ...DEFAULT_LOOK, logY: true } },
      colors: { a: '#ff0000' },
      pinned: ['train/loss'],
      collapsed: ['val'],
    } as const;
    expect(parseSettings(JSON.stringify(settings))).toEqual(settings);
  });
  it.each([null, '', 'not json', '[]', '7', '{"look":null,"pinned":{},"colors":[1]}'])(
    'that are not understood (%s) are the defaults',
    (text) => expect(parseSettings(text)).toEqual(DEFAULT_SETTINGS),
  );
  it('take over nothing that is not valid', () => {
    const text = '{"look":{"smoothing":7,"band":"x"},"colors":{"a":"url(x)","b":"#00ff00"},"pinned":[1,"k"]}';
    const settings = parseSettings(text);
    expect(settings.look.smoothing).toBe(DEFAULT_LOOK.smoothing);
    expect(settings.colors).toEqual({ b: '#00ff00' });
    expect(settings.pinned).toEqual(['k']);
  });
});

describe('the look of a plot', () => {
  it('is its own or the common one', () => {
    const own = { ...DEFAULT_LOOK, logY: true };
    const settings = { ...DEFAULT_SETTINGS, looks: { a: own } };
    expect(lookOf(settings, 'a')).toBe(own);
    expect(lookOf(settings, 'b')).toBe(DEFAULT_LOOK);
  });
});

describe('flipping', () => {
  it('puts in and takes out', () => {
    expect(flipped(['a'], 'b')).toEqual(['a', 'b']);
    expect(flipped(['a', 'b'], 'a')).toEqual(['b']);
  });
});
