import { computed, signal } from '@preact/signals';
import { DEFAULT_SETTINGS, loadSettings, storeSettings } from '../plots/settings';
import { forgetAllBut, remembered } from './storage';

export type Theme = 'light' | 'dark';

/** Split colours that can be told apart in both themes, also by most people who are colour-blind. */
export const PALETTE = [
  '#4f7cff',
  '#f28e2b',
  '#2ca58d',
  '#c45ab3',
  '#d9a400',
  '#e0575b',
  '#6b8e23',
  '#7d7d8e',
];

/** Empty until the viewer has chosen: then the operating system decides. */
export const chosenTheme = remembered<Theme | ''>('theme', '');
const prefersDark = matchMedia('(prefers-color-scheme: dark)');
const systemTheme = signal<Theme>(prefersDark.matches ? 'dark' : 'light');
prefersDark.addEventListener('change', (event) => {
  systemTheme.value = event.matches ? 'dark' : 'light';
});
export const theme = computed<Theme>(() => chosenTheme.value || systemTheme.value);
theme.subscribe((now) => {
  document.documentElement.dataset.theme = now;
});

export function toggleTheme(): void {
  chosenTheme.value = theme.value === 'dark' ? 'light' : 'dark';
}

/** How often what is shown follows what is known. */
export const dataAuto = remembered('refresh.data.auto', true);
export const dataIntervalSecs = remembered('refresh.data.secs', 2);
export const plotAuto = remembered('refresh.plot.auto', true);
export const plotIntervalSecs = remembered('refresh.plot.secs', 0.1);

export const pauseBeforeEdit = remembered('edit.pause', true);

export const cellSizePx = remembered('grid.cell', 96);
export const resolutionPx = remembered('grid.resolution', 128);
/** Shown columns by experiment; an experiment that is absent shows a sensible choice. */
export const chosenFields = remembered<Record<string, string[]>>('grid.fields', {});
/** The column whose distribution is shown, by experiment. */
export const facetColumns = remembered<Record<string, string>>('facet.column', {});
export const chosenSplitColors = remembered<Record<string, string>>('colors.split', {});

export const panelWidthPx = remembered('layout.panel', 284);
/** Share of the height that the plots take; 0 until it was chosen: then a row of plots fits. */
export const plotShare = remembered('layout.plots', 0);
export const panelOpen = remembered('layout.panel-open', true);
export const closedCards = remembered<string[]>('layout.closed', []);

export function toggleCard(name: string): void {
  const closed = closedCards.value;
  closedCards.value = closed.includes(name) ? closed.filter((other) => other !== name) : [...closed, name];
}

/** Forgets every choice, theme and colours only when that is wished, and loads the page anew. */
export async function clearCacheAndReload(looksToo: boolean): Promise<void> {
  const { colors } = loadSettings();
  forgetAllBut(looksToo ? ['session.'] : ['theme', 'colors.', 'session.']);
  if (!looksToo) storeSettings({ ...DEFAULT_SETTINGS, colors });
  if ('caches' in globalThis) {
    for (const name of await caches.keys()) await caches.delete(name);
  }
  location.reload();
}
