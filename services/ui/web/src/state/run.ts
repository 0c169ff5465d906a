import { batch, computed, signal } from '@preact/signals';
import { reason } from '../api/client';
import { type Counters, Mode, RunState } from '../proto/weightslab/v1/common_pb';
import type { Availability, Checkpoint, Experiment, RunStatus } from '../proto/weightslab/v1/experiment_pb';
import { type Acknowledged, acknowledge, judge } from './acknowledged';
import { api } from './session';
import { dismiss, say } from './toasts';

/** The name of the experiment on the screen; empty until there is one. */
export const experimentName = signal('');
export const experimentNames = signal<readonly string[]>([]);

export const experiment = signal<Experiment | null>(null);
export const counters = signal<Counters | null>(null);
export const availability = signal<Availability | null>(null);
export const checkpoints = signal<readonly Checkpoint[]>([]);

export const status = computed<RunStatus | null>(() => experiment.value?.status ?? null);
export const mode = computed(() => status.value?.mode ?? Mode.UNSPECIFIED);

export type Training = 'running' | 'paused';

/** What the viewer has asked for and the trainer has not confirmed. */
export const wanted = signal<Training | null>(null);
export const wantedMode = signal<Mode | null>(null);

export type Shown = Training | 'pending' | 'finished' | 'away';

/** What the state pill says. */
export const shownState = computed<Shown>(() => {
  if (!status.value || experiment.value?.trainerConnected === false) return 'away';
  if (wanted.value || status.value.state === RunState.PENDING) return 'pending';
  if (status.value.finished) return 'finished';
  return status.value.state === RunState.RUNNING ? 'running' : 'paused';
});

/** Where the training will stand when all that was asked for is done. */
export const target = computed<Training>(
  () => wanted.value ?? (status.value?.state === RunState.PAUSED ? 'paused' : 'running'),
);

const PAUSED_TOAST = 'paused-for-edit';
const LOADED_TOAST = 'loaded';
let driving: Promise<void> | null = null;

/** Asks for running or paused. Of many quick requests the last one holds. */
export function setTraining(to: Training): Promise<void> {
  wanted.value = to;
  if (to === 'running') {
    dismiss(PAUSED_TOAST);
    dismiss(LOADED_TOAST);
  }
  driving ??= drive().finally(() => {
    driving = null;
    wanted.value = null;
  });
  return driving;
}

export function toggleTraining(): void {
  void setTraining(target.value === 'running' ? 'paused' : 'running').catch(() => {});
}

/** What this page was told at last; statuses that were sent before it do not undo it. */
let acknowledged: Acknowledged | null = null;

async function drive(): Promise<void> {
  let sent: Training | null = null;
  try {
    while (wanted.value && wanted.value !== sent) {
      sent = wanted.value;
      const { experiments } = api();
      const request = { experiment: experimentName.value };
      const { step } = await (sent === 'paused' ? experiments.pause(request) : experiments.resume(request));
      const state = sent === 'paused' ? RunState.PAUSED : RunState.RUNNING;
      acknowledged = acknowledge(state, step, Date.now());
    }
  } catch (error) {
    say(`The training could not be ${sent === 'paused' ? 'paused' : 'resumed'}: ${reason(error)}`, {
      kind: 'bad',
    });
    throw error;
  }
  // Holds until the trainer's own status comes, a moment later.
  if (acknowledged) patchStatus({ state: acknowledged.state });
}

/** Takes what the stream tells of the experiment. */
export function takeExperiment(told: Experiment): void {
  const { status: now } = told;
  const verdict = acknowledged && now ? judge(acknowledged, now, Date.now()) : 'newer';
  if (acknowledged && now && verdict === 'stale') {
    experiment.value = { ...told, status: { ...now, state: acknowledged.state } };
    return;
  }
  if (now) acknowledged = null;
  experiment.value = told;
}

function patchStatus(change: Partial<Pick<RunStatus, 'state' | 'mode'>>): void {
  const now = experiment.value;
  if (now?.status) experiment.value = { ...now, status: { ...now.status, ...change } };
}

/** Says that an edit has paused the training, until it runs again. */
export function tellPaused(): void {
  const resume = { label: 'Resume', run: () => void setTraining('running').catch(() => {}) };
  say('Training paused for your edit.', { id: PAUSED_TOAST, actions: [resume], timeoutSecs: 0 });
}

status.subscribe((now) => {
  if (now?.state === RunState.RUNNING && wanted.peek() !== 'paused') dismiss(PAUSED_TOAST);
});

export async function setMode(to: Mode): Promise<void> {
  wantedMode.value = to;
  try {
    const reply = await api().experiments.setMode({ experiment: experimentName.value, mode: to });
    patchStatus({ mode: reply.mode });
  } catch (error) {
    say(`The mode could not be changed: ${reason(error)}`, { kind: 'bad' });
  } finally {
    wantedMode.value = null;
  }
}

/** Sets a value; returns the sentence to show at the field when it was refused, else an empty one. */
export async function setHyperparameter(name: string, valueJson: string): Promise<string> {
  try {
    const reply = await api().experiments.setHyperparameter({
      experiment: experimentName.value,
      name,
      valueJson,
    });
    const now = experiment.value;
    const { hyperparameter } = reply;
    if (now?.status && hyperparameter) {
      const hyperparameters = now.status.hyperparameters.map((other) =>
        other.name === name ? hyperparameter : other,
      );
      experiment.value = { ...now, status: { ...now.status, hyperparameters } };
    }
    return '';
  } catch (error) {
    return reason(error);
  }
}

export async function loadCheckpoints(): Promise<void> {
  try {
    const reply = await api().experiments.listCheckpoints({ experiment: experimentName.value });
    checkpoints.value = reply.checkpoints;
  } catch {
    // The trainer is away: what is known of its checkpoints stays, and the banner says that it is away.
  }
}

export async function saveCheckpoint(): Promise<void> {
  try {
    const { checkpoint } = await api().experiments.saveCheckpoint({ experiment: experimentName.value });
    say(`Saved a checkpoint at step ${Number(checkpoint?.step ?? 0).toLocaleString('en')}.`, {
      kind: 'good',
    });
    await loadCheckpoints();
  } catch (error) {
    say(`No checkpoint was saved: ${reason(error)}`, { kind: 'bad' });
  }
}

/** Loads the newest saved step at or before the one asked for; the next resume starts a branch. */
export async function loadCheckpoint(branch: string, step: number): Promise<void> {
  try {
    const { checkpoint } = await api().experiments.loadCheckpoint({
      experiment: experimentName.value,
      branch,
      step: BigInt(Math.floor(step)),
    });
    const loaded = Number(checkpoint?.step ?? 0);
    const asked = loaded === Math.floor(step) ? '' : ` (the newest saved at or before ${Math.floor(step)})`;
    const resume = { label: 'Resume', run: () => void setTraining('running').catch(() => {}) };
    say(`Loaded step ${loaded.toLocaleString('en')}${asked}. Resuming starts a new branch.`, {
      id: LOADED_TOAST,
      kind: 'good',
      actions: [resume],
    });
  } catch (error) {
    say(`The checkpoint was not loaded: ${reason(error)}`, { kind: 'bad' });
  }
}

export function forgetRun(): void {
  acknowledged = null;
  batch(() => {
    experiment.value = null;
    counters.value = null;
    availability.value = null;
    checkpoints.value = [];
  });
}
