import { describe, expect, it } from 'vitest';
import {
  added,
  EVERYTHING,
  isSelected,
  keyOf,
  NOTHING,
  only,
  SeenOrder,
  sampleOf,
  selectedCount,
  toggled,
} from './selection';
import type { Cell } from './types';

const cell = (uid: string, split = 'train'): Cell => ({
  row: 0,
  uid,
  split,
  discarded: false,
  tags: [],
  values: {},
});
const page = [cell('a'), cell('b'), cell('c')];

describe('keys', () => {
  it('tells the same uid of two splits apart', () => {
    expect(keyOf(cell('7', 'train'))).not.toBe(keyOf(cell('7', 'val')));
  });
  it('gives back the sample it names', () => {
    expect(sampleOf(keyOf(cell('a,b\u0001', 'odd split')))).toEqual({ split: 'odd split', uid: 'a,b\u0001' });
  });
});

describe('a selection', () => {
  it('toggles each key by itself', () => {
    const once = toggled(only([keyOf(page[0]!)]), [keyOf(page[0]!), keyOf(page[1]!)], page);
    expect([...once.keys]).toEqual([keyOf(page[1]!)]);
  });
  it('adds without losing keys of other pages', () => {
    expect(added(only(['elsewhere']), [keyOf(page[0]!)]).keys.size).toBe(2);
  });
  it('is not changed in place', () => {
    const before = only(['x']);
    toggled(before, ['x'], page);
    added(before, ['y']);
    expect([...before.keys]).toEqual(['x']);
  });
  it('of everything holds every key and counts the matched samples', () => {
    expect(isSelected(EVERYTHING, 'whatever')).toBe(true);
    expect(selectedCount(EVERYTHING, 1_000_000)).toBe(1_000_000);
    expect(selectedCount(NOTHING, 1_000_000)).toBe(0);
  });
  it('of everything becomes the rest of the page when one sample is taken out', () => {
    const rest = toggled(EVERYTHING, [keyOf(page[1]!)], page);
    expect(rest.everything).toBe(false);
    expect([...rest.keys]).toEqual([keyOf(page[0]!), keyOf(page[2]!)]);
  });
});

describe('the order that was seen', () => {
  it('reaches over pages in either direction', () => {
    const order = new SeenOrder();
    order.note('v', 0, page);
    order.note('v', 3, [cell('d'), cell('e')]);
    expect(order.between(4, 1).map((key) => sampleOf(key).uid)).toEqual(['b', 'c', 'd', 'e']);
  });
  it('leaves out positions that were never seen', () => {
    const order = new SeenOrder();
    order.note('v', 0, page);
    order.note('v', 10, [cell('k')]);
    expect(order.between(2, 10).map((key) => sampleOf(key).uid)).toEqual(['c', 'k']);
  });
  it('forgets another view', () => {
    const order = new SeenOrder();
    order.note('v', 0, page);
    order.note('w', 2, [cell('z')]);
    expect(order.between(0, 9).map((key) => sampleOf(key).uid)).toEqual(['z']);
  });
  it('is bounded', () => {
    const order = new SeenOrder(4);
    order.note('v', 0, page);
    order.note('v', 3, page);
    expect(order.between(0, 9)).toHaveLength(4);
  });
});
