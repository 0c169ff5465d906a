import { computed, signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { Icon } from '../shell/icons';
import { literal, quoted, terms, withoutTerm, withTerm } from '../state/queries';
import { columns, filter, loading, queryError, setFilter, splits } from '../state/view';
import { type Completion, suggest } from './completion';
import { SortPicker } from './SortPicker';
import { tagNames } from './TagsCard';

/** Filters that a click adds or takes away. */
const quick = computed(() => [
  ...splits.value.map(({ split }) => ({ label: split, term: `split == ${literal(split)}` })),
  { label: 'active', term: 'not discarded' },
  { label: 'discarded', term: 'discarded' },
]);

/** What stands in the box; the filter is what was accepted of it. */
const draft = signal('');

function Marked({ text, position }: { readonly text: string; readonly position: number | null }) {
  if (position === null) return null;
  return (
    <code class="query-mark" data-testid="query-mark" data-position={position}>
      {text.slice(0, position)}
      <mark>{text.slice(position, position + 1) || ' '}</mark>
      {text.slice(position + 1)}
    </code>
  );
}

interface ListProps {
  readonly items: readonly Completion[];
  readonly chosen: number;
  readonly onChoose: (index: number) => void;
}

function CompletionList({ items, chosen, onChoose }: ListProps) {
  return (
    <div id="query-completions" class="completions" role="listbox" data-testid="query-completions">
      {items.map((item, index) => (
        // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the box, which names the option.
        <div
          key={`${item.kind} ${item.label}`}
          id={`completion-${index}`}
          role="option"
          aria-selected={index === chosen}
          class={`completion ${index === chosen ? 'on' : ''}`}
          onPointerDown={(event) => {
            event.preventDefault();
            onChoose(index);
          }}
        >
          <bdi>{item.label}</bdi>
          <span class="quiet">{item.kind}</span>
        </div>
      ))}
    </div>
  );
}

export function QueryBar() {
  const input = useRef<HTMLInputElement>(null);
  const cursor = useSignal(-1);
  const chosen = useSignal(-1);

  useEffect(
    () =>
      filter.subscribe((accepted) => {
        draft.value = accepted;
        cursor.value = -1;
      }),
    [],
  );

  const offered =
    cursor.value < 0
      ? null
      : suggest(
          draft.value,
          cursor.value,
          { columns: columns.value.map(({ name }) => name), tags: tagNames() },
          { column: quoted, text: literal },
        );
  const items = offered?.items ?? [];

  const submit = (text: string) => {
    cursor.value = -1;
    void setFilter(text);
  };
  const complete = (index: number) => {
    const item = items[index];
    if (!offered || !item || !input.current) return;
    draft.value = draft.value.slice(0, offered.from) + item.insert + draft.value.slice(offered.to);
    const end = offered.from + item.insert.length;
    cursor.value = -1;
    chosen.value = -1;
    const box = input.current;
    requestAnimationFrame(() => box.setSelectionRange(end, end));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      if (items.length === 0) return;
      const step = event.key === 'ArrowDown' ? 1 : -1;
      chosen.value = (chosen.value + step + items.length) % items.length;
      event.preventDefault();
    } else if (event.key === 'Tab' && items.length > 0) {
      complete(Math.max(0, chosen.value));
      event.preventDefault();
    } else if (event.key === 'Enter') {
      if (chosen.value >= 0) complete(chosen.value);
      else submit(draft.value);
      event.preventDefault();
    } else if (event.key === 'Escape') {
      if (items.length > 0) cursor.value = -1;
      else {
        draft.value = filter.value;
        queryError.value = null;
        input.current?.blur();
      }
      event.stopPropagation();
    }
  };
  const toggle = (term: string) => {
    const now = filter.value;
    submit(terms(now).includes(term) ? withoutTerm(now, term) : withTerm(now, term));
  };

  // What is being mended is no longer what was refused.
  const error = queryError.value?.filter === draft.value.trim() ? queryError.value : null;
  const active = terms(filter.value);
  return (
    <div class="query">
      <div class="query-line">
        <div class={`query-box ${error ? 'invalid' : ''} ${loading.value ? 'busy' : ''}`}>
          <Icon name="search" />
          <input
            ref={input}
            id="query"
            type="text"
            role="combobox"
            autocomplete="off"
            spellcheck={false}
            placeholder='Filter: loss > 2 and tag("hard") and not discarded'
            aria-label="Filter"
            aria-invalid={error !== null}
            aria-expanded={items.length > 0}
            aria-controls="query-completions"
            aria-describedby={error ? 'query-error' : undefined}
            aria-activedescendant={chosen.value >= 0 ? `completion-${chosen.value}` : undefined}
            maxLength={2000}
            data-testid="query-input"
            value={draft.value}
            onInput={(event) => {
              draft.value = event.currentTarget.value;
              cursor.value = event.currentTarget.selectionStart ?? -1;
              chosen.value = -1;
            }}
            onKeyDown={onKeyDown}
            onBlur={() => {
              cursor.value = -1;
            }}
          />
          {(draft.value || filter.value) && (
            <button
              type="button"
              class="icon-button small"
              aria-label="Clear the filter"
              data-testid="query-clear"
              onClick={() => {
                draft.value = '';
                submit('');
              }}
            >
              <Icon name="close" />
            </button>
          )}
          {items.length > 0 && <CompletionList items={items} chosen={chosen.value} onChoose={complete} />}
        </div>
        <fieldset class="quick" aria-label="Quick filters">
          {quick.value.map(({ label, term }) => (
            <button
              key={term}
              type="button"
              class="quick-chip"
              aria-pressed={active.includes(term)}
              title={term}
              data-testid="quick-filter"
              onClick={() => toggle(term)}
            >
              {label}
            </button>
          ))}
        </fieldset>
        <SortPicker />
      </div>
      {error && (
        <div id="query-error" class="query-error" role="alert" data-testid="query-error">
          <Marked text={error.filter} position={error.position} />
          <span>{error.text}</span>
        </div>
      )}
    </div>
  );
}
