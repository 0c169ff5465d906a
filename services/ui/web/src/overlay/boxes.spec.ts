import { describe, expect, it } from 'vitest';
import { marksOf } from './boxes';

const look = {
  name: (label: number) => `class ${label}`,
  color: (id: number) => `#0000${id}`,
  hidden: new Set<number>(),
};
const boxes = {
  width: 40,
  height: 20,
  corners: [0, 0, 20, 10, 10, 5, 40, 20],
  labels: [0, 2],
  scores: [null, 0.876],
};

describe('marksOf', () => {
  it('places boxes as fractions and writes the confidence where there is one', () => {
    const [first, second] = marksOf(boxes, look);
    expect(first).toEqual({ left: 0, top: 0, width: 0.5, height: 0.5, text: 'class 0', color: '#0000255' });
    expect(second).toEqual({
      left: 0.25,
      top: 0.25,
      width: 0.75,
      height: 0.75,
      text: 'class 2 0.88',
      color: '#00002',
    });
  });

  it('leaves hidden classes out, class 0 by the id that its outline has', () => {
    const shown = (hidden: number) =>
      marksOf(boxes, { ...look, hidden: new Set([hidden]) }).map(({ text }) => text);
    expect(shown(255)).toEqual(['class 2 0.88']);
    expect(shown(2)).toEqual(['class 0']);
    expect(shown(0)).toHaveLength(2);
  });
});
