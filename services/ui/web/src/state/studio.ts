import { batch, effect, signal, untracked } from '@preact/signals';
import { reason } from '../api/client';
import type { CurveKey } from '../plots/types';
import type { WatchResponse } from '../proto/weightslab/v1/experiment_pb';
import { readAddress, START, type ViewState, writeAddress } from './address';
import { applyDeltas, clearCurves, curves, hiddenCurves, loadCurves, positions, toWire } from './curves';
import { loadEditMarks, noteEdits } from './editMarks';
import { followFacets } from './facets';
import { Link, type LinkState } from './link';
import { overlayKind, refreshMasks } from './masks';
import { samplesFilter } from './queries';
import * as run from './run';
import * as sample from './sample';
import { access, api } from './session';
import { dataAuto, dataIntervalSecs, plotAuto } from './settings';
import { say } from './toasts';
import { followTrajectories } from './trajectories';
import * as view from './view';

const LIST_EVERY_MS = 2000;
/** A hidden tab keeps its stream for so long: whoever looks at another one for a moment comes back to a live page. */
const REST_AFTER_MS = 5_000;
const EDIT_SETTLE_MS = 120;

export const linkState = signal<LinkState>({ kind: 'connecting' });
/** Raised to have frozen plots drawn once. */
export const plotRefreshes = signal(0);

let overviewLoaded = false;
let editsPending = 0;

async function* watch(signal: AbortSignal): AsyncIterable<WatchResponse> {
  const experiment = run.experimentName.value;
  if (!overviewLoaded) {
    // Without it the stream shows the gaps, which are then filled curve by curve.
    overviewLoaded = await loadCurves(experiment).then(
      () => true,
      () => false,
    );
  }
  yield* api().experiments.watch(
    {
      experiment,
      maxRateHz: 10,
      positions: positions(),
      revision: view.liveRevision.value,
      resumed: run.experiment.value !== null,
    },
    { signal, timeoutMs: 0 },
  );
}

function receive(message: WatchResponse): void {
  if (message.experiment) {
    const before = run.experiment.value;
    run.takeExperiment(message.experiment);
    if (message.experiment.counters) run.counters.value = message.experiment.counters;
    if (message.experiment.revision > view.liveRevision.value) {
      view.liveRevision.value = message.experiment.revision;
    }
    noticeChanges(before, message.experiment);
  }
  if (message.availability) run.availability.value = message.availability;
  applyDeltas(run.experimentName.value, message.curves);
  if (message.valueVersion > view.liveValueVersion.value) view.liveValueVersion.value = message.valueVersion;
  noteEdits(message.edits);
  const newest = message.edits.at(-1);
  if (newest) {
    view.liveRevision.value = newest.revision;
    if (newest.counters) run.counters.value = newest.counters;
  }
  followEdits();
}

/** Edits come in bursts; one page for all of them, and none while nobody looks. */
function followEdits(): void {
  if (editsPending || document.hidden || !view.editsAreNew()) return;
  editsPending = window.setTimeout(() => {
    editsPending = 0;
    void sample.refreshAll();
  }, EDIT_SETTLE_MS);
}

/** Fetches what the stream only hints at: columns after new samples, checkpoints after a new one. */
function noticeChanges(
  before: typeof run.experiment.value,
  now: NonNullable<typeof run.experiment.value>,
): void {
  if (before?.counters?.total !== now.counters?.total || view.columns.value.length === 0)
    void view.loadColumns();
  const [old, fresh] = [before?.status, now.status];
  if (
    fresh &&
    (old?.lastCheckpointStep !== fresh.lastCheckpointStep ||
      old?.branch !== fresh.branch ||
      old?.runId !== fresh.runId)
  ) {
    void run.loadCheckpoints();
  }
}

const link = new Link<WatchResponse>({
  open: watch,
  onMessage: receive,
  onState: (state) => {
    const before = linkState.value;
    linkState.value = state;
    if (state.kind === 'live' && before.kind !== 'live') {
      void view.load();
      void loadEditMarks();
    }
  },
  reason,
});

export const retryNow = () => link.retryNow();

/** Shows an experiment from nothing, or as `state` says. */
export function choose(name: string, state: ViewState = START): void {
  if (run.experimentName.value === name) return;
  link.stop();
  overviewLoaded = false;
  // At once, or the history would hold what was never on the screen.
  batch(() => {
    run.forgetRun();
    view.forgetView();
    sample.close();
    clearCurves();
    restore(state);
    run.experimentName.value = name;
  });
  link.start();
  void view.load();
  void view.loadColumns();
  if (state.sample) void sample.open(state.sample);
}

async function listExperiments(): Promise<void> {
  if (access.value.kind !== 'in') return;
  try {
    const { experiments } = await api().experiments.listExperiments({});
    run.experimentNames.value = experiments.map(({ experiment }) => experiment);
    const names = run.experimentNames.value;
    const [first] = names;
    if (first && !names.includes(run.experimentName.value)) choose(first);
  } catch (error) {
    linkState.value = { kind: 'waiting', reason: reason(error), untilMs: Date.now() + LIST_EVERY_MS };
  }
  // Once there is one, others are looked for only when the list is opened.
  const found = run.experimentNames.value.includes(run.experimentName.value);
  if (!found) setTimeout(() => void listExperiments(), LIST_EVERY_MS);
}

