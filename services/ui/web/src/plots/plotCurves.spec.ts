import { describe, expect, it } from 'vitest';
import { branchColor } from './colors';
import { curveId } from './keys';
import { checkpointSteps, curvesBySignal } from './plotCurves';
import { DEFAULT_SETTINGS } from './settings';
import type { CurveData, CurveKey } from './types';

const branches = [
  { branch: 'b1', name: 'main', parent: null },
  { branch: 'b2', name: 'retry', parent: { branch: 'b1', step: 5 } },
];
const curve = (branch: string, mode: CurveKey['mode'] = 'train', signal = 'loss'): CurveData => ({
  key: { branch, signal, mode },
  steps: new Float64Array(0),
  values: new Float64Array(0),
  pointCount: 0,
  reduced: false,
});

describe('the curves of a signal', () => {
  it('stand in the order of their branches, audits behind their branch', () => {
    const curves = [curve('b2'), curve('b1', 'audit'), curve('b1'), curve('b1', 'train', 'lr')];
    const plots = curvesBySignal(curves, { branches, settings: DEFAULT_SETTINGS, theme: 'dark', hidden: [] });
    expect(plots.get('loss')?.map(({ name }) => name)).toEqual(['main', 'main · audit', 'retry']);
    expect([...plots.keys()]).toEqual(['loss', 'lr']);
  });
  it('take the colour of their branch, or the one that was chosen', () => {
    const id = curveId(curve('b1').key);
    const settings = { ...DEFAULT_SETTINGS, colors: { [id]: '#123456' } };
    const plots = curvesBySignal([curve('b1'), curve('b2')], {
      branches,
      settings,
      theme: 'light',
      hidden: [id],
    });
    expect(plots.get('loss')).toMatchObject([
      { color: '#123456', hidden: true },
      { color: branchColor(1, 'light'), hidden: false },
    ]);
  });
  it('of a branch that is not known yet are called by its id', () => {
    const plots = curvesBySignal([curve('new')], {
      branches,
      settings: DEFAULT_SETTINGS,
      theme: 'light',
      hidden: [],
    });
    expect(plots.get('loss')?.[0]?.name).toBe('new');
  });
});

describe('checkpoints', () => {
  it('are ordered by step in each branch', () => {
    const saved = [30, 10, 20].map((step) => ({ branch: 'b1', step }));
    expect(checkpointSteps([...saved, { branch: 'b2', step: 1 }]).get('b1')).toEqual([10, 20, 30]);
  });
});
