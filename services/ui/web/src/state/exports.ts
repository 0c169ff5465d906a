import { float64s, int64s } from '../api/columns';
import type { CurveKey, ExportFormat } from '../plots/types';
import { fromWire, toWire } from './curves';
import { type Chunk, csvOf, jsonOf } from './exportText';
import { api } from './session';

/** Every raw point of the curves, whatever is on the screen. */
export async function exportCurves(
  experiment: string,
  keys: readonly CurveKey[],
  format: ExportFormat,
): Promise<Blob> {
  const chunks: Chunk[] = [];
  // An export may take longer than a call usually may.
  const stream = api().signals.exportPoints({ experiment, keys: keys.map(toWire) }, { timeoutMs: 600_000 });
  for await (const part of stream) {
    const key = fromWire(part.key);
    chunks.push({ key, steps: int64s(part.steps, 'steps'), values: float64s(part.values, key.signal) });
  }
  return format === 'csv'
    ? new Blob(csvOf(chunks), { type: 'text/csv' })
    : new Blob(jsonOf(chunks), { type: 'application/json' });
}
