import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

export interface MenuItem {
  readonly id: string;
  readonly label: string;
  readonly disabled?: boolean;
  readonly run: () => void;
}

/** Items between which a line is drawn. */
export type MenuGroups = readonly (readonly MenuItem[])[];

const EDGE_PX = 8;

/** A context menu at a point of the window: arrow keys, Home, End, Enter, Escape. */
export function PlotMenu(props: {
  readonly x: number;
  readonly y: number;
  readonly heading: string;
  readonly groups: MenuGroups;
  readonly onClose: () => void;
}) {
  const { x, y, heading, groups, onClose } = props;
  const root = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const menu = root.current;
    if (!menu) return;
    const left = Math.max(EDGE_PX, Math.min(x, innerWidth - menu.offsetWidth - EDGE_PX));
    const top = Math.max(EDGE_PX, Math.min(y, innerHeight - menu.offsetHeight - EDGE_PX));
    menu.style.transform = `translate(${left}px, ${top}px)`;
    menu.querySelector<HTMLElement>('[role=menuitem]:not(:disabled)')?.focus();
  }, [x, y]);

  useEffect(() => {
    const before = document.activeElement;
    const away = (event: Event) => {
      if (!(event.target instanceof Node && root.current?.contains(event.target))) onClose();
    };
    addEventListener('pointerdown', away, true);
    addEventListener('blur', onClose);
    addEventListener('resize', onClose);
    return () => {
      removeEventListener('pointerdown', away, true);
      removeEventListener('blur', onClose);
      removeEventListener('resize', onClose);
      const { activeElement } = document;
      const lost = activeElement === document.body || root.current?.contains(activeElement);
      if (before instanceof HTMLElement && lost) before.focus({ preventScroll: true });
    };
  }, [onClose]);

  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(root.current?.querySelectorAll<HTMLElement>('[role=menuitem]:not(:disabled)') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const moves: Record<string, number> = {
      ArrowDown: (at + 1) % items.length,
      ArrowUp: (at + items.length - 1) % items.length,
      Home: 0,
      End: items.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) items[to]?.focus();
    else if (event.key === 'Escape' || event.key === 'Tab') onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={root}
      class="plot-menu"
      role="menu"
      tabIndex={-1}
      aria-label={heading}
      data-testid="plot-menu"
      onKeyDown={onKeyDown}
      onContextMenu={(event) => event.preventDefault()}
    >
      <div class="plot-menu-heading">{heading}</div>
      {groups
        .filter((group) => group.length > 0)
        .map((group) => (
          // biome-ignore lint/a11y/useSemanticElements: a group of menu items is no field set.
          <div class="plot-menu-group" role="group" key={group[0]?.id}>
            {group.map((item) => (
              <button
                type="button"
                role="menuitem"
                key={item.id}
                disabled={item.disabled}
                data-testid={`plot-menu-${item.id}`}
                onClick={() => {
                  onClose();
                  item.run();
                }}
              >
                {item.label}
              </button>
            ))}
          </div>
        ))}
    </div>
  );
}
