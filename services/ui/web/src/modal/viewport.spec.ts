import { describe, expect, it } from 'vitest';
import { FITTED, MAX_ZOOM, panned, pixelAt, placementOf, zoomedAt } from './viewport';

const sizes = { image: { width: 200, height: 100 }, box: { width: 400, height: 400 } };
const place = (view: typeof FITTED) => placementOf(view, sizes.image, sizes.box);

describe('a fitted image', () => {
  it('fills its box in one direction and keeps its aspect ratio', () => {
    expect(place(FITTED)).toEqual({ left: 0, top: 100, width: 400, height: 200 });
  });
});

describe('zooming', () => {
  it('keeps what is under the cursor where it is', () => {
    const at = { x: 300, y: 220 };
    const zoomed = zoomedAt({ zoom: 4, centerX: 0.5, centerY: 0.5 }, { ...at, factor: 2 }, sizes);
    const fraction = (view: typeof FITTED) => (at.x - place(view).left) / place(view).width;
    expect(fraction(zoomed)).toBeCloseTo(fraction({ zoom: 4, centerX: 0.5, centerY: 0.5 }), 10);
    expect(zoomed.zoom).toBe(8);
  });
  it('stays between the whole image and its limit', () => {
    expect(zoomedAt(FITTED, { x: 10, y: 10, factor: 0.1 }, sizes)).toEqual(FITTED);
    expect(zoomedAt(FITTED, { x: 10, y: 10, factor: 1e6 }, sizes).zoom).toBe(MAX_ZOOM);
  });
  it('out ends where it began, whatever was looked at', () => {
    let view = FITTED;
    for (let i = 0; i < 20; i++) view = zoomedAt(view, { x: 390, y: 290, factor: 1.3 }, sizes);
    for (let i = 0; i < 20; i++) view = zoomedAt(view, { x: 5, y: 150, factor: 1 / 1.3 }, sizes);
    expect(view.centerX).toBeCloseTo(0.5);
    expect(view.centerY).toBeCloseTo(0.5);
  });
});

describe('panning', () => {
  it('moves the image with the pointer', () => {
    const view = { zoom: 8, centerX: 0.5, centerY: 0.5 };
    const moved = panned(view, { x: 30, y: -20 }, sizes);
    expect(place(moved).left - place(view).left).toBeCloseTo(30);
    expect(place(moved).top - place(view).top).toBeCloseTo(-20);
  });
  it('stops at the edges', () => {
    const moved = place(panned({ zoom: 8, centerX: 0.5, centerY: 0.5 }, { x: 1e5, y: 1e5 }, sizes));
    expect(moved.left).toBeCloseTo(0);
    expect(moved.top).toBeCloseTo(0);
  });
  it('does nothing to an image that is wholly seen', () => {
    expect(panned(FITTED, { x: 50, y: 50 }, sizes)).toEqual(FITTED);
  });
});

describe('the pixel under the cursor', () => {
  it('is that of the image', () => {
    expect(pixelAt(place(FITTED), sizes.image, 0, 100)).toEqual({ x: 0, y: 0 });
    expect(pixelAt(place(FITTED), sizes.image, 399, 299)).toEqual({ x: 199, y: 99 });
  });
  it('is none beside it', () => {
    expect(pixelAt(place(FITTED), sizes.image, 200, 99)).toBeNull();
  });
});
