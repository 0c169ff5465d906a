import { newestAtOrBefore } from './join';
import { formatStep } from './numbers';
import type { ChartPlace } from './PlotChart';
import type { MenuGroups, MenuItem } from './PlotMenu';

export interface MenuActions {
  readonly resetX: () => void;
  readonly resetY: () => void;
  readonly resetAll: () => void;
  readonly changeColor: () => void;
  readonly loadCheckpoint: ((branch: string, step: number) => void) | null;
  readonly stepSamples: () => void;
  readonly breakBySlices: (() => void) | null;
  readonly toggle: () => void;
  readonly showAll: () => void;
  readonly copyImage: () => void;
  readonly saveImage: () => void;
}

/** What can be done at a place of a plot. */
export function plotMenu(
  place: ChartPlace,
  options: { readonly checkpoints: ReadonlyMap<string, readonly number[]>; readonly hiddenCount: number },
  actions: MenuActions,
): MenuGroups {
  const { curve, step } = place;
  const at: MenuItem[] = [];
  if (curve) {
    const { branch } = curve.data.key;
    at.push({ id: 'samples', label: `Samples behind step ${formatStep(step)}`, run: actions.stepSamples });
    if (actions.loadCheckpoint)
      at.push(loadItem(place, options.checkpoints.get(branch) ?? [], actions.loadCheckpoint));
    if (actions.breakBySlices)
      at.push({ id: 'slices', label: 'Break by slices …', run: actions.breakBySlices });
  }
  const shown: MenuItem[] = [];
  if (curve) {
    shown.push({ id: 'color', label: `Change colour of ${curve.name}`, run: actions.changeColor });
    shown.push({ id: 'hide', label: `Hide ${curve.name}`, run: actions.toggle });
  }
  if (options.hiddenCount > 0) shown.push({ id: 'show', label: 'Show hidden curves', run: actions.showAll });
  return [
    at,
    [
      { id: 'reset-x', label: 'Reset X zoom', run: actions.resetX },
      { id: 'reset-y', label: 'Reset Y zoom', run: actions.resetY },
      { id: 'reset-all', label: 'Reset all zoom', run: actions.resetAll },
    ],
    shown,
    [
      { id: 'copy-image', label: 'Copy image', run: actions.copyImage },
      { id: 'save-image', label: 'Save image', run: actions.saveImage },
    ],
  ];
}

/** Loading takes the newest saved step at or before the one asked for: the label says which. */
function loadItem(
  { curve, step }: ChartPlace,
  saved: readonly number[],
  load: (branch: string, step: number) => void,
): MenuItem {
  const newest = newestAtOrBefore(saved, step);
  const label =
    newest === null
      ? `No weights saved at or before step ${formatStep(step)}`
      : `Load weights at step ${formatStep(step)}${newest === step ? '' : ` (saved: ${formatStep(newest)})`}`;
  return {
    id: 'load',
    label,
    disabled: newest === null,
    run: () => load(curve?.data.key.branch ?? '', step),
  };
}
