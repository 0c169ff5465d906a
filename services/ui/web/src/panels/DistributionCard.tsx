import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { count, measure } from '../shell/numbers';
import { facetColumn, type Histogram, histogram, histogramError, setFacetColumn } from '../state/facets';
import { literal, quoted, terms, withoutTerm, withTerm } from '../state/queries';
import { columnKinds, filter, setFilter } from '../state/view';
import { Card } from './Card';

const WIDTH = 240;
const HEIGHT = 56;
const MAX_CATEGORIES = 12;

type Numbers = Extract<Histogram, { kind: 'numbers' }>;
type Texts = Extract<Histogram, { kind: 'texts' }>;

/** A bound with four digits, moved outwards so that no value of the bin is lost. */
export function bound(value: number, upwards: boolean): number {
  if (value === 0 || !Number.isFinite(value)) return value;
  const scale = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  const scaled = (upwards ? Math.ceil(value / scale) : Math.floor(value / scale)) * scale;
  return Number(scaled.toPrecision(6));
}

function Bars({ column, shown }: { readonly column: string; readonly shown: Numbers }) {
  const root = useRef<SVGSVGElement>(null);
  const drag = useSignal<{ readonly from: number; readonly to: number } | null>(null);
  const { edges, counts } = shown;
  const bins = counts.length;
  const most = Math.max(1, ...counts);
  const binAt = (x: number) => {
    const box = root.current?.getBoundingClientRect();
    if (!box) return 0;
    return Math.max(0, Math.min(bins - 1, Math.floor(((x - box.left) / box.width) * bins)));
  };
  const within = (bin: number) =>
    drag.value !== null &&
    bin >= Math.min(drag.value.from, drag.value.to) &&
    bin <= Math.max(drag.value.from, drag.value.to);
  const choose = () => {
    if (!drag.value) return;
    const [first, last] = [
      Math.min(drag.value.from, drag.value.to),
      Math.max(drag.value.from, drag.value.to),
    ];
    drag.value = null;
    const [low, high] = [edges[first] ?? 0, edges[last + 1] ?? 0];
    // The last bin holds its upper edge.
    const below = last === bins - 1 ? '<=' : '<';
    const name = quoted(column);
    void setFilter(
      withTerm(
        withTerm(filter.value, `${name} >= ${bound(low, false)}`),
        `${name} ${below} ${bound(high, true)}`,
      ),
    );
  };
  return (
    <>
      <svg
        ref={root}
        class="histogram"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Distribution of ${column} from ${measure(edges[0] ?? 0)} to ${measure(edges[bins] ?? 0)}`}
        data-testid="histogram"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          const bin = binAt(event.clientX);
          drag.value = { from: bin, to: bin };
        }}
        onPointerMove={(event) => {
          if (drag.value) drag.value = { ...drag.value, to: binAt(event.clientX) };
        }}
        onPointerUp={choose}
        onPointerCancel={() => {
          drag.value = null;
        }}
      >
        {Array.from(counts, (size, bin) => {
          const height = size > 0 ? Math.max(1.5, (Math.sqrt(size) / Math.sqrt(most)) * HEIGHT) : 0;
          return (
            <rect
              key={bin}
              class={within(bin) ? 'on' : ''}
              x={(bin * WIDTH) / bins + 0.5}
              y={HEIGHT - height}
              width={Math.max(0.5, WIDTH / bins - 1)}
              height={height}
            >
              <title>{`${measure(edges[bin] ?? 0)} to ${measure(edges[bin + 1] ?? 0)}: ${count(size)}`}</title>
            </rect>
          );
        })}
      </svg>
      <div class="histogram-ends quiet">
        <span>{measure(edges[0] ?? Number.NaN)}</span>
        <span>drag to filter</span>
        <span>{measure(edges[bins] ?? Number.NaN)}</span>
      </div>
    </>
  );
}

function Categories({ column, shown }: { readonly column: string; readonly shown: Texts }) {
  const most = Math.max(1, ...shown.counts);
  const active = terms(filter.value);
  return (
    <ul class="rows">
      {shown.categories.slice(0, MAX_CATEGORIES).map((category, index) => {
        const term = `${quoted(column)} == ${literal(category)}`;
        const size = shown.counts[index] ?? 0;
        const on = active.includes(term);
        return (
          <li key={category}>
            <button
              type="button"
              class={`category ${on ? 'on' : ''}`}
              aria-pressed={on}
              data-testid="category"
              onClick={() =>
                void setFilter(on ? withoutTerm(filter.value, term) : withTerm(filter.value, term))
              }
            >
              <progress class="category-bar" value={size} max={most} aria-hidden="true" />
              <bdi>{category || '(empty)'}</bdi>
              <span class="quiet">{count(size)}</span>
            </button>
          </li>
        );
      })}
      {shown.categories.length > MAX_CATEGORIES && (
        <li class="quiet">and {count(shown.categories.length - MAX_CATEGORIES)} more values</li>
      )}
    </ul>
  );
}

/** How the values of a column are spread over the samples that match. */
export function DistributionCard() {
  const column = facetColumn();
  const { main, statistics } = columnKinds.value;
  const shown = histogram.value;
  return (
    <Card name="distribution" title="Distribution">
      <select
        class="input wide"
        aria-label="Column"
        data-testid="distribution-column"
        value={column}
        onChange={(event) => setFacetColumn(event.currentTarget.value)}
      >
        {main.map(({ name }) => (
          <option key={name}>{name}</option>
        ))}
        <optgroup label="Statistics">
          {statistics.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </optgroup>
      </select>
      {histogramError.value && <p class="field-error">{histogramError.value}</p>}
      {shown?.kind === 'numbers' && shown.counts.length > 0 && <Bars column={column} shown={shown} />}
      {shown?.kind === 'texts' && <Categories column={column} shown={shown} />}
      {shown && shown.missing > 0 && <p class="quiet">{count(shown.missing)} samples have no value yet.</p>}
    </Card>
  );
}
