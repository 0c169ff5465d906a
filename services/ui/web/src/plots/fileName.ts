const MAX_CHARS = 100;

/** A name for a file made of a signal's name, that any system takes. */
export function fileName(signal: string, extension: string): string {
  const base = signal.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|-+$/g, '');
  return `${base.slice(0, MAX_CHARS) || 'signal'}.${extension}`;
}
