import { computed } from '@preact/signals';
import { PlotPanel } from '../plots/PlotPanel';
import type { CurveKey, ExportFormat } from '../plots/types';
import { curves, fetchRange, hiddenCurves } from '../state/curves';
import { editMarks } from '../state/editMarks';
import { exportCurves } from '../state/exports';
import * as run from '../state/run';
import { canEdit } from '../state/session';
import { plotAuto, theme } from '../state/settings';
import { broken } from '../state/slices';
import { plotRefreshes, showStepSamples } from '../state/studio';
import { say } from '../state/toasts';

const branches = computed(() =>
  (run.status.value?.branches ?? []).map(({ branch, name, parentBranch, parentStep }) => ({
    branch,
    name: name || branch,
    parent: parentBranch ? { branch: parentBranch, step: Number(parentStep) } : null,
  })),
);
const checkpoints = computed(() =>
  run.checkpoints.value.map(({ branch, step }) => ({ branch, step: Number(step) })),
);

const range = (key: CurveKey, first: number, last: number, budget: number) =>
  fetchRange(run.experimentName.value, { key, first, last, budget });
const exported = (keys: readonly CurveKey[], format: ExportFormat) =>
  exportCurves(run.experimentName.value, keys, format);
const load = (branch: string, step: number) => void run.loadCheckpoint(branch, step);
const showSamples = (key: CurveKey, step: number) => void showStepSamples(key, step);
const hide = (ids: readonly string[]) => {
  hiddenCurves.value = ids;
};
const breakBySlices = (key: CurveKey) => {
  broken.value = key;
};
const complain = (message: string) => say(message, { kind: 'bad' });

export function PlotPane() {
  return (
    <PlotPanel
      curves={curves.value}
      branches={branches.value}
      checkpoints={checkpoints.value}
      edits={editMarks.value}
      hidden={hiddenCurves.value}
      onHidden={hide}
      fetchRange={range}
      exportCurves={exported}
      onLoadCheckpoint={load}
      onStepSamples={showSamples}
      onBreakBySlices={breakBySlices}
      theme={theme.value}
      frozen={!plotAuto.value}
      refreshToken={plotRefreshes.value}
      readOnly={!canEdit.value}
      onError={complain}
    />
  );
}
