import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { ChartCurve } from './PlotChart';
import type { Band, PlotLook } from './settings';

const EDGE_PX = 8;

/** The settings of one plot: colours, smoothing, band, markers, axes. */
export function LookPopover(props: {
  readonly title: string;
  readonly anchor: DOMRect;
  readonly look: PlotLook;
  readonly curves: readonly ChartCurve[];
  readonly onLook: (look: PlotLook) => void;
  readonly onColor: (id: string, color: string | null) => void;
  readonly onApplyToAll: () => void;
  readonly onClose: () => void;
}) {
  const { title, anchor, look, curves, onLook, onColor, onApplyToAll, onClose } = props;
  const root = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const popover = root.current;
    if (!popover) return;
    const left = Math.max(
      EDGE_PX,
      Math.min(anchor.right - popover.offsetWidth, innerWidth - popover.offsetWidth - EDGE_PX),
    );
    const top = Math.max(EDGE_PX, Math.min(anchor.bottom + 4, innerHeight - popover.offsetHeight - EDGE_PX));
    popover.style.transform = `translate(${left}px, ${top}px)`;
  }, [anchor]);

  useEffect(() => {
    root.current?.querySelector<HTMLElement>('input')?.focus();
    const away = (event: Event) => {
      if (!(event.target instanceof Node && root.current?.contains(event.target))) onClose();
    };
    addEventListener('pointerdown', away, true);
    return () => removeEventListener('pointerdown', away, true);
  }, [onClose]);

  const change = (part: Partial<PlotLook>) => onLook({ ...look, ...part });
  const toggle = (name: 'markers' | 'logX' | 'logY', label: string) => (
    <label class="plot-check">
      <input
        type="checkbox"
        checked={look[name]}
        data-testid={`plot-setting-${name}`}
        onChange={(event) => change({ [name]: event.currentTarget.checked })}
      />
      {label}
    </label>
  );
  return (
    <div
      ref={root}
      class="plot-popover"
      role="dialog"
      aria-label={`Settings of ${title}`}
      data-testid="plot-settings"
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        onClose();
      }}
    >
      <label class="plot-field">
        <span>
          Smoothing <output>{look.smoothing.toFixed(2)}</output>
        </span>
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={look.smoothing}
          data-testid="plot-setting-smoothing"
          onInput={(event) => change({ smoothing: event.currentTarget.valueAsNumber })}
        />
      </label>
      <label class="plot-field plot-field-row">
        <span>Band</span>
        <select
          value={look.band}
          data-testid="plot-setting-band"
          onChange={(event) => change({ band: event.currentTarget.value as Band })}
        >
          <option value="none">none</option>
          <option value="std">± standard deviation</option>
          <option value="minmax">min to max</option>
        </select>
      </label>
      <div class="plot-checks">
        {toggle('markers', 'Markers')}
        {toggle('logX', 'Log x')}
        {toggle('logY', 'Log y')}
      </div>
      <div class="plot-colors">
        {curves.map((curve) => (
          <label key={curve.id} title={`Colour of ${curve.name}`}>
            <input
              type="color"
              value={curve.color}
              data-testid="plot-setting-color"
              aria-label={`Colour of ${curve.name}`}
              onInput={(event) => onColor(curve.id, event.currentTarget.value)}
            />
            <span>{curve.name}</span>
            <button
              type="button"
              onClick={() => onColor(curve.id, null)}
              aria-label={`Give ${curve.name} its usual colour`}
            >
              ↺
            </button>
          </label>
        ))}
      </div>
      <button type="button" class="plot-apply" data-testid="plot-apply-all" onClick={onApplyToAll}>
        Use for all plots
      </button>
    </div>
  );
}
