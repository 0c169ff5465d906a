import { Mode } from '../proto/weightslab/v1/common_pb';
import * as run from '../state/run';
import { canEdit } from '../state/session';
import { panelOpen, theme, toggleTheme } from '../state/settings';
import { choose, linkState, listExperiments, refreshNow } from '../state/studio';
import { Icon } from './icons';
import { overlay } from './overlays';
import { RefreshMenu } from './RefreshMenu';

function ExperimentPicker() {
  const names = run.experimentNames.value;
  if (names.length < 2) return <span class="experiment-name">{run.experimentName.value}</span>;
  return (
    <select
      class="input experiment-picker"
      aria-label="Experiment"
      data-testid="experiment-picker"
      value={run.experimentName.value}
      onFocus={() => void listExperiments()}
      onChange={(event) => choose(event.currentTarget.value)}
    >
      {names.map((name) => (
        <option key={name}>{name}</option>
      ))}
    </select>
  );
}

const LINK_WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  waiting: 'Offline',
  resting: 'Resting',
} as const;

function ConnectionPill() {
  const { kind } = linkState.value;
  const missing = kind === 'live' && (run.availability.value?.missing.length ?? 0) > 0;
  return (
    <span class="pill" data-testid="connection" data-state={missing ? 'partial' : kind} role="status">
      <span class={`dot ${missing ? 'partial' : kind}`} />
      {missing ? 'Partial' : LINK_WORDS[kind]}
    </span>
  );
}

function ModeSelector() {
  const shown = run.wantedMode.value ?? run.mode.value;
  const choices = [
    { mode: Mode.TRAIN, label: 'Train', title: 'Weights are updated' },
    { mode: Mode.AUDIT, label: 'Audit', title: 'The loop runs; nothing of the model changes' },
  ];
  return (
    <div
      class="segmented"
      role="radiogroup"
      aria-label="Mode"
      data-testid="header-mode"
      data-mode={Mode[shown]}
    >
      {choices.map(({ mode, label, title }) => (
        // biome-ignore lint/a11y/useSemanticElements: a segmented control of two buttons.
        <button
          key={label}
          type="button"
          role="radio"
          aria-checked={shown === mode}
          title={title}
          class={shown === mode ? 'on' : ''}
          data-testid={`mode-${label.toLowerCase()}`}
          disabled={run.wantedMode.value !== null || !run.status.value}
          onClick={() => shown !== mode && void run.setMode(mode)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

function PauseButton() {
  const state = run.shownState.value;
  const stops = run.target.value === 'running';
  const words = state === 'pending' ? (stops ? 'Resuming …' : 'Pausing …') : stops ? 'Pause' : 'Resume';
  return (
    <button
      type="button"
      class={`button training ${stops ? '' : 'primary'}`}
      data-testid="header-pause"
      data-state={state}
      aria-busy={state === 'pending'}
      disabled={state === 'away' || state === 'finished'}
      title={stops ? 'Pause training (Space)' : 'Resume training (Space)'}
      onClick={run.toggleTraining}
    >
      <Icon name={stops ? 'pause' : 'play'} />
      {words}
    </button>
  );
}

export function Header() {
  return (
    <header class="header">
      <button
        type="button"
        class="icon-button"
        aria-label={panelOpen.value ? 'Hide the panel' : 'Show the panel'}
        aria-pressed={panelOpen.value}
        data-testid="panel-toggle"
        onClick={() => {
          panelOpen.value = !panelOpen.value;
        }}
      >
        <Icon name="panel" />
      </button>
      <h1 class="brand">
        <img src="/favicon.svg" alt="" width="20" height="20" />
        Weights Studio
      </h1>
      <span class="header-rule" />
      <ExperimentPicker />
      <ConnectionPill />
      <span class="spacer" />
      {!canEdit.value && (
        <span class="pill" data-testid="role">
          <Icon name="eye" /> View only
        </span>
      )}
      {canEdit.value ? (
        <>
          <ModeSelector />
          <PauseButton />
        </>
      ) : (
        <span class="pill" data-testid="mode-shown">
          {run.mode.value === Mode.AUDIT ? 'Audit' : 'Train'}
        </span>
      )}
      <span class="header-rule" />
      <button
        type="button"
        class="icon-button"
        title="Refresh (R)"
        aria-label="Refresh"
        data-testid="refresh"
        onClick={refreshNow}
      >
        <Icon name="refresh" />
      </button>
      <RefreshMenu />
      <button
        type="button"
        class="icon-button"
        title="Commands (Ctrl+K)"
        aria-label="Commands"
        data-testid="palette-open"
        onClick={() => {
          overlay.value = 'palette';
        }}
      >
        <Icon name="keyboard" />
      </button>
      <button
        type="button"
        class="icon-button"
        title="Dark mode (D)"
        aria-label="Dark mode"
        aria-pressed={theme.value === 'dark'}
        data-testid="theme-toggle"
        onClick={toggleTheme}
      >
        <Icon name={theme.value === 'dark' ? 'sun' : 'moon'} />
      </button>
    </header>
  );
}
