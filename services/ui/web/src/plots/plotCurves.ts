import { branchColor, type Theme } from './colors';
import { curveId } from './keys';
import type { ChartCurve } from './PlotChart';
import type { PlotSettings } from './settings';
import type { Branch, Checkpoint, CurveData } from './types';

/** The curves of each signal as they are drawn. Branches keep their colour in every plot. */
export function curvesBySignal(
  curves: readonly CurveData[],
  options: {
    readonly branches: readonly Branch[];
    readonly settings: PlotSettings;
    readonly theme: Theme;
    /** Curve ids. */
    readonly hidden: readonly string[];
  },
): Map<string, ChartCurve[]> {
  const { branches, settings, theme } = options;
  const places = new Map(branches.map(({ branch }, place) => [branch, place]));
  const names = new Map(branches.map(({ branch, name }) => [branch, name]));
  const hidden = new Set(options.hidden);
  const result = new Map<string, ChartCurve[]>();
  for (const data of curves) {
    const { branch, signal, mode } = data.key;
    const id = curveId(data.key);
    const name = names.get(branch) || branch;
    const curve: ChartCurve = {
      id,
      data,
      color: settings.colors[id] ?? branchColor(places.get(branch) ?? 0, theme),
      name: mode === 'audit' ? `${name} · audit` : name,
      hidden: hidden.has(id),
    };
    const members = result.get(signal);
    if (members) members.push(curve);
    else result.set(signal, [curve]);
  }
  const order = (curve: ChartCurve) =>
    (places.get(curve.data.key.branch) ?? 0) * 2 + (curve.data.key.mode === 'audit' ? 1 : 0);
  for (const members of result.values()) members.sort((a, b) => order(a) - order(b));
  return result;
}

/** Saved steps by branch, ascending. */
export function checkpointSteps(checkpoints: readonly Checkpoint[]): Map<string, number[]> {
  const result = new Map<string, number[]>();
  for (const { branch, step } of checkpoints) {
    const steps = result.get(branch);
    if (steps) steps.push(step);
    else result.set(branch, [step]);
  }
  for (const steps of result.values()) steps.sort((a, b) => a - b);
  return result;
}
