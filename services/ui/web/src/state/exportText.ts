import type { CurveKey } from '../plots/types';

/** Some points of a curve, in order. */
export interface Chunk {
  readonly key: CurveKey;
  readonly steps: Float64Array;
  readonly values: Float64Array;
}

function csvText(text: string): string {
  // A text that begins like a formula is one for a spreadsheet program.
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? 'Infinity' : '-Infinity';
}

export function csvOf(chunks: readonly Chunk[]): string[] {
  const parts = ['signal,branch,mode,step,value\n'];
  for (const { key, steps, values } of chunks) {
    const start = `${csvText(key.signal)},${csvText(key.branch)},${key.mode},`;
    let part = '';
    for (let i = 0; i < steps.length; i++) part += `${start}${steps[i]},${number(values[i] as number)}\n`;
    parts.push(part);
  }
  return parts;
}

/** Numbers that JSON cannot say are written as the strings "NaN", "Infinity" and "-Infinity". */
export function jsonOf(chunks: readonly Chunk[]): string[] {
  const byCurve = new Map<string, Chunk[]>();
  for (const chunk of chunks) {
    const name = JSON.stringify([chunk.key.signal, chunk.key.branch, chunk.key.mode]);
    byCurve.set(name, [...(byCurve.get(name) ?? []), chunk]);
  }
  const curves = [...byCurve.values()].map((parts) => {
    const { signal, branch, mode } = (parts[0] as Chunk).key;
    const steps = parts.flatMap((part) => Array.from(part.steps));
    const values = parts.flatMap((part) =>
      Array.from(part.values, (value) => (Number.isFinite(value) ? value : number(value))),
    );
    return JSON.stringify({ signal, branch, mode, steps, values });
  });
  return ['{"curves":[\n', curves.join(',\n'), '\n]}\n'];
}
