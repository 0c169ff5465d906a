import { useEffect, useState } from 'preact/hooks';
import { reason } from '../api/client';
import { Dialog } from '../shell/Dialog';
import { Icon } from '../shell/icons';
import { count } from '../shell/numbers';
import { addTag, countOf, removeTag, summarize, targetOf } from '../state/edits';
import { liveRevision, selection } from '../state/view';
import { tagNames } from './TagsCard';

interface RowProps {
  readonly tag: string;
  readonly members: number;
  readonly all: number;
  readonly onToggle: (add: boolean) => void;
}

function Row({ tag, members, all, onToggle }: RowProps) {
  const full = members > 0 && members >= all;
  return (
    <label class="check tag-row" data-testid="tag-row" data-tag={tag}>
      <input
        type="checkbox"
        checked={full}
        ref={(element) => {
          if (element) element.indeterminate = members > 0 && !full;
        }}
        onChange={() => onToggle(!full)}
      />
      <bdi>{tag}</bdi>
      <span class="quiet">
        {count(members)} of {count(all)}
      </span>
    </label>
  );
}

/** The tags of the selected samples; a tick is an edit. */
export function TagManager({ onClose }: { readonly onClose: () => void }) {
  const [members, setMembers] = useState<ReadonlyMap<string, number> | null>(null);
  const [error, setError] = useState('');
  const [text, setText] = useState('');
  const [edits, setEdits] = useState(0);
  const wished = targetOf(selection.value);
  const all = countOf(selection.value);

  useEffect(() => {
    let current = true;
    summarize(wished).then(
      (reply) =>
        current && setMembers(new Map(reply.tags.map(({ tag, count: size }) => [tag, Number(size)]))),
      (failure) => current && setError(reason(failure)),
    );
    return () => {
      current = false;
    };
  }, [edits, liveRevision.value]);

  const edit = (tag: string, add: boolean) =>
    void (add ? addTag(wished, tag) : removeTag(wished, tag)).then(() => setEdits((now) => now + 1));
  const submit = (event: Event) => {
    event.preventDefault();
    if (!text.trim()) return;
    edit(text.trim(), true);
    setText('');
  };
  return (
    <Dialog title={`Tags of ${count(all)} selected`} testId="tag-manager" onClose={onClose}>
      {error && (
        <p class="field-error" role="alert">
          {error}
        </p>
      )}
      <div class="tag-rows">
        {tagNames().map((tag) => (
          <Row
            key={tag}
            tag={tag}
            members={members?.get(tag) ?? 0}
            all={all}
            onToggle={(add) => edit(tag, add)}
          />
        ))}
        {tagNames().length === 0 && <p class="quiet">There are no tags yet.</p>}
      </div>
      <form class="new-tag" onSubmit={submit}>
        <input
          class="input"
          data-focus
          type="text"
          maxLength={64}
          placeholder="New tag …"
          aria-label="New tag"
          data-testid="tag-manager-new"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" class="icon-button bordered" aria-label="Add the tag" disabled={!text.trim()}>
          <Icon name="plus" />
        </button>
      </form>
    </Dialog>
  );
}
