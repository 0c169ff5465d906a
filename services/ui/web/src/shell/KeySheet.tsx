import { ACTIONS } from '../state/actions';
import { Dialog } from './Dialog';

const POINTER = [
  ['Drag', 'Select the samples under a rectangle'],
  ['Ctrl + click', 'Add to or take from the selection'],
  ['Shift + click', 'Select a range'],
  ['Double click, Enter', 'Open a sample'],
  ['Right click', 'Actions for samples or plots'],
] as const;

export function KeySheet({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title="Keys" testId="key-sheet" onClose={onClose}>
      <dl class="keys">
        {ACTIONS.filter(({ keys }) => keys.length > 0).map(({ id, title, keys }) => (
          <div key={id}>
            <dt>
              <kbd>{keys[0]}</kbd>
            </dt>
            <dd>{title}</dd>
          </div>
        ))}
        {POINTER.map(([keys, title]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{title}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
