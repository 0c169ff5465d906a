import { sampleOf } from '../grid/selection';
import { clearTags, countOf, discard, restore, targetOf } from '../state/edits';
import { open } from '../state/sample';
import { canEdit } from '../state/session';
import { selection } from '../state/view';
import { Menu, type MenuItem } from './Menu';
import { count } from './numbers';
import { contextMenu, overlay } from './overlays';

const compare = () => {
  overlay.value = 'compare';
};

/** What can be done with the selected samples. */
export function GridMenu() {
  const at = contextMenu.value;
  if (!at) return null;
  const chosen = countOf(selection.value);
  const wished = targetOf(selection.value);
  const [only] = selection.value.keys;
  const show: MenuItem[] =
    chosen === 1 && only !== undefined
      ? [{ id: 'open', label: 'Open', icon: 'eye', keys: 'Enter', run: () => void open(sampleOf(only)) }]
      : chosen === 2 && !selection.value.everything
        ? [{ id: 'compare', label: 'Compare', icon: 'eye', keys: 'V', run: compare }]
        : [];
  const edits: MenuItem[] = [
    {
      id: 'tags',
      label: 'Manage tags …',
      icon: 'tag',
      keys: 'T',
      run: () => {
        overlay.value = 'tags';
      },
    },
    { id: 'clear-tags', label: 'Remove all tags', icon: 'close', run: () => void clearTags(wished) },
    { id: 'discard', label: 'Discard', icon: 'trash', keys: 'Del', run: () => void discard(wished) },
    { id: 'restore', label: 'Restore', icon: 'restore', keys: 'Shift+Del', run: () => void restore(wished) },
  ];
  return (
    <Menu
      x={at.x}
      y={at.y}
      heading={chosen === 1 ? '1 sample' : `${count(chosen)} samples`}
      items={canEdit.value ? [...show, ...edits] : show}
      onClose={() => {
        contextMenu.value = null;
      }}
    />
  );
}
