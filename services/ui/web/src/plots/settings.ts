import { isColor } from './colors';

export type Band = 'none' | 'std' | 'minmax';

/** How one plot is drawn. */
export interface PlotLook {
  /** 0 (raw) to 0.999. */
  readonly smoothing: number;
  readonly band: Band;
  readonly markers: boolean;
  readonly logX: boolean;
  readonly logY: boolean;
}

/** What a viewer has chosen for the plots; kept in the browser. */
export interface PlotSettings {
  /** For every plot that has no look of its own. */
  readonly look: PlotLook;
  /** By signal. */
  readonly looks: Readonly<Record<string, PlotLook>>;
  /** `#rrggbb` by curve id. */
  readonly colors: Readonly<Record<string, string>>;
  /** Signals. */
  readonly pinned: readonly string[];
  /** Groups. */
  readonly collapsed: readonly string[];
}

export const DEFAULT_LOOK: PlotLook = {
  smoothing: 0.7,
  band: 'none',
  markers: true,
  logX: false,
  logY: false,
};
export const DEFAULT_SETTINGS: PlotSettings = {
  look: DEFAULT_LOOK,
  looks: {},
  colors: {},
  pinned: [],
  collapsed: [],
};
const STORAGE_KEY = 'weights-studio.plots';
const MAX_ENTRIES = 2_000;

type Unknown = Readonly<Record<string, unknown>>;

function record(value: unknown): Unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Unknown) : {};
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(-MAX_ENTRIES) : [];
}

function parseLook(value: unknown): PlotLook {
  const { smoothing, band, markers, logX, logY } = record(value);
  const valid = typeof smoothing === 'number' && smoothing >= 0 && smoothing <= 0.999;
  return {
    smoothing: valid ? smoothing : DEFAULT_LOOK.smoothing,
    band: band === 'std' || band === 'minmax' ? band : 'none',
    markers: typeof markers === 'boolean' ? markers : DEFAULT_LOOK.markers,
    logX: logX === true,
    logY: logY === true,
  };
}

/** Reads stored settings; whatever is not understood falls back to its default. */
export function parseSettings(text: string | null): PlotSettings {
  let stored: Unknown;
  try {
    stored = record(JSON.parse(text ?? '{}'));
  } catch {
    return DEFAULT_SETTINGS;
  }
  const looks = Object.entries(record(stored.looks)).slice(-MAX_ENTRIES);
  const colors = Object.entries(record(stored.colors)).filter((entry): entry is [string, string] =>
    isColor(entry[1]),
  );
  return {
    look: parseLook(stored.look),
    looks: Object.fromEntries(looks.map(([signal, look]) => [signal, parseLook(look)])),
    colors: Object.fromEntries(colors.slice(-MAX_ENTRIES)),
    pinned: texts(stored.pinned),
    collapsed: texts(stored.collapsed),
  };
}

export function loadSettings(): PlotSettings {
  try {
    return parseSettings(localStorage.getItem(STORAGE_KEY));
  } catch {
    return DEFAULT_SETTINGS;
  }
}

/** Keeps the settings. A browser that stores nothing still shows them until the page is closed. */
export function storeSettings(settings: PlotSettings): void {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(settings));
  } catch {
    return;
  }
}

export function lookOf(settings: PlotSettings, signal: string): PlotLook {
  return settings.looks[signal] ?? settings.look;
}

/** `list` with `item` taken out when it is there, else put in. */
export function flipped(list: readonly string[], item: string): string[] {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item];
}
