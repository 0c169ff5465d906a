import type { SampleDetail, SampleField } from './types';

/** A value as it is, for reading and for copying. */
export function fullText(value: number | string): string {
  return typeof value === 'string' ? value : String(value);
}

/** A value in a table: five significant digits, an en dash when there is none. */
export function shortText(value: number | string): string {
  if (typeof value === 'string') return value === '' ? '–' : value;
  if (Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

/** Fields whose name or value holds every word of a search, by group in the order of their first field. */
export function foundFields(
  fields: readonly SampleField[],
  search: string,
): { readonly group: string; readonly fields: SampleField[] }[] {
  const words = search.toLowerCase().split(/\s+/);
  const groups = new Map<string, SampleField[]>();
  for (const field of fields) {
    const text = `${field.group} ${field.name} ${fullText(field.value)}`.toLowerCase();
    if (!words.every((word) => text.includes(word))) continue;
    const members = groups.get(field.group);
    if (members) members.push(field);
    else groups.set(field.group, [field]);
  }
  return [...groups].map(([group, members]) => ({ group, fields: members }));
}

/** Everything of a sample as JSON, for the clipboard. Numbers that JSON does not know are texts. */
export function sampleJson(sample: SampleDetail): string {
  const number = (value: number | string) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  const fields = Object.fromEntries(sample.fields.map(({ name, value }) => [name, number(value)]));
  const { split, uid, discarded, tags } = sample;
  return JSON.stringify({ split, uid, discarded, tags, fields }, null, 2);
}

/** How a field is called below another: `train/loss.mean` below `train/loss` is its `mean`. */
export function nameBelow(
  name: string,
  above: readonly string[],
): { readonly text: string; readonly below: boolean } {
  const owner = above.find((other) => name.startsWith(`${other}.`));
  return owner === undefined
    ? { text: name, below: false }
    : { text: name.slice(owner.length + 1), below: true };
}
