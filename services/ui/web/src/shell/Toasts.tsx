import { dismiss, toasts } from '../state/toasts';
import { Icon } from './icons';

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, kind, text, actions }) => (
        <div key={id} class={`toast ${kind}`} data-testid="toast" data-kind={kind}>
          <span class="toast-text">{text}</span>
          {actions.map(({ label, run }) => (
            <button
              key={label}
              type="button"
              class="toast-action"
              data-testid={`toast-${label.toLowerCase()}`}
              onClick={() => {
                dismiss(id);
                run();
              }}
            >
              {label}
            </button>
          ))}
          <button type="button" class="icon-button small" aria-label="Dismiss" onClick={() => dismiss(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
