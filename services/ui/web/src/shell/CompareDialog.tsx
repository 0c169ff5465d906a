import { useEffect, useState } from 'preact/hooks';
import { reason } from '../api/client';
import { sampleOf } from '../grid/selection';
import { shortText } from '../modal/fields';
import { Trajectories } from '../modal/Trajectories';
import type { SampleDetail, Trajectory } from '../modal/types';
import { fetchDetail, mediaUrl } from '../state/sample';
import { say } from '../state/toasts';
import { fetchTrajectories, signalsOf } from '../state/trajectories';
import { selection } from '../state/view';
import { Dialog } from './Dialog';

const IMAGE_PX = 512;

/** The two selected samples side by side: images, values that differ, values over time. */
export function CompareDialog({ onClose }: { readonly onClose: () => void }) {
  const [pair, setPair] = useState<readonly SampleDetail[]>([]);
  const [lines, setLines] = useState<readonly Trajectory[]>([]);
  useEffect(() => {
    let live = true;
    const names = [...selection.value.keys].slice(0, 2).map(sampleOf);
    void Promise.all(names.map(fetchDetail))
      .then(async (found) => {
        if (!live) return;
        setPair(found);
        const signals = new Set(found.flatMap(signalsOf));
        const drawn = await fetchTrajectories(names, [...signals]);
        if (live) setLines(drawn);
      })
      .catch((error) => {
        say(`The samples could not be fetched: ${reason(error)}`, { kind: 'bad' });
        onClose();
      });
    return () => {
      live = false;
    };
  }, []);
  const [first, second] = pair;
  const names = new Set(pair.flatMap(({ fields }) => fields.map(({ name }) => name)));
  const text = (sample: SampleDetail | undefined, name: string) =>
    shortText(sample?.fields.find((field) => field.name === name)?.value ?? Number.NaN);
  return (
    <Dialog title="Two samples" testId="compare" wide onClose={onClose}>
      {pair.length === 0 && <p class="quiet">Fetching both samples …</p>}
      <div class="compare-images">
        {pair.map((sample) => (
          <figure key={`${sample.split} ${sample.uid}`}>
            <img src={mediaUrl(sample, IMAGE_PX)} alt={`Sample ${sample.uid} of ${sample.split}`} />
            <figcaption data-testid="compare-sample" data-uid={sample.uid}>
              <strong>{sample.uid}</strong> <span class="quiet">{sample.split}</span>
              {sample.discarded && <span class="quiet"> discarded</span>}
              {sample.tags.length > 0 && <span class="quiet"> · {sample.tags.join(', ')}</span>}
            </figcaption>
          </figure>
        ))}
      </div>
      <Trajectories shown={lines} />
      <table class="compare-table">
        <tbody>
          {[...names].map((name) => {
            const [left, right] = [text(first, name), text(second, name)];
            return (
              <tr key={name} class={left === right ? 'quiet' : ''}>
                <th scope="row">{name}</th>
                <td>{left}</td>
                <td>{right}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Dialog>
  );
}
