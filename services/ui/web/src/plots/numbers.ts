const grouped = new Intl.NumberFormat('en');

/** A count in few characters: `2,000`, `12.3 k`, `1.2 M`. */
export function compactCount(count: number): string {
  if (count < 10_000) return grouped.format(count);
  if (count < 1_000_000) return `${trimmed(count / 1_000)} k`;
  if (count < 1_000_000_000) return `${trimmed(count / 1_000_000)} M`;
  return `${trimmed(count / 1_000_000_000)} G`;
}

function trimmed(value: number): string {
  const rounded = value < 100 ? Math.floor(value * 10) / 10 : Math.floor(value);
  return String(rounded);
}

export function formatStep(step: number): string {
  return grouped.format(Math.round(step));
}

/** A value of a signal in four significant digits. */
export function formatSignal(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-3 || magnitude >= 1e6)) return value.toExponential(2);
  return magnitude >= 1000 ? grouped.format(Math.round(value)) : value.toPrecision(4);
}

/** An axis label: short, and exact for round numbers. */
export function formatTick(value: number): string {
  const magnitude = Math.abs(value);
  if (value === 0) return '0';
  if (magnitude >= 1e12 || magnitude < 1e-4) return value.toExponential().replace('e+', 'e');
  for (const [unit, letter] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (magnitude >= unit) return `${Number((value / unit).toPrecision(6))}${letter}`;
  }
  return String(Number(value.toPrecision(6)));
}