export { listExperiments };

function restore(state: ViewState): void {
  view.filter.value = state.filter;
  view.sort.value = state.sort;
  view.offset.value = state.offset;
  restoreLooks(state);
}

/** What is shown differently without being fetched anew. */
function restoreLooks(state: ViewState): void {
  overlayKind.value = state.overlay;
  hiddenCurves.value = state.hidden;
}

function followAddress(): void {
  const state = readAddress(location.search);
  if (state.experiment && state.experiment !== run.experimentName.value) choose(state.experiment, state);
  restoreLooks(state);
  void view.setView({ filter: state.filter, sort: state.sort, offset: state.offset });
  if (state.sample) void sample.open(state.sample);
  else sample.close();
}

/** Keeps the address of the page that of the view; another page of the view is no step in the history. */
function writeHistory(): void {
  let last = readAddress(location.search);
  effect(() => {
    const now: ViewState = {
      ...START,
      experiment: run.experimentName.value,
      ...sample.viewOf(),
      overlay: overlayKind.value,
      hidden: hiddenCurves.value,
    };
    if (!now.experiment) return;
    const [text, before] = [writeAddress(now), writeAddress(last)];
    if (text === before) return;
    const samePlace = writeAddress({ ...now, offset: 0 }) === writeAddress({ ...last, offset: 0 });
    const first = last.experiment === '';
    last = now;
    if (text === location.search) return;
    const address = location.pathname + text;
    if (samePlace || first) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
  });
}

/** Fetches the page again while values move, at the pace that the viewer has chosen. */
function followData(): void {
  let timer = 0;
  effect(() => {
    clearInterval(timer);
    if (!dataAuto.value) return;
    timer = window.setInterval(() => {
      const quiet = document.hidden || linkState.value.kind !== 'live' || untracked(() => view.loading.value);
      if (!quiet && view.outdated()) void sample.refreshAll();
    }, dataIntervalSecs.value * 1000);
  });
  effect(() => {
    view.page.value;
    untracked(sample.viewMoved);
  });
}

/** A signal's first values bring a column. */
function followSignals(): void {
  let known = '';
  effect(() => {
    const names = [...new Set(curves.value.map(({ key }) => key.signal))].join('\u0000');
    if (names !== known && names) untracked(() => void view.loadColumns());
    known = names;
  });
  let shown = '';
  effect(() => {
    const names = view.fields.value.join('\u0000');
    if (names !== shown) untracked(() => void view.load());
    shown = names;
  });
}

function restWhileHidden(): void {
  let timer = 0;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = window.setTimeout(() => link.rest(), REST_AFTER_MS);
      return;
    }
    if (run.experimentName.value) link.start();
    followEdits();
  });
}

export function refreshNow(): void {
  plotRefreshes.value += 1;
  refreshMasks();
  void view.remake();
  void sample.refreshSample();
  void view.loadColumns();
  void run.loadCheckpoints();
  void listExperiments();
  if (!plotAuto.value || linkState.value.kind !== 'live') {
    loadCurves(run.experimentName.value).catch((error) =>
      say(`The curves could not be fetched: ${reason(error)}`, { kind: 'bad' }),
    );
  }
}

/** Shows the samples behind a point of a curve in the grid. */
export async function showStepSamples(key: CurveKey, step: number): Promise<void> {
  try {
    const reply = await api().signals.getStepSamples({
      experiment: run.experimentName.value,
      key: toWire(key),
      step: BigInt(Math.floor(step)),
    });
    if (reply.samples.length === 0) {
      say(`No samples are stored for step ${step} of ${key.signal}.`);
      return;
    }
    const { filter, count } = samplesFilter(reply.samples);
    const sort = view.columns.value.some(({ name }) => name === key.signal)
      ? [{ column: key.signal, descending: true }]
      : [];
    if (await view.setView({ filter, sort, offset: 0 })) {
      const left = reply.samples.length - count;
      say(
        `Showing the ${count} samples behind ${key.signal} at step ${Number(reply.step)}` +
          (left > 0 ? `; ${left} more are left out.` : '.'),
      );
    }
  } catch (error) {
    say(`The samples behind step ${step} could not be fetched: ${reason(error)}`, { kind: 'bad' });
  }
}

/** Begins once somebody is logged in; a second login goes on where the first has ended. */
export function begin(): void {
  const state = readAddress(location.search);
  writeHistory();
  followData();
  followSignals();
  followFacets();
  followTrajectories();
  restWhileHidden();
  addEventListener('popstate', followAddress);
  effect(() => {
    if (access.value.kind !== 'in') {
      link.stop();
      return;
    }
    untracked(() => {
      if (run.experimentName.value) link.start();
      // An address that names the experiment need not wait for the list.
      else choose(state.experiment, state);
      void listExperiments();
    });
  });
}
