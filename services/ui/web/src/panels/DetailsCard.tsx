import { useState } from 'preact/hooks';
import type { ColumnInfo } from '../proto/weightslab/v1/sample_pb';
import { quoted, sortedBy } from '../state/queries';
import { cellSizePx, chosenSplitColors, PALETTE, resolutionPx } from '../state/settings';
import { columnKinds, columns, fields, setFields, setSort, sort, splits } from '../state/view';
import { Card } from './Card';
import { OverlayControls } from './OverlayControls';

const GROUPS = [
  { group: 'metadata', title: 'Metadata' },
  { group: 'signal', title: 'Signals' },
  { group: 'score', title: 'Scores' },
  { group: 'identity', title: 'Identity' },
];
const MANY = 12;

export function splitColor(split: string, index: number): string {
  return chosenSplitColors.value[split] ?? PALETTE[index % PALETTE.length] ?? '#888888';
}

function Sizes() {
  const [cell, setCell] = useState(cellSizePx.value);
  const [resolution, setResolution] = useState(resolutionPx.value);
  const same = cell === cellSizePx.value && resolution === resolutionPx.value;
  const apply = (event: Event) => {
    event.preventDefault();
    cellSizePx.value = cell;
    resolutionPx.value = resolution;
  };
  return (
    <form class="sizes" onSubmit={apply}>
      <label class="slider-row">
        <span>Cell size</span>
        <output class="quiet">{cell} px</output>
        <input
          type="range"
          min={40}
          max={320}
          step={4}
          data-testid="cell-size"
          value={cell}
          onInput={(event) => setCell(event.currentTarget.valueAsNumber)}
        />
      </label>
      <label class="slider-row">
        <span>Resolution</span>
        <output class="quiet">{resolution} px</output>
        <input
          type="range"
          min={16}
          max={512}
          step={16}
          data-testid="resolution"
          value={resolution}
          onInput={(event) => setResolution(event.currentTarget.valueAsNumber)}
        />
      </label>
      <button type="submit" class="button small" data-testid="details-apply" disabled={same}>
        Apply
      </button>
    </form>
  );
}

function SplitColors() {
  if (splits.value.length === 0) return null;
  return (
    <div class="group">
      <h3>Split colours</h3>
      {splits.value.map(({ split, sampleCount }, index) => (
        <label key={split} class="color-row">
          <input
            type="color"
            data-testid="split-color"
            data-split={split}
            value={splitColor(split, index)}
            onChange={(event) => {
              chosenSplitColors.value = { ...chosenSplitColors.value, [split]: event.currentTarget.value };
            }}
          />
          <bdi>{split}</bdi>
          <span class="quiet">{sampleCount.toLocaleString('en')}</span>
        </label>
      ))}
    </div>
  );
}

function Field({ column }: { readonly column: ColumnInfo }) {
  const { name, description } = column;
  const shown = fields.value.includes(name);
  const key = sort.value.find((other) => other.column === name);
  return (
    <div class="field-row">
      <label class="check" title={description || quoted(name)}>
        <input
          type="checkbox"
          data-testid="field-toggle"
          data-field={name}
          checked={shown}
          onChange={() =>
            setFields(shown ? fields.value.filter((other) => other !== name) : [...fields.value, name])
          }
        />
        <bdi>{name}</bdi>
      </label>
      <button
        type="button"
        class={`link field-sort ${key ? 'on' : ''}`}
        aria-label={`Sort by ${name}`}
        data-testid="field-sort"
        data-field={name}
        title={`Sort by ${name}; with Shift by it after the others`}
        onClick={(event) => void setSort(sortedBy(sort.value, name, event.shiftKey))}
      >
        {key ? (key.descending ? '↓' : '↑') : 'sort'}
        {key && sort.value.length > 1 && <sub>{sort.value.indexOf(key) + 1}</sub>}
      </button>
    </div>
  );
}

function Fields() {
  const [search, setSearch] = useState('');
  const wished = search.trim().toLowerCase();
  // Statistics are many: they show when they are looked for or shown on the cells.
  const offered = wished
    ? columns.value
    : [
        ...columnKinds.value.main,
        ...columnKinds.value.statistics.filter(({ name }) => fields.value.includes(name)),
      ];
  const found = offered.filter(({ name }) => name.toLowerCase().includes(wished));
  return (
    <div class="group">
      <h3>Fields on the cells</h3>
      {columns.value.length > MANY && (
        <input
          type="search"
          class="input"
          placeholder="Find a field …"
          aria-label="Find a field"
          data-testid="field-search"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      )}
      <div class="fields">
        {GROUPS.map(({ group, title }) => {
          const members = found.filter((column) => column.group === group);
          if (members.length === 0) return null;
          return (
            <fieldset key={group}>
              <legend>{title}</legend>
              {members.map((column) => (
                <Field key={column.name} column={column} />
              ))}
            </fieldset>
          );
        })}
      </div>
    </div>
  );
}

export function DetailsCard() {
  return (
    <Card name="details" title="Details">
      <Sizes />
      <OverlayControls />
      <Fields />
      <SplitColors />
    </Card>
  );
}
