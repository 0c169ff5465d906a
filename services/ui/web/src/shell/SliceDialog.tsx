import { useEffect, useState } from 'preact/hooks';
import { tagNames } from '../panels/TagsCard';
import { PlotCard } from '../plots/PlotCard';
import { DEFAULT_LOOK, flipped } from '../plots/settings';
import type { CurveData, CurveKey } from '../plots/types';
import { counters } from '../state/run';
import { theme } from '../state/settings';
import { broken, followSlices, type Slices } from '../state/slices';
import { Dialog } from './Dialog';

const MOST_AT_FIRST = 6;
const LOOK = { ...DEFAULT_LOOK, smoothing: 0, markers: false };
const NONE: ReadonlyMap<string, readonly number[]> = new Map();
const nothing = () => {};
const complete = (): Promise<CurveData> => Promise.reject(new Error('slices hold every point they have'));

function Broken({ curve }: { readonly curve: CurveKey }) {
  const [tags, setTags] = useState<readonly string[]>(() => tagNames().slice(0, MOST_AT_FIRST));
  const [slices, setSlices] = useState<Slices | null>(null);
  const [hidden, setHidden] = useState<readonly string[]>([]);
  const [hover, setHover] = useState<{ set: (step: number | null) => void } | null>(null);
  useEffect(() => followSlices(curve, tags, setSlices), [curve, tags]);
  const curves = (slices?.curves ?? []).map((one) => ({ ...one, hidden: hidden.includes(one.id) }));
  return (
    <Dialog
      title={`${curve.signal} by slices`}
      testId="slices"
      wide
      onClose={() => {
        broken.value = null;
      }}
    >
      <fieldset class="slice-tags" aria-label="Slices">
        {tagNames().map((tag) => (
          <button
            key={tag}
            type="button"
            class="quick-chip"
            aria-pressed={tags.includes(tag)}
            data-testid="slice-tag"
            data-tag={tag}
            onClick={() => setTags(flipped(tags, tag))}
          >
            <bdi>{tag}</bdi>
          </button>
        ))}
        {counters.value?.tags.length === 0 && <p class="quiet">Tag samples to see their mean apart.</p>}
      </fieldset>
      {(!slices || slices.error) && (
        <p class={slices ? 'field-error' : 'quiet'} role="status">
          {slices?.error ?? 'Computing the means …'}
        </p>
      )}
      <div class="slice-plot">
        <PlotCard
          signal={curve.signal}
          bare
          curves={curves}
          branches={[]}
          checkpoints={NONE}
          edits={NONE}
          look={LOOK}
          theme={theme.value}
          pinned={false}
          full={false}
          scrolls={() => false}
          fetchRange={complete}
          onHover={(step) => hover?.set(step)}
          onToggle={(id) => setHidden(flipped(hidden, id))}
          onError={nothing}
          onChart={(_, chart) => setHover(chart && { set: (step) => chart.setHover(step) })}
          onAction={nothing}
          onMenu={nothing}
        />
      </div>
    </Dialog>
  );
}

/** A signal apart by the tags of its samples. */
export function SliceDialog() {
  const curve = broken.value;
  return curve && <Broken key={`${curve.signal} ${curve.mode}`} curve={curve} />;
}
