import { describe, expect, it } from 'vitest';
import { classesOf, type Mask, paint } from './paint';

const mask = (width: number, ...ids: number[]): Mask => ({
  width,
  height: ids.length / width,
  ids: Uint8Array.from(ids),
});
const look = { opacity: 0.5, contour: false, color: (id: number) => id << 16, hidden: new Set([0]) };
const alphas = (pixels: Uint8ClampedArray) => Array.from(pixels).filter((_, i) => i % 4 === 3);

describe('paint', () => {
  it('keeps class ids apart, 0 and 255 included, and leaves hidden ones out', () => {
    const pixels = paint(mask(3, 0, 7, 255), look);
    expect(Array.from(pixels)).toEqual([0, 0, 0, 0, 7, 0, 0, 128, 255, 0, 0, 128]);
  });

  it('draws the inside faintly when contours are wished', () => {
    const inside = paint(mask(5, ...new Array(25).fill(1)), { ...look, contour: true });
    expect(alphas(inside)[12]).toBe(32);
    expect(alphas(inside)[0]).toBe(128);
  });
});

it('lists the classes of a mask', () => {
  expect(classesOf(mask(2, 255, 0, 3, 0))).toEqual([0, 3, 255]);
});
