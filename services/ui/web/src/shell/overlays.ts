import { signal } from '@preact/signals';

/** Which of the page's own windows is open. */
export const overlay = signal<'palette' | 'keys' | 'tags' | 'compare' | null>(null);

/** Where the grid's context menu is open, in CSS pixels of the window. */
export const contextMenu = signal<{ readonly x: number; readonly y: number } | null>(null);
