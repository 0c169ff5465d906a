import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

interface PopoverProps {
  /** What the button shows. */
  readonly label: ComponentChildren;
  /** What the button is called. */
  readonly title: string;
  readonly testId: string;
  readonly children: ComponentChildren;
  readonly align?: 'left' | 'right';
  readonly buttonClass?: string;
  readonly onOpen?: () => void;
}

/** A button with a panel that closes by Escape or by a click elsewhere. */
export function Popover({
  label,
  title,
  testId,
  children,
  align = 'right',
  buttonClass,
  onOpen,
}: PopoverProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!open) return;
    const onPointer = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      setOpen(false);
      button.current?.focus();
    };
    document.addEventListener('pointerdown', onPointer, true);
    document.addEventListener('keydown', onKey, true);
    return () => {
      document.removeEventListener('pointerdown', onPointer, true);
      document.removeEventListener('keydown', onKey, true);
    };
  }, [open]);

  const toggle = () => {
    if (!open) onOpen?.();
    setOpen(!open);
  };
  return (
    <div class="popover" ref={root}>
      <button
        ref={button}
        type="button"
        class={buttonClass ?? 'icon-button'}
        title={title}
        // A button with words on it is called by these.
        aria-label={buttonClass ? undefined : title}
        aria-expanded={open}
        aria-haspopup="dialog"
        data-testid={testId}
        onClick={toggle}
      >
        {label}
      </button>
      {open && (
        <div
          class={`popover-panel ${align}`}
          role="dialog"
          aria-label={title}
          data-testid={`${testId}-panel`}
        >
          {children}
        </div>
      )}
    </div>
  );
}
