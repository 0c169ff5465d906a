// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { ACTIONS, keysOf } from './actions';

const plain = { ctrlKey: false, metaKey: false, shiftKey: false, altKey: false };

describe('shortcuts', () => {
  it('names keys as the list of actions does', () => {
    expect(keysOf({ ...plain, key: 'k', ctrlKey: true })).toBe('Ctrl+K');
    expect(keysOf({ ...plain, key: 'z', metaKey: true })).toBe('Ctrl+Z');
    expect(keysOf({ ...plain, key: 'Delete', shiftKey: true })).toBe('Shift+Delete');
    expect(keysOf({ ...plain, key: '?', shiftKey: true })).toBe('?');
    expect(keysOf({ ...plain, key: ' ' })).toBe('Space');
  });

  it('gives every key to one action, and every action a name', () => {
    const keys = ACTIONS.flatMap((action) => action.keys);
    expect(new Set(keys).size).toBe(keys.length);
    const ids = ACTIONS.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('marks what changes the run or the samples as not for viewers', () => {
    const edits = ACTIONS.filter((action) => action.edits).map(({ id }) => id);
    expect(edits).toEqual(expect.arrayContaining(['training', 'mode', 'discard', 'restore', 'tags', 'undo']));
  });
});
