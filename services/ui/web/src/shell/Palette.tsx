import { useState } from 'preact/hooks';
import { ACTIONS, available } from '../state/actions';
import { Dialog } from './Dialog';

/** Finds a command by what it is called. */
export function Palette({ onClose }: { readonly onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = ACTIONS.filter(
    (action) =>
      action.id !== 'palette' &&
      available(action) &&
      words.every((word) => action.title.toLowerCase().includes(word)),
  );
  const choose = (index: number) => {
    const action = found[index];
    if (!action) return;
    onClose();
    action.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter') choose(at);
    else if (event.key === 'ArrowDown') setAt((at + 1) % Math.max(1, found.length));
    else if (event.key === 'ArrowUp') setAt((at - 1 + found.length) % Math.max(1, found.length));
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Commands" testId="palette" onClose={onClose}>
      <input
        class="input wide"
        data-focus
        type="text"
        role="combobox"
        aria-label="Find a command"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[at] ? `command-${found[at].id}` : undefined}
        placeholder="Find a command …"
        data-testid="palette-input"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id="palette-list" class="palette-list" role="listbox" aria-label="Commands">
        {found.map((action, index) => (
          // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the box, which names the option.
          // biome-ignore lint/a11y/useKeyWithClickEvents: keys are handled by the box.
          <div
            key={action.id}
            id={`command-${action.id}`}
            role="option"
            aria-selected={index === at}
            class={`palette-item ${index === at ? 'on' : ''}`}
            data-testid="palette-item"
            onClick={() => choose(index)}
            onPointerMove={() => setAt(index)}
          >
            <span>{action.title}</span>
            {action.keys[0] && <kbd>{action.keys[0]}</kbd>}
          </div>
        ))}
        {found.length === 0 && <p class="quiet">No command is called so.</p>}
      </div>
    </Dialog>
  );
}
