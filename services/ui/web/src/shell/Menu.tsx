import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { Icon, type IconName } from './icons';

export interface MenuItem {
  readonly id: string;
  readonly label: string;
  readonly icon: IconName;
  readonly keys?: string;
  readonly disabled?: boolean;
  readonly run: () => void;
}

interface MenuProps {
  /** Corner in CSS pixels of the window. */
  readonly x: number;
  readonly y: number;
  readonly heading: string;
  readonly items: readonly MenuItem[];
  readonly onClose: () => void;
}

const MARGIN_PX = 8;

/** A context menu: arrows move, Enter chooses, Escape closes. */
export function Menu({ x, y, heading, items, onClose }: MenuProps) {
  const root = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const menu = root.current;
    if (!menu) return;
    const { width, height } = menu.getBoundingClientRect();
    menu.style.left = `${Math.max(MARGIN_PX, Math.min(x, innerWidth - width - MARGIN_PX))}px`;
    menu.style.top = `${Math.max(MARGIN_PX, Math.min(y, innerHeight - height - MARGIN_PX))}px`;
    menu.querySelector<HTMLElement>('[role=menuitem]:not(:disabled)')?.focus();
  }, [x, y]);

  useEffect(() => {
    const before = document.activeElement;
    const onPointer = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) onClose();
    };
    document.addEventListener('pointerdown', onPointer, true);
    addEventListener('blur', onClose);
    return () => {
      document.removeEventListener('pointerdown', onPointer, true);
      removeEventListener('blur', onClose);
      if (before instanceof HTMLElement) before.focus({ preventScroll: true });
    };
  }, [onClose]);

  const onKeyDown = (event: KeyboardEvent) => {
    const choices = [
      ...(root.current?.querySelectorAll<HTMLElement>('[role=menuitem]:not(:disabled)') ?? []),
    ];
    const at = choices.indexOf(document.activeElement as HTMLElement);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: choices.length - 1 }[event.key];
    if (event.key === 'Escape' || event.key === 'Tab') onClose();
    else if (move === undefined) return;
    else choices[(move + choices.length) % choices.length]?.focus();
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={root}
      class="menu"
      role="menu"
      tabIndex={-1}
      aria-label={heading}
      data-testid="context-menu"
      onKeyDown={onKeyDown}
      onContextMenu={(event) => event.preventDefault()}
    >
      <div class="menu-heading">{heading}</div>
      {items.map((item) => (
        <button
          key={item.id}
          type="button"
          role="menuitem"
          class="menu-item"
          disabled={item.disabled}
          data-testid={`menu-${item.id}`}
          onClick={() => {
            onClose();
            item.run();
          }}
        >
          <Icon name={item.icon} />
          <span>{item.label}</span>
          {item.keys && <kbd>{item.keys}</kbd>}
        </button>
      ))}
    </div>
  );
}
