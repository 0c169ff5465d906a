import { describe, expect, it } from 'vitest';
import { foundFields, nameBelow, sampleJson, shortText } from './fields';
import type { SampleField } from './types';

const fields: SampleField[] = [
  { name: 'train/loss', group: 'signal', value: 0.1 + 0.2 },
  { name: 'camera', group: 'metadata', value: 'Left Front' },
  { name: 'train/margin', group: 'signal', value: Number.NaN },
];

describe('searching the fields of a sample', () => {
  it('finds by name, by value and by group', () => {
    expect(foundFields(fields, 'LOSS')[0]?.fields).toEqual([fields[0]]);
    expect(foundFields(fields, 'front left')[0]?.fields).toEqual([fields[1]]);
    expect(foundFields(fields, 'signal')[0]?.fields).toHaveLength(2);
  });
  it('keeps groups together', () => {
    expect(foundFields(fields, '').map(({ group }) => group)).toEqual(['signal', 'metadata']);
    expect(foundFields(fields, 'nothing of this')).toEqual([]);
  });
});

describe('a value', () => {
  it.each([
    [0.1 + 0.2, '0.3'],
    [7, '7'],
    [0.001234567, '0.0012346'],
    [0.00001524791, '1.525e-5'],
    [Number.NaN, '–'],
    ['', '–'],
    [Number.NEGATIVE_INFINITY, '−∞'],
  ])('%s is shown as %s', (value, text) => expect(shortText(value)).toBe(text));
});

describe('the copy of a sample', () => {
  it('is valid JSON with the full values', () => {
    const sample = {
      split: 'val',
      uid: '"7"',
      row: 1,
      discarded: true,
      tags: ['a,b'],
      fields,
      sliceCount: 0,
    };
    expect(JSON.parse(sampleJson(sample))).toEqual({
      split: 'val',
      uid: '"7"',
      discarded: true,
      tags: ['a,b'],
      fields: { 'train/loss': 0.1 + 0.2, camera: 'Left Front', 'train/margin': 'NaN' },
    });
  });
});

describe('a statistic of a signal', () => {
  it('is called by its own name below the signal', () => {
    expect(nameBelow('train/loss.mean', ['camera', 'train/loss'])).toEqual({ text: 'mean', below: true });
    expect(nameBelow('train/loss', ['train/loss'])).toEqual({ text: 'train/loss', below: false });
    expect(nameBelow('train/losses.mean', ['train/loss'])).toEqual({
      text: 'train/losses.mean',
      below: false,
    });
  });
});
