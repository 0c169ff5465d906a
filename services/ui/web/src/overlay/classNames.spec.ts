import { expect, it } from 'vitest';
import { className } from './classNames';

const splits = [
  { split: 'bare', classNames: [] },
  { split: 'pets', classNames: ['cat', 'dog'] },
  { split: 'cars', classNames: ['van', ''] },
];

it.each([
  ['cars', 0, 'van'],
  ['pets', 1, 'dog'],
  ['bare', 1, 'dog'],
  ['cars', 1, 'class 1'],
  ['cars', 7, 'class 7'],
])('class %2$s of %1$s has its name', (split, id, name) => {
  expect(className(splits, split, id)).toBe(name);
});
