import { type Signal, signal } from '@preact/signals';

const PREFIX = 'weights-studio.';

/** What was stored under `key`, or `fallback` when there is nothing that can be read. */
function read<T>(key: string, fallback: T): T {
  try {
    const text = localStorage.getItem(PREFIX + key);
    if (text === null) return fallback;
    const value: T = JSON.parse(text);
    return typeof value === typeof fallback && Array.isArray(value) === Array.isArray(fallback)
      ? value
      : fallback;
  } catch {
    return fallback;
  }
}

/** A signal whose value outlives the page, per browser. */
export function remembered<T>(key: string, fallback: T): Signal<T> {
  const value = signal(read(key, fallback));
  let first = true;
  value.subscribe((now) => {
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(PREFIX + key, JSON.stringify(now));
    } catch {
      // A full or forbidden storage only means that the choice is not remembered.
    }
  });
  return value;
}

/** Forgets what is stored, except for the keys that begin with one of `kept`. */
export function forgetAllBut(kept: readonly string[]): void {
  const names = Array.from({ length: localStorage.length }, (_, i) => localStorage.key(i) ?? '');
  for (const name of names) {
    if (name.startsWith(PREFIX) && !kept.some((start) => name.startsWith(PREFIX + start))) {
      localStorage.removeItem(name);
    }
  }
}
