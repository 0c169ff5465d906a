import { type Signal, useSignal } from '@preact/signals';
import * as settings from '../state/settings';
import { Icon } from './icons';
import { Popover } from './Popover';

interface PaceProps {
  readonly name: string;
  readonly label: string;
  readonly auto: Signal<boolean>;
  readonly secs: Signal<number>;
  readonly choices: readonly number[];
}

function Pace({ name, label, auto, secs, choices }: PaceProps) {
  return (
    <div class="setting-row">
      <label class="check">
        <input
          type="checkbox"
          data-testid={`refresh-${name}-auto`}
          checked={auto.value}
          onChange={(event) => {
            auto.value = event.currentTarget.checked;
          }}
        />
        {label}
      </label>
      <label class="unit">
        every
        <select
          class="input"
          aria-label={`${label}: interval`}
          data-testid={`refresh-${name}-interval`}
          disabled={!auto.value}
          value={String(secs.value)}
          onChange={(event) => {
            secs.value = Number(event.currentTarget.value);
          }}
        >
          {choices.map((choice) => (
            <option key={choice} value={String(choice)}>
              {choice} s
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}

/** How often the page follows what is known, and what it does before an edit. */
export function RefreshMenu() {
  const looksToo = useSignal(false);
  return (
    <Popover label={<Icon name="sliders" />} title="Refresh settings" testId="refresh-settings">
      <h2>Refresh</h2>
      <Pace
        name="data"
        label="Samples"
        auto={settings.dataAuto}
        secs={settings.dataIntervalSecs}
        choices={[1, 2, 5, 10, 30]}
      />
      <Pace
        name="plot"
        label="Plots"
        auto={settings.plotAuto}
        secs={settings.plotIntervalSecs}
        choices={[0.1, 0.2, 0.5, 1, 2, 5, 10]}
      />
      <p class="quiet">What is off stays as it is until you refresh. Values arrive all the same.</p>
      <h2>Edits</h2>
      <label class="check">
        <input
          type="checkbox"
          data-testid="pause-before-edit"
          checked={settings.pauseBeforeEdit.value}
          onChange={(event) => {
            settings.pauseBeforeEdit.value = event.currentTarget.checked;
          }}
        />
        Pause training before an edit
      </label>
      <hr />
      <button
        type="button"
        class="button wide"
        data-testid="clear-cache"
        onClick={() => void settings.clearCacheAndReload(looksToo.value)}
      >
        Clear cache and reload
      </button>
      <label class="check">
        <input
          type="checkbox"
          data-testid="clear-looks"
          checked={looksToo.value}
          onChange={(event) => {
            looksToo.value = event.currentTarget.checked;
          }}
        />
        Theme and colours, too
      </label>
    </Popover>
  );
}
