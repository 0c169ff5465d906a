import { describe, expect, it } from 'vitest';
import { curveId, grouped, groupOf, matches, titleOf } from './keys';

describe('a signal', () => {
  it('belongs to the group before its first slash', () => {
    expect(groupOf('train/loss/ce')).toBe('train');
    expect(titleOf('train/loss/ce')).toBe('loss/ce');
    expect(groupOf('loss')).toBe('');
    expect(titleOf('loss')).toBe('loss');
  });
  it('is found by all words in any order', () => {
    expect(matches('train/loss', 'LOSS tr')).toBe(true);
    expect(matches('train/loss', 'val loss')).toBe(false);
    expect(matches('train/loss', '')).toBe(true);
  });
});

describe('grouping', () => {
  it('orders numbers as numbers and puts pinned signals first, those without a group last', () => {
    const groups = grouped(['val/loss', 'train/layer10', 'train/layer2', 'lr'], new Set(['val/loss']));
    expect(groups).toEqual([
      { group: 'Pinned', pinned: true, signals: ['val/loss'] },
      { group: 'train', pinned: false, signals: ['train/layer2', 'train/layer10'] },
      { group: '', pinned: false, signals: ['lr'] },
    ]);
  });
});

describe('the id of a curve', () => {
  it('differs when any part differs', () => {
    const key = { branch: 'a', signal: 'b', mode: 'train' } as const;
    const others = [
      { ...key, branch: 'x' },
      { ...key, signal: 'x' },
      { ...key, mode: 'audit' as const },
    ];
    expect(new Set([key, ...others].map(curveId)).size).toBe(4);
  });
});
