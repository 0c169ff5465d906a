import type { CurveKey } from './types';

/** One text per curve, for maps and for the store of settings. */
export function curveId(key: CurveKey): string {
  return `${key.branch}\u0000${key.signal}\u0000${key.mode}`;
}

/** The part before the first slash; signals without one stand together under an empty group. */
export function groupOf(signal: string): string {
  const at = signal.indexOf('/');
  return at > 0 ? signal.slice(0, at) : '';
}

/** The part that is not the group. */
export function titleOf(signal: string): string {
  const group = groupOf(signal);
  return group ? signal.slice(group.length + 1) : signal;
}

/** Whether a signal holds every word of a search, in any order and case. */
export function matches(signal: string, search: string): boolean {
  const text = signal.toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

const byName = new Intl.Collator('en', { numeric: true });

/** Signals by group, both in natural order; pinned ones come first, those without a group last. */
export function grouped(
  signals: Iterable<string>,
  pinned: ReadonlySet<string>,
): { readonly group: string; readonly pinned: boolean; readonly signals: string[] }[] {
  const groups = new Map<string, string[]>();
  const first: string[] = [];
  for (const signal of [...signals].sort(byName.compare)) {
    if (pinned.has(signal)) {
      first.push(signal);
      continue;
    }
    const group = groupOf(signal);
    const members = groups.get(group);
    if (members) members.push(signal);
    else groups.set(group, [signal]);
  }
  const rest = [...groups].sort(([a], [b]) => Number(a === '') - Number(b === '') || byName.compare(a, b));
  const result = rest.map(([group, members]) => ({ group, pinned: false, signals: members }));
  return first.length > 0 ? [{ group: 'Pinned', pinned: true, signals: first }, ...result] : result;
}
