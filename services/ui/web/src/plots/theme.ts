/** What text and lines on a canvas take from the page's design tokens: a canvas knows no CSS variables. */
export interface CanvasTheme {
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly surface: string;
  readonly font: string;
}

export function canvasTheme(element: Element): CanvasTheme {
  const style = getComputedStyle(element);
  const token = (name: string, fallback: string) => style.getPropertyValue(name).trim() || fallback;
  return {
    ink: token('--ink', '#222222'),
    muted: token('--ink-3', '#666666'),
    line: token('--line', '#dddddd'),
    surface: token('--surface', '#ffffff'),
    font: token('--font', 'sans-serif'),
  };
}
