import { describe, expect, it } from 'vitest';
import { suggest } from './completion';

const known = { columns: ['train/loss', 'label', 'uid'], tags: ['hard', 'a "b"'] };
const spell = {
  column: (name: string) => (/^\w+$/.test(name) ? name : `\`${name}\``),
  text: (text: string) => JSON.stringify(text),
};
const at = (query: string, cursor = query.length) => suggest(query, cursor, known, spell);

describe('suggest', () => {
  it('offers columns whose name or a part of it begins so, spelled as a query needs them', () => {
    expect(at('lo').items[0]).toEqual({ label: 'train/loss', insert: '`train/loss` ', kind: 'column' });
    expect(at('not lab').items.map(({ label }) => label)).toEqual(['label']);
  });

  it('replaces only what was typed', () => {
    expect(at('uid == 3 and tr')).toMatchObject({ from: 13, to: 15 });
    expect(at('`train')).toMatchObject({ from: 0, to: 6 });
  });

  it('offers tags within tag(), quoted, and closes it once', () => {
    expect(at('tag("')).toMatchObject({ from: 4, to: 5 });
    expect(at('tag("b').items).toEqual([{ label: 'a "b"', insert: '"a \\"b\\"")', kind: 'tag' }]);
    expect(at('tag("ha")', 7)).toMatchObject({ from: 4, to: 9 });
  });

  it('offers nothing within other texts, after a blank, or for what is complete', () => {
    expect(at('split == "tr').items).toEqual([]);
    expect(at('uid ').items).toEqual([]);
    expect(at('uid').items.map(({ label }) => label)).not.toContain('uid');
  });
});
