import type { SortKey } from './address';

/** The longest query that is sent; the ledger takes 2,000 characters. */
const MAX_CHARACTERS = 1_900;

/** A text as a query spells it. */
export function literal(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&')}"`;
}

/** A column's name as a query spells it. */
export function quoted(column: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(column) ? column : `\`${column.replaceAll('`', '')}\``;
}

/** The position that an error names in a sentence such as `query, character 12: …`, or null. */
export function positionIn(text: string, query: string): number | null {
  const found = /\bcharacter (\d+)/.exec(text);
  if (!found) return null;
  return Math.min(Number(found[1]), query.length);
}

/** The terms of a query that are joined by `and`, outside of texts and parentheses. */
export function terms(query: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = '';
  let from = 0;
  for (let i = 0; i < query.length; i++) {
    const character = query[i] as string;
    if (quote) {
      if (character === '\\' && quote !== '`') i++;
      else if (character === quote) quote = '';
    } else if ('"\'`'.includes(character)) quote = character;
    else if (character === '(') depth++;
    else if (character === ')') depth--;
    else if (depth === 0 && /^\sand\s/i.test(query.slice(i, i + 5))) {
      parts.push(query.slice(from, i).trim());
      from = i + 5;
      i += 4;
    }
  }
  return [...parts, query.slice(from).trim()].filter(Boolean);
}

/** `query` with another condition. */
export function withTerm(query: string, term: string): string {
  const parts = terms(query);
  if (parts.includes(term)) return query;
  const guarded = parts.length === 1 && /\sor\s/i.test(query) ? [`(${query.trim()})`] : parts;
  return [...guarded, term].join(' and ');
}

export function withoutTerm(query: string, term: string): string {
  return terms(query)
    .filter((other) => other !== term)
    .join(' and ');
}

/** A query that names samples, as many of the first as fit; and how many those are. */
export function samplesFilter(samples: readonly { readonly split: string; readonly uid: string }[]) {
  const bySplit = new Map<string, string[]>();
  let length = 0;
  let count = 0;
  for (const { split, uid } of samples) {
    const spelled = literal(uid);
    const added = spelled.length + 2 + (bySplit.has(split) ? 0 : literal(split).length + 32);
    if (length + added > MAX_CHARACTERS) break;
    bySplit.set(split, [...(bySplit.get(split) ?? []), spelled]);
    length += added;
    count++;
  }
  const parts = [...bySplit].map(
    ([split, uids]) => `split == ${literal(split)} and uid in (${uids.join(', ')})`,
  );
  return {
    filter: parts.length > 1 ? parts.map((part) => `(${part})`).join(' or ') : (parts[0] ?? ''),
    count,
  };
}

/** Sorted by a column, the other way around when it was so already; `added` keeps the other keys. */
export function sortedBy(keys: readonly SortKey[], column: string, added: boolean): SortKey[] {
  const known = keys.find((key) => key.column === column);
  const wished = { column, descending: !known?.descending };
  if (!added) return [wished];
  return known ? keys.map((key) => (key === known ? wished : key)) : [...keys, wished];
}
