export type ModalCommand =
  | { readonly kind: 'close' | 'previous' | 'next' | 'fit' | 'toggleDiscard' | 'focusTag' }
  | { readonly kind: 'zoom'; readonly factor: number }
  | { readonly kind: 'pan'; readonly x: number; readonly y: number }
  | { readonly kind: 'slice'; readonly delta: number };

export const ZOOM_STEP = 1.4;
const PAN_STEP = 0.15;

interface Key {
  readonly key: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

/** What a key means in the modal. While text is typed only Escape means something. */
export function modalCommand(event: Key, typing: boolean): ModalCommand | null {
  if (event.key === 'Escape') return { kind: 'close' };
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.shiftKey) {
    const pans: Record<string, ModalCommand> = {
      ArrowLeft: { kind: 'pan', x: -PAN_STEP, y: 0 },
      ArrowRight: { kind: 'pan', x: PAN_STEP, y: 0 },
      ArrowUp: { kind: 'pan', x: 0, y: -PAN_STEP },
      ArrowDown: { kind: 'pan', x: 0, y: PAN_STEP },
    };
    const pan = pans[event.key];
    if (pan) return pan;
  }
  switch (event.key) {
    case 'ArrowLeft':
      return { kind: 'previous' };
    case 'ArrowRight':
      return { kind: 'next' };
    case 'ArrowUp':
      return { kind: 'slice', delta: 1 };
    case 'ArrowDown':
      return { kind: 'slice', delta: -1 };
    case 'PageUp':
      return { kind: 'slice', delta: 10 };
    case 'PageDown':
      return { kind: 'slice', delta: -10 };
    case '+':
    case '=':
      return { kind: 'zoom', factor: ZOOM_STEP };
    case '-':
    case '_':
      return { kind: 'zoom', factor: 1 / ZOOM_STEP };
    case '0':
      return { kind: 'fit' };
    case 'd':
      return { kind: 'toggleDiscard' };
    case 't':
      return { kind: 'focusTag' };
    default:
      return null;
  }
}
