import { useState } from 'preact/hooks';
import { Icon } from '../shell/icons';
import { ago, bytes, count } from '../shell/numbers';
import { checkpoints, loadCheckpoint, saveCheckpoint, status } from '../state/run';

const SHOWN = 5;

/** Saved steps, newest first. */
export function Checkpoints({ readOnly }: { readonly readOnly: boolean }) {
  const [all, setAll] = useState(false);
  const newest = [...checkpoints.value].reverse();
  const shown = all ? newest : newest.slice(0, SHOWN);
  const nameOf = (id: string) => status.value?.branches.find(({ branch }) => branch === id)?.name || id;
  return (
    <div class="group" data-testid="checkpoints">
      <div class="group-head">
        <h3>Checkpoints</h3>
        {!readOnly && (
          <button
            type="button"
            class="button small"
            data-testid="checkpoint-save"
            disabled={!status.value}
            onClick={() => void saveCheckpoint()}
          >
            <Icon name="save" /> Save
          </button>
        )}
      </div>
      {shown.length === 0 && <p class="quiet">None saved yet.</p>}
      <ul class="rows">
        {shown.map(({ branch, step, createdUnixMs, sizeBytes }) => (
          <li
            key={`${branch} ${step}`}
            class="rows-item"
            data-testid="checkpoint"
            data-branch={branch}
            data-step={String(step)}
          >
            <span>
              {nameOf(branch)} · {count(step)}
            </span>
            <span class="quiet parts" title={new Date(Number(createdUnixMs)).toLocaleString()}>
              <span>{ago(Number(createdUnixMs), Date.now())}</span>
              <span>{bytes(Number(sizeBytes))}</span>
            </span>
            {!readOnly && (
              <button
                type="button"
                class="link"
                data-testid="checkpoint-load"
                onClick={() => void loadCheckpoint(branch, Number(step))}
              >
                Load
              </button>
            )}
          </li>
        ))}
      </ul>
      {newest.length > SHOWN && (
        <button type="button" class="link" onClick={() => setAll(!all)}>
          {all ? 'Show fewer' : `Show all ${newest.length}`}
        </button>
      )}
    </div>
  );
}
