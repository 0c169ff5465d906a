import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { tagHue } from '../grid/format';
import type { Painter } from '../grid/types';
import { Dialog } from '../shell/Dialog';
import { Icon } from '../shell/icons';
import { count } from '../shell/numbers';
import { addTag, countOf, deleteTag, targetOf } from '../state/edits';
import { literal } from '../state/queries';
import { counters } from '../state/run';
import { canEdit } from '../state/session';
import { filter, selection, setFilter } from '../state/view';
import { Card } from './Card';

/** The brush, when the painter is on. */
export const painter = signal<Painter | null>(null);
/** Tags that were named here and are on no sample yet. */
const fresh = signal<readonly string[]>([]);
/** The tag that the brush takes when it is switched on. */
const brush = signal('');

export function tagNames(): string[] {
  const known = counters.value?.tags.map(({ tag }) => tag) ?? [];
  return [...known, ...fresh.value.filter((tag) => !known.includes(tag))];
}

export function togglePainter(): void {
  const tag = brush.value || tagNames()[0];
  painter.value = painter.value || !tag ? null : { tag, mode: 'add' };
}

function take(tag: string): void {
  brush.value = tag;
  if (painter.value) painter.value = { ...painter.value, tag };
}

function NewTag() {
  const [text, setText] = useState('');
  const chosen = countOf(selection.value);
  const submit = (event: Event) => {
    event.preventDefault();
    const tag = text.trim();
    if (!tag) return;
    if (!tagNames().includes(tag)) fresh.value = [...fresh.value, tag];
    take(tag);
    setText('');
    if (chosen > 0) void addTag(targetOf(selection.value), tag);
  };
  return (
    <form class="new-tag" onSubmit={submit}>
      <input
        class="input"
        type="text"
        maxLength={64}
        placeholder={chosen > 0 ? `Tag ${count(chosen)} selected …` : 'New tag …'}
        aria-label="New tag"
        data-testid="tag-new"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button
        type="submit"
        class="icon-button bordered"
        aria-label="Add the tag"
        data-testid="tag-add"
        disabled={text.trim() === ''}
      >
        <Icon name="plus" />
      </button>
    </form>
  );
}

function Brush() {
  const on = painter.value;
  return (
    <div class="brush">
      <button
        type="button"
        class={`button small ${on ? 'primary' : ''}`}
        aria-pressed={on !== null}
        title="Paint tags by dragging over samples (P)"
        data-testid="painter-toggle"
        disabled={tagNames().length === 0}
        onClick={togglePainter}
      >
        <Icon name="brush" /> Painter
      </button>
      {on && (
        <>
          <button
            type="button"
            class="button small"
            data-testid="painter-mode"
            data-mode={on.mode}
            title="Switch between adding and removing"
            onClick={() => {
              painter.value = { ...on, mode: on.mode === 'add' ? 'remove' : 'add' };
            }}
          >
            <Icon name={on.mode === 'add' ? 'plus' : 'minus'} />
            {on.mode === 'add' ? 'Adds' : 'Removes'}
          </button>
          <span class="brush-tag" title={on.tag}>
            {on.tag}
          </span>
        </>
      )}
    </div>
  );
}

interface ChipProps {
  readonly tag: string;
  readonly size: number;
  readonly onDelete: () => void;
}

function Chip({ tag, size, onDelete }: ChipProps) {
  const active = painter.value?.tag === tag;
  const query = `tag(${literal(tag)})`;
  const shown = filter.value === query;
  return (
    <span
      class={`chip ${active ? 'active' : ''} ${shown ? 'shown' : ''}`}
      data-testid="tag-chip"
      data-tag={tag}
      data-count={size}
    >
      <button
        type="button"
        class="chip-name"
        title={painter.value ? `Paint “${tag}”` : shown ? 'Show all samples' : `Show samples tagged “${tag}”`}
        onClick={() => {
          take(tag);
          if (!painter.value) void setFilter(shown ? '' : query);
        }}
      >
        <i
          class="swatch"
          ref={(element) => {
            element?.style.setProperty('--hue', String(tagHue(tag)));
          }}
        />
        <bdi>{tag}</bdi>
        <span class="chip-count">{count(size)}</span>
      </button>
      {canEdit.value && (
        <button
          type="button"
          class="chip-delete"
          aria-label={`Delete the tag ${tag}`}
          data-testid="tag-delete"
          onClick={onDelete}
        >
          <Icon name="close" />
        </button>
      )}
    </span>
  );
}

export function TagsCard() {
  const [doomed, setDoomed] = useState<string | null>(null);
  const sizes = new Map(counters.value?.tags.map(({ tag, count: size }) => [tag, Number(size)]) ?? []);
  const names = tagNames();
  const remove = (tag: string) => {
    if ((sizes.get(tag) ?? 0) > 0) {
      setDoomed(tag);
      return;
    }
    fresh.value = fresh.value.filter((other) => other !== tag);
    if (painter.value?.tag === tag) painter.value = null;
    if (brush.value === tag) brush.value = '';
    if (sizes.has(tag)) void deleteTag(tag);
  };
  return (
    <Card name="tags" title="Tags" aside={<span class="quiet">{names.length || ''}</span>}>
      {names.length === 0 && <p class="quiet">A tag marks samples, so that they can be found again.</p>}
      <div class="chips">
        {names.map((tag) => (
          <Chip key={tag} tag={tag} size={sizes.get(tag) ?? 0} onDelete={() => remove(tag)} />
        ))}
      </div>
      {canEdit.value && (
        <>
          <NewTag />
          <Brush />
        </>
      )}
      {doomed !== null && (
        <Dialog title="Delete a tag" testId="tag-delete-dialog" onClose={() => setDoomed(null)}>
          <p>
            Remove “<bdi>{doomed}</bdi>” from {count(sizes.get(doomed) ?? 0)} samples? It can be undone.
          </p>
          <div class="dialog-actions">
            <button type="button" class="button" onClick={() => setDoomed(null)}>
              Keep
            </button>
            <button
              type="button"
              class="button danger"
              data-testid="tag-delete-confirm"
              onClick={() => {
                if (painter.value?.tag === doomed) painter.value = null;
                fresh.value = fresh.value.filter((other) => other !== doomed);
                void deleteTag(doomed);
                setDoomed(null);
              }}
            >
              Delete
            </button>
          </div>
        </Dialog>
      )}
    </Card>
  );
}
