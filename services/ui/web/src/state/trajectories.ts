import { effect, signal, untracked } from '@preact/signals';
import { float32s, int64s } from '../api/columns';
import type { SampleDetail, Trajectory } from '../modal/types';
import { Mode } from '../proto/weightslab/v1/common_pb';
import { experimentName } from './run';
import { detail, type SampleName } from './sample';
import { api } from './session';

/** More would leave no room for the metadata. */
const MAX_SIGNALS = 4;

/** The values of the open sample over time. */
export const trajectories = signal<readonly Trajectory[]>([]);

/** The signals that a sample has values of, without statistics and audits. */
export function signalsOf(sample: SampleDetail): string[] {
  const names = sample.fields.filter(({ group }) => group === 'signal').map(({ name }) => name);
  return names
    .filter((name) => !name.endsWith(':audit') && !names.some((other) => name.startsWith(`${other}.`)))
    .slice(0, MAX_SIGNALS);
}

/** By epoch, a line for each sample and branch. A signal without kept values is left out. */
export async function fetchTrajectories(
  samples: readonly SampleName[],
  signals: readonly string[],
): Promise<Trajectory[]> {
  const replies = await Promise.all(
    signals.map(async (name) => {
      const reply = await api()
        .signals.getTrajectories({
          experiment: experimentName.value,
          signal: name,
          mode: Mode.TRAIN,
          samples: samples.map(({ split, uid }) => ({ split, uid })),
        })
        .catch(() => null);
      const lines = (reply?.trajectories ?? []).map(({ sample, positions, values }) => ({
        sample,
        epochs: int64s(positions, name),
        values: float32s(values, name),
      }));
      return { signal: name, lines };
    }),
  );
  return replies.filter(({ lines }) => lines.some(({ values }) => values.length > 1));
}

/** Follows the open sample. */
export function followTrajectories(): void {
  let turn = 0;
  let shown = '';
  effect(() => {
    const sample = detail.value;
    const now = ++turn;
    const subject = sample ? `${sample.split}\u0000${sample.uid}` : '';
    if (subject !== shown) trajectories.value = [];
    shown = subject;
    if (!sample) return;
    untracked(() => {
      void fetchTrajectories([sample], signalsOf(sample)).then((found) => {
        if (now === turn) trajectories.value = found;
      });
    });
  });
}
