import { describe, expect, it } from 'vitest';
import {
  literal,
  positionIn,
  quoted,
  samplesFilter,
  sortedBy,
  terms,
  withoutTerm,
  withTerm,
} from './queries';

describe('sortedBy', () => {
  const loss = { column: 'loss', descending: true };
  const uid = { column: 'uid', descending: false };

  it('takes one column in the place of all, and turns it around', () => {
    expect(sortedBy([uid], 'loss', false)).toEqual([loss]);
    expect(sortedBy([loss, uid], 'loss', false)).toEqual([{ ...loss, descending: false }]);
  });

  it('adds a key after the others, and turns one around in its place', () => {
    expect(sortedBy([uid], 'loss', true)).toEqual([uid, loss]);
    expect(sortedBy([loss, uid], 'loss', true)).toEqual([{ ...loss, descending: false }, uid]);
  });
});

describe('queries', () => {
  it('spells names and texts so that they mean nothing else', () => {
    expect(['loss', 'train/loss', 'a`b', 'größe'].map(quoted)).toEqual([
      'loss',
      '`train/loss`',
      '`ab`',
      '`größe`',
    ]);
    expect(literal('say "hi" \\ and tag')).toBe('"say \\"hi\\" \\\\ and tag"');
  });

  it('finds the terms, not an "and" within texts, names or parentheses', () => {
    expect(terms('a > 1 and tag("x and y") and (b or c and d) and `p and q` == 2')).toEqual([
      'a > 1',
      'tag("x and y")',
      '(b or c and d)',
      '`p and q` == 2',
    ]);
    expect(terms('tag("\\" and ")')).toEqual(['tag("\\" and ")']);
    expect(terms('  ')).toEqual([]);
  });

  it('adds a term once, keeps what an "or" meant, and takes a term away', () => {
    expect(withTerm('', 'discarded')).toBe('discarded');
    expect(withTerm('a > 1', 'discarded')).toBe('a > 1 and discarded');
    expect(withTerm('discarded and a > 1', 'discarded')).toBe('discarded and a > 1');
    expect(withTerm('a > 1 or b > 2', 'discarded')).toBe('(a > 1 or b > 2) and discarded');
    expect(withoutTerm('a > 1 and discarded', 'discarded')).toBe('a > 1');
  });

  it('names samples by split and uid, as many as a query may hold', () => {
    const few = [
      { split: 'train', uid: '1' },
      { split: 'val', uid: '1' },
      { split: 'train', uid: 'a"' },
    ];
    expect(samplesFilter(few)).toEqual({
      filter: '(split == "train" and uid in ("1", "a\\"")) or (split == "val" and uid in ("1"))',
      count: 3,
    });
    const many = Array.from({ length: 5000 }, (_, i) => ({ split: 'train', uid: `sample-${i}` }));
    const { filter, count } = samplesFilter(many);
    expect(filter.length).toBeLessThanOrEqual(2000);
    expect(count).toBeGreaterThan(100);
  });

  it('reads the position of an error, within the query', () => {
    expect(positionIn('query, character 12: found x', 'a'.repeat(20))).toBe(12);
    expect(positionIn('query, character 12: the end', 'short')).toBe(5);
    expect(positionIn('the ledger is away', 'x')).toBeNull();
  });
});
