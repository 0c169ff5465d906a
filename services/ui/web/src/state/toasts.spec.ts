// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { dismiss, say, toasts } from './toasts';

describe('toasts', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => {
    for (const { id } of toasts.value) dismiss(id);
    vi.useRealTimers();
  });

  it('go by themselves, later when they offer something', () => {
    say('short');
    say('long', { actions: [{ label: 'Undo', run: () => {} }] });
    vi.advanceTimersByTime(5_000);
    expect(toasts.value.map(({ text }) => text)).toEqual(['long']);
    vi.advanceTimersByTime(5_000);
    expect(toasts.value).toEqual([]);
  });

  it('stay when they are told to, and are replaced by their id', () => {
    say('paused', { id: 'pause', timeoutSecs: 0 });
    say('paused again', { id: 'pause', timeoutSecs: 0 });
    vi.advanceTimersByTime(60_000);
    expect(toasts.value.map(({ text }) => text)).toEqual(['paused again']);
  });

  it('are never more than fit', () => {
    for (let i = 0; i < 9; i++) say(`toast ${i}`);
    expect(toasts.value.map(({ text }) => text)).toEqual(['toast 5', 'toast 6', 'toast 7', 'toast 8']);
  });
});
