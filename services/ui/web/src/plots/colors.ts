/**
 * Colours of curves, told apart by people with any colour vision in this order (after Okabe and Ito),
 * darkened or lightened until they stand out from the surface of their theme.
 */
const LIGHT = [
  '#2f5fd0',
  '#c2570c',
  '#0f7f63',
  '#a8327e',
  '#7a5cc4',
  '#8a6d00',
  '#117aa8',
  '#b3333d',
] as const;
const DARK = [
  '#7aa2ff',
  '#ff9d5c',
  '#4fd1a8',
  '#f58bc9',
  '#b79cff',
  '#e6c34a',
  '#5cc5f0',
  '#ff8f8f',
] as const;

export type Theme = 'dark' | 'light';

export function palette(theme: Theme): readonly string[] {
  return theme === 'dark' ? DARK : LIGHT;
}

/** The colour of the branch that stands at `index` in the order of branches. */
export function branchColor(index: number, theme: Theme): string {
  const colors = palette(theme);
  return colors[((index % colors.length) + colors.length) % colors.length] as string;
}

/** Relative luminance as WCAG 2 defines it, of `#rrggbb`. */
function luminance(color: string): number {
  const channel = (at: number) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

/** Contrast ratio of two colours `#rrggbb`, 1 to 21. */
export function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

export function isColor(text: unknown): text is string {
  return typeof text === 'string' && /^#[0-9a-f]{6}$/i.test(text);
}
