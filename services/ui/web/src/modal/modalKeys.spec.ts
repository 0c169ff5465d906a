import { describe, expect, it } from 'vitest';
import { modalCommand } from './modalKeys';

const key = (name: string, parts: object = {}) => ({
  key: name,
  shiftKey: false,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  ...parts,
});

describe('keys in the modal', () => {
  it('go to the neighbours, zoom, fit and change the slice', () => {
    expect(modalCommand(key('ArrowRight'), false)).toEqual({ kind: 'next' });
    expect(modalCommand(key('0'), false)).toEqual({ kind: 'fit' });
    expect(modalCommand(key('ArrowUp'), false)).toEqual({ kind: 'slice', delta: 1 });
    expect(modalCommand(key('+', { shiftKey: true }), false)).toMatchObject({ kind: 'zoom' });
  });
  it('pan with shift', () => {
    expect(modalCommand(key('ArrowLeft', { shiftKey: true }), false)).toMatchObject({ kind: 'pan', y: 0 });
  });
  it('are letters while a text is typed, but Escape still closes', () => {
    expect(modalCommand(key('d'), true)).toBeNull();
    expect(modalCommand(key('Escape'), true)).toEqual({ kind: 'close' });
  });
  it('leave the keys of the browser alone', () => {
    expect(modalCommand(key('d', { ctrlKey: true }), false)).toBeNull();
    expect(modalCommand(key('Tab'), false)).toBeNull();
  });
});
