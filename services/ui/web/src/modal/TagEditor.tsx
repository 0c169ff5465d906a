import { useId, useRef, useState } from 'preact/hooks';
import { tagHue } from '../grid/format';

/** The tags of a sample as chips, and a field for more. */
export function TagEditor(props: {
  readonly tags: readonly string[];
  readonly knownTags: readonly string[];
  readonly tagColor: ((tag: string) => string) | undefined;
  readonly readOnly: boolean;
  readonly onAdd: (tag: string) => void;
  readonly onRemove: (tag: string) => void;
}) {
  const { tags, knownTags, tagColor, readOnly, onAdd, onRemove } = props;
  const [text, setText] = useState('');
  const input = useRef<HTMLInputElement>(null);
  const listId = useId();
  const add = () => {
    const tag = text.trim();
    if (tag === '') return;
    if (!tags.includes(tag)) onAdd(tag);
    setText('');
  };
  const paint = (chip: HTMLElement | null, tag: string) => {
    if (tagColor) chip?.style.setProperty('--tag', tagColor(tag));
    else chip?.style.setProperty('--hue', String(tagHue(tag)));
  };
  return (
    <section class="modal-tags" aria-label="Tags of this sample">
      {tags.length === 0 && readOnly && <p class="modal-empty">No tags.</p>}
      <div class="modal-chips">
        {tags.map((tag) => (
          <span
            key={tag}
            ref={(chip) => paint(chip, tag)}
            class="modal-chip"
            data-testid="modal-tag"
            data-tag={tag}
          >
            <span class="modal-chip-text">{tag}</span>
            {!readOnly && (
              <button type="button" aria-label={`Remove the tag ${tag}`} onClick={() => onRemove(tag)}>
                ×
              </button>
            )}
          </span>
        ))}
        {!readOnly && (
          <input
            ref={input}
            value={text}
            maxLength={64}
            placeholder="Add tag"
            aria-label="Add tag"
            list={listId}
            data-testid="modal-tag-input"
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter') {
                event.preventDefault();
                add();
              } else if (event.key === 'Escape' && text !== '') {
                event.stopPropagation();
                setText('');
              }
            }}
          />
        )}
      </div>
      <datalist id={listId}>
        {knownTags
          .filter((tag) => !tags.includes(tag))
          .map((tag) => (
            <option key={tag} value={tag} />
          ))}
      </datalist>
    </section>
  );
}
