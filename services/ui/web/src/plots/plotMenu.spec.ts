import { describe, expect, it, vi } from 'vitest';
import { CurveModel } from './CurveModel';
import { type MenuActions, plotMenu } from './plotMenu';

const data = {
  key: { branch: 'b1', signal: 'loss', mode: 'train' as const },
  steps: new Float64Array(0),
  values: new Float64Array(0),
  pointCount: 0,
  reduced: false,
};
const curve = new CurveModel('id', data);
const actions = (parts: Partial<MenuActions> = {}): MenuActions => ({
  resetX: vi.fn(),
  resetY: vi.fn(),
  resetAll: vi.fn(),
  changeColor: vi.fn(),
  loadCheckpoint: vi.fn(),
  stepSamples: vi.fn(),
  breakBySlices: null,
  toggle: vi.fn(),
  showAll: vi.fn(),
  copyImage: vi.fn(),
  saveImage: vi.fn(),
  ...parts,
});
const items = (step: number, parts: Partial<MenuActions> = {}, hiddenCount = 0) =>
  plotMenu(
    { step, curve },
    { checkpoints: new Map([['b1', [40, 50, 60]]]), hiddenCount },
    actions(parts),
  ).flat();
const item = (step: number, id: string, parts: Partial<MenuActions> = {}) =>
  items(step, parts).find((one) => one.id === id);

describe('the menu of a plot', () => {
  it('says which saved step would be loaded, and asks for the clicked one', () => {
    const loadCheckpoint = vi.fn();
    const load = item(57, 'load', { loadCheckpoint });
    expect(load?.label).toBe('Load weights at step 57 (saved: 50)');
    load?.run();
    expect(loadCheckpoint).toHaveBeenCalledWith('b1', 57);
    expect(item(50, 'load')?.label).toBe('Load weights at step 50');
  });
  it('cannot load what was never saved', () => {
    expect(item(39, 'load')?.disabled).toBe(true);
  });
  it('offers a viewer no loading', () => {
    expect(item(57, 'load', { loadCheckpoint: null })).toBeUndefined();
  });
  it('offers what is hidden only when something is', () => {
    expect(items(1, {}, 0).some(({ id }) => id === 'show')).toBe(false);
    expect(items(1, {}, 2).some(({ id }) => id === 'show')).toBe(true);
  });
  it('has zoom and images even where there is no curve', () => {
    const empty = plotMenu(
      { step: 1, curve: null },
      { checkpoints: new Map(), hiddenCount: 0 },
      actions(),
    ).flat();
    expect(empty.map(({ id }) => id)).toEqual([
      'reset-x',
      'reset-y',
      'reset-all',
      'copy-image',
      'save-image',
    ]);
  });
});
