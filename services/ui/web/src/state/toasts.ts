import { signal } from '@preact/signals';

export type ToastKind = 'info' | 'good' | 'bad';

export interface ToastAction {
  readonly label: string;
  readonly run: () => void;
}

export interface Toast {
  readonly id: string;
  readonly kind: ToastKind;
  readonly text: string;
  readonly actions: readonly ToastAction[];
}

export interface ToastOptions {
  readonly kind?: ToastKind;
  readonly actions?: readonly ToastAction[];
  /** Replaces a toast with the same id. */
  readonly id?: string;
  /** 0 stays until it is dismissed. */
  readonly timeoutSecs?: number;
}

const MAX_SHOWN = 4;
const SHORT_SECS = 4;
const LONG_SECS = 9;

export const toasts = signal<readonly Toast[]>([]);
const timers = new Map<string, number>();
let counter = 0;

export function dismiss(id: string): void {
  clearTimeout(timers.get(id));
  timers.delete(id);
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function say(text: string, options: ToastOptions = {}): void {
  const { kind = 'info', actions = [], id = `toast-${++counter}` } = options;
  const usual = kind === 'bad' || actions.length > 0 ? LONG_SECS : SHORT_SECS;
  const timeoutSecs = options.timeoutSecs ?? usual;
  dismiss(id);
  const shown = [...toasts.value, { id, kind, text, actions }];
  for (const dropped of shown.slice(0, -MAX_SHOWN)) dismiss(dropped.id);
  toasts.value = shown.slice(-MAX_SHOWN);
  if (timeoutSecs > 0)
    timers.set(
      id,
      window.setTimeout(() => dismiss(id), timeoutSecs * 1000),
    );
}
