import { NOTHING } from '../grid/selection';
import { Icon } from '../shell/icons';
import { count } from '../shell/numbers';
import { overlay } from '../shell/overlays';
import { countOf, discard, restore, targetOf } from '../state/edits';
import { canEdit } from '../state/session';
import { selection } from '../state/view';

/** How many samples are selected, and what can be done with them. */
export function SelectionBar() {
  const chosen = countOf(selection.value);
  if (chosen === 0) return null;
  const wished = targetOf(selection.value);
  return (
    <div class="selection-bar" role="toolbar" aria-label="Selection" data-testid="selection-bar">
      <strong data-testid="selection-count" data-value={chosen}>
        {count(chosen)} selected
      </strong>
      {selection.value.everything && <span class="quiet">all that match</span>}
      {canEdit.value && (
        <>
          <button
            type="button"
            class="button small"
            data-testid="selection-tags"
            onClick={() => {
              overlay.value = 'tags';
            }}
          >
            <Icon name="tag" /> Tags …
          </button>
          <button
            type="button"
            class="button small"
            data-testid="selection-discard"
            title="Discard (Delete)"
            onClick={() => void discard(wished)}
          >
            <Icon name="trash" /> Discard
          </button>
          <button
            type="button"
            class="button small"
            data-testid="selection-restore"
            onClick={() => void restore(wished)}
          >
            <Icon name="restore" /> Restore
          </button>
        </>
      )}
      <button
        type="button"
        class="icon-button small"
        aria-label="Select nothing"
        data-testid="selection-clear"
        onClick={() => {
          selection.value = NOTHING;
        }}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
