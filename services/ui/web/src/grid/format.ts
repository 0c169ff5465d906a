import type { Cell } from './types';

/** A value short enough for a cell: at most four significant digits, an en dash when there is none. */
export function formatValue(value: number | string | undefined): string {
  if (value === undefined || value === '') return '–';
  if (typeof value === 'string') return value;
  if (Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude >= 1e7 || magnitude < 1e-4) return value.toExponential(2);
  if (magnitude >= 1) return value.toPrecision(4);
  return magnitude >= 0.01 ? value.toFixed(4) : value.toPrecision(2);
}

/** What a cell says to a screen reader and in its tooltip. */
export function describe(cell: Cell, fields: readonly string[]): string {
  const parts = [`${cell.split} ${cell.uid}`];
  if (cell.discarded) parts.push('discarded');
  if (cell.tags.length > 0) parts.push(`tags: ${cell.tags.join(', ')}`);
  for (const field of fields) parts.push(`${field}: ${formatValue(cell.values[field])}`);
  return parts.join('\n');
}

/**
 * A stable colour for a tag. Lightness and chroma come from the theme, so that text on it stays readable;
 * only the hue is of the text.
 */
export function tagHue(tag: string): number {
  let hash = 2166136261;
  for (let i = 0; i < tag.length; i++) hash = Math.imul(hash ^ tag.charCodeAt(i), 16777619);
  return (hash >>> 0) % 360;
}

/** What fields are called where there is little room: the part after the last slash, unless two would be the same. */
export function fieldLabels(fields: readonly string[]): string[] {
  const leaves = fields.map((field) => field.slice(field.lastIndexOf('/') + 1) || field);
  return leaves.map((leaf, i) =>
    leaves.indexOf(leaf) === leaves.lastIndexOf(leaf) ? leaf : (fields[i] ?? leaf),
  );
}
