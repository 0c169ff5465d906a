import { expect, it } from 'vitest';
import { namePlace } from './drawBoxes';

const frame = { left: 10, top: 20, width: 100, height: 100 };
const name = { width: 40, height: 13 };
const box = (left: number, top: number) => ({
  left,
  top,
  width: 0.2,
  height: 0.2,
  text: '',
  color: '#000000',
});

it.each([
  ['above its box', box(0.1, 0.5), { left: 19, top: 57 }],
  ['in its box where there is no room above', box(0.1, 0.05), { left: 19, top: 25 }],
  ['within the image at its right edge', box(0.8, 0.5), { left: 70, top: 57 }],
  ['within the image at its left edge', box(0, 0.5), { left: 10, top: 57 }],
])('a name lies %s', (_, mark, place) => {
  expect(namePlace(mark, frame, name)).toEqual(place);
});
