interface DividerProps {
  /** The direction in which the line runs. */
  readonly line: 'vertical' | 'horizontal';
  readonly label: string;
  readonly testId: string;
  /** In the unit of `onMove`. */
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** The value for a position of the pointer in CSS pixels of the window. */
  readonly valueAt: (x: number, y: number) => number;
  readonly onMove: (value: number) => void;
}

/** A line between two parts of the page that is dragged or moved by the arrow keys. */
export function Divider({ line, label, testId, value, min, max, step, valueAt, onMove }: DividerProps) {
  const move = (wished: number) => onMove(Math.max(min, Math.min(max, wished)));
  const onKeyDown = (event: KeyboardEvent) => {
    const back = line === 'vertical' ? 'ArrowLeft' : 'ArrowUp';
    const forth = line === 'vertical' ? 'ArrowRight' : 'ArrowDown';
    if (event.key !== back && event.key !== forth) return;
    event.preventDefault();
    event.stopPropagation();
    move(value + (event.key === forth ? step : -step));
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a splitter that is moved, not a rule.
    <div
      class={`divider ${line}`}
      role="separator"
      tabIndex={0}
      aria-orientation={line}
      aria-label={label}
      aria-valuenow={Math.round(value * 100) / 100}
      aria-valuemin={min}
      aria-valuemax={max}
      data-testid={testId}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId))
          move(valueAt(event.clientX, event.clientY));
      }}
    />
  );
}
