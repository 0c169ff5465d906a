import { describe, expect, it } from 'vitest';
import { describe as describeCell, fieldLabels, formatValue, tagHue } from './format';

describe('a value on a cell', () => {
  it.each([
    [0, '0'],
    [12, '12'],
    [0.25, '0.2500'],
    [3.14159, '3.142'],
    [0.00001234, '1.23e-5'],
    [0.000316, '0.00032'],
    [0.003, '0.0030'],
    [123456789.5, '1.23e+8'],
    [NaN, '–'],
    [undefined, '–'],
    ['', '–'],
    [-Infinity, '−∞'],
    ['<b>cat</b>', '<b>cat</b>'],
  ])('%s is written %s', (value, text) => {
    expect(formatValue(value)).toBe(text);
  });
});

describe('the description of a cell', () => {
  const cell = { row: 1, uid: '7', split: 'val', discarded: true, tags: ['a,b'], values: { loss: 0.5 } };
  it('names the sample, its state, its tags and the chosen fields', () => {
    expect(describeCell(cell, ['loss'])).toBe('val 7\ndiscarded\ntags: a,b\nloss: 0.5000');
  });
});

describe('the hue of a tag', () => {
  it('is stable and differs between tags', () => {
    expect(tagHue('hard')).toBe(tagHue('hard'));
    expect(tagHue('hard')).not.toBe(tagHue('easy'));
  });
});

describe('the label of a field', () => {
  it('is its last part, unless that names two fields', () => {
    expect(fieldLabels(['train/loss', 'target', 'a/margin', 'b/margin'])).toEqual([
      'loss',
      'target',
      'a/margin',
      'b/margin',
    ]);
  });
});
