/** What can be put into a query at the cursor. */
export interface Completion {
  readonly label: string;
  readonly insert: string;
  readonly kind: 'column' | 'tag' | 'function' | 'word';
}

export interface Suggestions {
  /** The part of the query that is replaced. */
  readonly from: number;
  readonly to: number;
  readonly items: readonly Completion[];
}

const WORDS: readonly Completion[] = [
  { label: 'and', insert: 'and ', kind: 'word' },
  { label: 'or', insert: 'or ', kind: 'word' },
  { label: 'not', insert: 'not ', kind: 'word' },
  { label: 'in (…)', insert: 'in (', kind: 'word' },
  { label: 'discarded', insert: 'discarded', kind: 'word' },
  { label: 'tag("…")', insert: 'tag("', kind: 'function' },
  { label: 'isnan(…)', insert: 'isnan(', kind: 'function' },
];
const MAX_ITEMS = 8;

function rank(label: string, typed: string): number {
  const at = label.toLowerCase().indexOf(typed);
  if (at < 0) return -1;
  return at === 0 ? 0 : /[^a-z0-9]/i.test(label[at - 1] ?? '') ? 1 : 2;
}

/** What fits to what was typed before `cursor`; nothing within a text that is no tag. */
export function suggest(
  query: string,
  cursor: number,
  known: { readonly columns: readonly string[]; readonly tags: readonly string[] },
  spell: { readonly column: (name: string) => string; readonly text: (text: string) => string },
): Suggestions {
  const before = query.slice(0, cursor);
  const none = { from: cursor, to: cursor, items: [] };
  const inTag = /\btag\(\s*"((?:\\.|[^"\\])*)$/.exec(before);
  if (inTag) {
    const typed = (inTag[1] ?? '').toLowerCase();
    const from = cursor - (inTag[1] ?? '').length - 1;
    const closing = /^"?\s*\)?/.exec(query.slice(cursor))?.[0].length ?? 0;
    const items = known.tags
      .filter((tag) => tag.toLowerCase().includes(typed))
      .slice(0, MAX_ITEMS)
      .map((tag): Completion => ({ label: tag, insert: `${spell.text(tag)})`, kind: 'tag' }));
    return { from, to: cursor + closing, items };
  }
  if (((before.match(/(?<!\\)"/g) ?? []).length & 1) === 1) return none;
  const typed = /`[^`]*$|[\p{L}_][\p{L}\p{N}_.]*$/u.exec(before)?.[0] ?? '';
  if (typed === '') return none;
  const name = typed.replace(/^`/, '').toLowerCase();
  const columns = known.columns.map(
    (column): Completion => ({ label: column, insert: `${spell.column(column)} `, kind: 'column' }),
  );
  const words = typed.startsWith('`') ? [] : WORDS;
  const items = [...columns, ...words]
    .map((item) => ({ item, order: rank(item.label, name) }))
    .filter(({ item, order }) => order >= 0 && item.insert.trim() !== typed)
    .sort((a, b) => a.order - b.order || a.item.label.length - b.item.label.length)
    .slice(0, MAX_ITEMS)
    .map(({ item }) => item);
  return { from: cursor - typed.length, to: cursor, items };
}
