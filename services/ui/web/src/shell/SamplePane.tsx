import { computed } from '@preact/signals';
import { keyOf } from '../grid/selection';
import { SampleModal } from '../modal/SampleModal';
import { IMAGE_PX } from '../modal/types';
import { OverlaySwitch } from '../panels/OverlayControls';
import { tagNames } from '../panels/TagsCard';
import { addTag, discard, removeTag, restore } from '../state/edits';
import { drawMask, splitView } from '../state/masks';
import * as sample from '../state/sample';
import { canEdit } from '../state/session';
import { trajectories } from '../state/trajectories';

/** Draws over the open sample; one function per sample and look. */
const masked = computed(() => {
  const [draw, shown] = [drawMask.value, sample.opened.value];
  return draw && shown ? (sizePx: number, slice: number) => draw(shown, sizePx, slice) : null;
});
const previous = () => void sample.step(-1);
const next = () => void sample.step(1);

export function SamplePane() {
  const shown = sample.detail.value;
  if (!shown) return null;
  const target = { kind: 'samples', keys: [keyOf(shown)] } as const;
  const then = (edit: Promise<boolean>) => void edit.then(sample.refreshSample);
  return (
    <SampleModal
      sample={sample.place.value ? { ...shown, position: sample.place.value } : shown}
      imageUrl={(sizePx: number, slice: number) => sample.mediaUrl(shown, sizePx, 'image', slice)}
      prefetchUrls={sample.neighbourUrls(IMAGE_PX)}
      onPrevious={sample.canStep(-1) ? previous : null}
      onNext={sample.canStep(1) ? next : null}
      onClose={sample.close}
      onTagAdd={(tag) => then(addTag(target, tag))}
      onTagRemove={(tag) => then(removeTag(target, tag))}
      onDiscard={() => then(discard(target))}
      onRestore={() => then(restore(target))}
      knownTags={tagNames()}
      readOnly={!canEdit.value}
      trajectories={trajectories.value}
      drawMask={masked.value}
      splitView={splitView.value}
      overlaySwitch={<OverlaySwitch />}
    />
  );
}
