import { formatValue } from '../grid/format';
import type { Trajectory } from './types';

const WIDTH = 240;
const HEIGHT = 34;

/** Lines of one signal as SVG points, in one frame for all of them. */
export function pointsOf({ lines }: Trajectory): { readonly sample: number; readonly points: string }[] {
  const finite = lines.flatMap(({ values }) => Array.from(values).filter(Number.isFinite));
  const epochs = lines.flatMap((line) => Array.from(line.epochs));
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
  const x = (epoch: number) => ((epoch - first) / (last - first || 1)) * WIDTH;
  const y = (value: number) => 1 + (1 - (value - low) / (high - low || 1)) * (HEIGHT - 2);
  return lines.map((line) => ({
    sample: line.sample,
    points: Array.from(line.values, (value, i) =>
      Number.isFinite(value) ? `${x(line.epochs[i] as number).toFixed(1)},${y(value).toFixed(1)}` : '',
    )
      .filter(Boolean)
      .join(' '),
  }));
}

/** How the values of one or two samples went, epoch by epoch. */
export function Trajectories({ shown }: { readonly shown: readonly Trajectory[] }) {
  if (shown.length === 0) return null;
  return (
    <section class="modal-time" aria-label="Over time">
      {shown.map((one) => {
        const ends = one.lines.flatMap(({ values }) => (values.length ? [values.at(-1) as number] : []));
        const epochs = one.lines.flatMap((line) => Array.from(line.epochs));
        const text = `${one.signal} from epoch ${Math.min(...epochs)} to ${Math.max(...epochs)}`;
        return (
          <figure
            key={one.signal}
            data-testid="trajectory"
            data-signal={one.signal}
            data-points={one.lines.reduce((sum, { values }) => sum + values.length, 0)}
          >
            <figcaption title={text}>
              <bdi>{one.signal}</bdi>
              <span>{ends.map(formatValue).join(' / ')}</span>
            </figcaption>
            <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text}>
              {pointsOf(one).map(({ sample, points }, place) => (
                <polyline key={place} class={sample === 0 ? 'is-first' : 'is-second'} points={points} />
              ))}
            </svg>
          </figure>
        );
      })}
    </section>
  );
}
