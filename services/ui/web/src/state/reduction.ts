/**
 * Indices of at most `budget` values that keep the first, the last, and the smallest and largest of each bucket.
 * A bucket without a finite value keeps its first, so that a gap stays a gap.
 */
export function extremes(values: Float64Array, budget: number): Float64Array {
  const count = values.length;
  if (count <= budget) return Float64Array.from({ length: count }, (_, i) => i);
  const buckets = Math.max(1, Math.floor((budget - 2) / 2));
  const kept: number[] = [0];
  const keep = (index: number) => {
    if (index > (kept[kept.length - 1] ?? 0)) kept.push(index);
  };
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = 1 + Math.floor((bucket * (count - 2)) / buckets);
    const to = 1 + Math.floor(((bucket + 1) * (count - 2)) / buckets);
    let low = -1;
    let high = -1;
    for (let i = from; i < to; i++) {
      const value = values[i] as number;
      if (!Number.isFinite(value)) continue;
      if (low < 0 || value < (values[low] as number)) low = i;
      if (high < 0 || value > (values[high] as number)) high = i;
    }
    if (low < 0) {
      keep(from);
    } else {
      keep(Math.min(low, high));
      keep(Math.max(low, high));
    }
  }
  keep(count - 1);
  return Float64Array.from(kept);
}
