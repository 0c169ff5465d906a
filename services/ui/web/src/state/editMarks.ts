import { signal } from '@preact/signals';
import type { Checkpoint } from '../plots/types';
import type { Edit } from '../proto/weightslab/v1/sample_pb';
import { experimentName } from './run';
import { api } from './session';

const MAX_KEPT = 1_000;

/** Where on the curves edits took effect: the first step that obeyed each. */
export const editMarks = signal<readonly Checkpoint[]>([]);

function marksOf(edits: readonly Edit[]): Checkpoint[] {
  return edits.flatMap(({ effectiveStep, effectiveBranch }) =>
    effectiveStep === undefined ? [] : [{ branch: effectiveBranch, step: Number(effectiveStep) }],
  );
}

export function noteEdits(edits: readonly Edit[]): void {
  const fresh = marksOf(edits);
  if (fresh.length > 0) editMarks.value = [...editMarks.value, ...fresh].slice(-MAX_KEPT);
}

/** Those of the newest edits; without them the curves only lack their marks. */
export async function loadEditMarks(): Promise<void> {
  const experiment = experimentName.value;
  const reply = await api()
    .samples.listEdits({ experiment, limit: MAX_KEPT, newestFirst: true })
    .catch(() => null);
  if (reply && experiment === experimentName.value) editMarks.value = marksOf(reply.edits);
}
