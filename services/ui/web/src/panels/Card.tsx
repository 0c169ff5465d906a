import type { ComponentChildren } from 'preact';
import { Icon } from '../shell/icons';
import { closedCards, toggleCard } from '../state/settings';

interface CardProps {
  readonly name: string;
  readonly title: string;
  /** Shown at the right of the title, also while the card is closed. */
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A part of the left panel that can be closed; which are closed is remembered. */
export function Card({ name, title, aside, children }: CardProps) {
  const open = !closedCards.value.includes(name);
  return (
    <section class="card" data-testid={`card-${name}`} aria-label={title}>
      <div class="card-head">
        <h2>
          <button
            type="button"
            class="card-toggle"
            aria-expanded={open}
            data-testid={`card-${name}-toggle`}
            onClick={() => toggleCard(name)}
          >
            <span class={`chevron ${open ? 'open' : ''}`}>
              <Icon name="chevron" />
            </span>
            {title}
          </button>
        </h2>
        {aside}
      </div>
      {open && <div class="card-body">{children}</div>}
    </section>
  );
}
