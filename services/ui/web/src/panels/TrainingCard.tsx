import { computed } from '@preact/signals';
import { formatSignal } from '../plots/numbers';
import { Mode } from '../proto/weightslab/v1/common_pb';
import { Icon } from '../shell/icons';
import { count } from '../shell/numbers';
import { curves } from '../state/curves';
import * as run from '../state/run';
import { canEdit } from '../state/session';
import { Card } from './Card';
import { Checkpoints } from './Checkpoints';
import { Hyperparameters } from './Hyperparameters';

const WORDS: Record<run.Shown, string> = {
  running: 'Running',
  paused: 'Paused',
  pending: 'Pending',
  finished: 'Finished',
  away: 'No trainer',
};
const MAX_METRICS = 8;

/** The newest value of each signal of the branch that runs. */
const metrics = computed(() => {
  const branch = run.status.value?.branch ?? '';
  const mode = run.mode.value === Mode.AUDIT ? 'audit' : 'train';
  const here = curves.value.filter(({ key, values }) => key.branch === branch && values.length > 0);
  const signals = [...new Set(here.map(({ key }) => key.signal))].sort();
  return signals.slice(0, MAX_METRICS).map((signal) => {
    const ofSignal = here.filter(({ key }) => key.signal === signal);
    const curve = ofSignal.find(({ key }) => key.mode === mode) ?? ofSignal[0];
    return { signal, value: curve?.values.at(-1) ?? Number.NaN, mode: curve?.key.mode };
  });
});

/** With a fixed number of digits, so that the line does not jump. */
function rate(perSecond: number): string {
  return perSecond >= 100 ? count(Math.round(perSecond)) : perSecond.toFixed(1);
}

function Progress() {
  const status = run.status.value;
  if (!status) return null;
  const [step, total] = [Number(status.step), Number(status.totalSteps)];
  return (
    <div class="progress-block">
      <div class="progress-line">
        <span class="figure" data-testid="step" data-step={step}>
          {count(step)}
        </span>
        <span class="quiet">steps</span>
        <span class="spacer" />
        <span class="quiet" data-testid="step-rate">
          {rate(status.stepsPerSec)} steps/s
        </span>
      </div>
      <p class="quiet">
        {total > 0 && `of ${count(total)} · `}epoch {count(status.epoch)}
      </p>
      {total > 0 && (
        <progress class="progress" value={Math.min(step, total)} max={total} aria-label="Progress" />
      )}
    </div>
  );
}

function Metrics() {
  if (metrics.value.length === 0) return null;
  return (
    <dl class="figures" data-testid="metrics">
      {metrics.value.map(({ signal, value, mode }) => (
        <div key={signal} class="figures-row">
          <dt title={signal}>
            {signal}
            {mode === 'audit' && <em class="mark">audit</em>}
          </dt>
          <dd>{formatSignal(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Certificate() {
  const audit = run.status.value?.audit;
  if (!audit?.hashBefore) return null;
  const running = audit.hashAfter === '';
  const same = audit.hashAfter === audit.hashBefore;
  const words = running
    ? 'Audit under way: the state was recorded before it.'
    : same
      ? 'Audit changed nothing: weights, buffers, optimizer and random numbers are bit-identical.'
      : 'The state after the audit differs from the one before.';
  return (
    <div class={`certificate ${running ? '' : same ? 'good' : 'bad'}`} data-testid="audit-certificate">
      <Icon name="shield" />
      <div>
        <p>{words}</p>
        <code title={`before ${audit.hashBefore}\nafter ${audit.hashAfter || '…'}`}>
          {audit.hashBefore.slice(0, 16)}
        </code>
      </div>
    </div>
  );
}

function Branch() {
  const status = run.status.value;
  if (!status?.branch) return null;
  const now = status.branches.find(({ branch }) => branch === status.branch);
  const parent = status.branches.find(({ branch }) => branch === now?.parentBranch);
  return (
    <p class="branch-line" data-testid="branch">
      <Icon name="branch" />
      <span>
        <strong>{now?.name || status.branch}</strong>
        {now?.parentBranch && (
          <span class="quiet">
            {' '}
            from {parent?.name || now.parentBranch} at {count(now.parentStep)}
          </span>
        )}
      </span>
      {status.loadedBranch && <em class="mark">loaded {count(status.loadedStep)}, not resumed</em>}
    </p>
  );
}

export function TrainingCard() {
  const state = run.shownState.value;
  const status = run.status.value;
  return (
    <Card
      name="training"
      title="Training"
      aside={
        <span class={`pill state ${state}`} data-testid="state-pill" data-state={state}>
          <span class={`dot ${state}`} />
          {WORDS[state]}
        </span>
      }
    >
      {!status && <p class="quiet">No training has been heard of yet.</p>}
      {status?.message && (
        <p class="note" data-testid="run-message">
          {status.message}
        </p>
      )}
      <Progress />
      <Branch />
      <Metrics />
      <Certificate />
      {status && status.droppedValues > 0n && (
        <p class="note">
          {count(status.droppedValues)} values had to be dropped: the bus was away for too long.
        </p>
      )}
      {status && status.droppedPredictions > 0n && (
        <p class="note">
          Predictions of {count(status.droppedPredictions)} samples are not kept: too many at once, or no room
          on disk.
        </p>
      )}
      <Hyperparameters readOnly={!canEdit.value} />
      <Checkpoints readOnly={!canEdit.value} />
    </Card>
  );
}
