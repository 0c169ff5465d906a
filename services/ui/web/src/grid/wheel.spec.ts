import { describe, expect, it } from 'vitest';
import { WheelPager } from './wheel';

describe('the wheel', () => {
  it('turns one page per notch', () => {
    const pager = new WheelPager();
    expect(pager.move(100, 0)).toBe(1);
    expect(pager.move(100, 200)).toBe(1);
    expect(pager.move(-100, 400)).toBe(-1);
  });
  it('gathers the small movements of a touchpad', () => {
    const pager = new WheelPager();
    const turned = Array.from({ length: 20 }, (_, i) => pager.move(10, i * 16));
    expect(turned.reduce((sum, pages) => sum + pages, 0)).toBe(2);
  });
  it('does not run away with one gesture', () => {
    const pager = new WheelPager();
    expect(pager.move(500, 0)).toBe(1);
    expect(pager.move(500, 30)).toBe(0);
  });
  it('forgets half a movement after a while and after a turn of direction', () => {
    const pager = new WheelPager();
    expect(pager.move(60, 0)).toBe(0);
    expect(pager.move(60, 1000)).toBe(0);
    expect(pager.move(-60, 1010)).toBe(0);
    expect(pager.move(-60, 1020)).toBe(-1);
  });
});
