import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon } from './icons';
import { groupOf, titleOf } from './keys';
import { compactCount, formatStep } from './numbers';
import { type ChartProps, type ChartState, PlotChart } from './PlotChart';

export type CardAction = 'csv' | 'json' | 'pin' | 'settings' | 'full';

export interface PlotCardProps extends Omit<ChartProps, 'onDrawn'> {
  readonly signal: string;
  readonly pinned: boolean;
  readonly full: boolean;
  /** Without buttons: for a plot that is no signal of its own. */
  readonly bare?: boolean;
  /** Whether the wheel scrolls past a plot that nobody has clicked. */
  readonly scrolls: () => boolean;
  readonly onAction: (action: CardAction, anchor: DOMRect) => void;
  readonly onMenu: (chart: PlotChart, x: number, y: number) => void;
  /** Gives the panel the chart while it is mounted, for the hover that all plots share. */
  readonly onChart: (signal: string, chart: PlotChart | null) => void;
}

const STILL: ChartState = { zoomed: false, shownPoints: 0, totalPoints: 0, gapCount: 0 };
const WHEEL_FACTOR = 0.0016;

function sameState(a: ChartState, b: ChartState): boolean {
  return (
    a.zoomed === b.zoomed &&
    a.shownPoints === b.shownPoints &&
    a.totalPoints === b.totalPoints &&
    a.gapCount === b.gapCount
  );
}

/** One signal: its head, its plot, its legend. */
export function PlotCard(props: PlotCardProps) {
  const { signal, pinned, full, onAction, onMenu } = props;
  const card = useRef<HTMLElement>(null);
  const host = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLDivElement>(null);
  const [state, setState] = useState(STILL);
  const onDrawn = (next: ChartState) => setState((before) => (sameState(before, next) ? before : next));
  const chart = useChart(host, legend, { ...props, onDrawn });
  useWheelZoom(card, host, { chart, scrolls: props.scrolls });

  const action = (
    name: CardAction,
    label: string,
    icon: 'pin' | 'settings' | 'expand' | 'shrink',
    pressed?: boolean,
  ) => (
    <button
      type="button"
      class="plot-action"
      title={label}
      aria-label={`${label}: ${signal}`}
      aria-pressed={pressed}
      data-testid={`plot-${name}`}
      onClick={(event) => onAction(name, event.currentTarget.getBoundingClientRect())}
    >
      <Icon name={icon} />
    </button>
  );
  const exporter = (name: 'csv' | 'json') => (
    <button
      type="button"
      class="plot-action plot-action-text"
      title={`Save every point as ${name.toUpperCase()}`}
      aria-label={`Save every point of ${signal} as ${name.toUpperCase()}`}
      data-testid={`plot-${name}`}
      onClick={(event) => onAction(name, event.currentTarget.getBoundingClientRect())}
    >
      {name.toUpperCase()}
    </button>
  );
  return (
    <article
      ref={card}
      class={`plot-card${full ? ' is-full' : ''}`}
      data-testid="plot-card"
      data-signal={signal}
      data-points={state.totalPoints}
      data-zoomed={state.zoomed}
      aria-label={`Plot of ${signal}`}
    >
      <header class="plot-head">
        <h4 title={signal}>
          {full && groupOf(signal) ? `${groupOf(signal)}/` : ''}
          {titleOf(signal)}
        </h4>
        <Notes state={state} />
        <div class="plot-actions" hidden={props.bare}>
          {state.zoomed && (
            <button
              type="button"
              class="plot-action is-lit"
              title="Reset zoom (double click)"
              aria-label={`Reset zoom: ${signal}`}
              data-testid="plot-reset"
              onClick={() => chart.current?.resetAll()}
            >
              <Icon name="reset" />
            </button>
          )}
          {exporter('csv')}
          {exporter('json')}
          {action('pin', pinned ? 'Unpin' : 'Pin to the top', 'pin', pinned)}
          {action('settings', 'Settings', 'settings')}
          {action('full', full ? 'Back to all plots' : 'Full screen', full ? 'shrink' : 'expand', full)}
        </div>
      </header>
      {/* biome-ignore lint/a11y/useSemanticElements: a plot with keys of its own has no element. */}
      <div
        ref={host}
        class="plot-canvas"
        role="group"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is used by keys.
        tabIndex={0}
        data-testid="plot-canvas"
        aria-label={`${signal}: arrow keys read values, plus and minus zoom, 0 resets, M opens the menu`}
        onKeyDown={(event) => onPlotKey(event, chart.current, props)}
        onContextMenu={(event) => {
          event.preventDefault();
          if (chart.current) onMenu(chart.current, event.clientX, event.clientY);
        }}
      />
      <div ref={legend} class="plot-legend" />
    </article>
  );
}

function Notes({ state }: { readonly state: ChartState }) {
  const { shownPoints, totalPoints, gapCount } = state;
  return (
    <div class="plot-notes">
      {gapCount > 0 && (
        <span
          class="plot-note is-warning"
          title={`${formatStep(gapCount)} points are NaN or infinite`}
          data-testid="plot-gaps"
        >
          {compactCount(gapCount)} NaN/∞
        </span>
      )}
      {totalPoints > shownPoints && (
        <span
          class="plot-note"
          title="Each reduction keeps first, last, minimum and maximum. Zoom in for more."
          data-testid="plot-reduced"
        >
          {compactCount(shownPoints)} of {compactCount(totalPoints)}
        </span>
      )}
    </div>
  );
}

function useChart(
  host: RefObject<HTMLDivElement | null>,
  legend: RefObject<HTMLDivElement | null>,
  props: ChartProps & PlotCardProps,
) {
  const chart = useRef<PlotChart | null>(null);
  const { signal, onChart } = props;
  useLayoutEffect(() => {
    if (!host.current || !legend.current) return;
    const made = new PlotChart(host.current, legend.current, props);
    chart.current = made;
    onChart(signal, made);
    return () => {
      onChart(signal, null);
      made.dispose();
    };
  }, [signal]);
  useLayoutEffect(() => chart.current?.update(props));
  return chart;
}

/** The wheel zooms a plot that has the focus; where plots scroll it scrolls past the others. */
function useWheelZoom(
  card: RefObject<HTMLElement | null>,
  host: RefObject<HTMLDivElement | null>,
  options: { readonly chart: { readonly current: PlotChart | null }; readonly scrolls: () => boolean },
): void {
  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const onWheel = (event: WheelEvent) => {
      const meant = event.ctrlKey || card.current?.contains(document.activeElement) || !options.scrolls();
      if (!meant) return;
      event.preventDefault();
      const over = element.querySelector('.u-over')?.getBoundingClientRect();
      if (!over || over.width === 0) return;
      const fraction = Math.min(1, Math.max(0, (event.clientX - over.left) / over.width));
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        options.chart.current?.pan((event.deltaX || event.deltaY) / over.width);
      } else options.chart.current?.zoomAt(fraction, Math.exp(event.deltaY * WHEEL_FACTOR));
    };
    const onDown = () => element.focus({ preventScroll: true });
    element.addEventListener('wheel', onWheel, { passive: false });
    element.addEventListener('pointerdown', onDown);
    return () => {
      element.removeEventListener('wheel', onWheel);
      element.removeEventListener('pointerdown', onDown);
    };
  }, []);
}

function onPlotKey(event: KeyboardEvent, chart: PlotChart | null, props: PlotCardProps): void {
  if (!chart || event.ctrlKey || event.metaKey || event.altKey) return;
  switch (event.key) {
    case 'ArrowLeft':
    case 'ArrowRight': {
      const direction = event.key === 'ArrowLeft' ? -1 : 1;
      if (event.shiftKey) chart.pan(direction * 0.2);
      else props.onHover(chart.neighbourStep(direction));
      break;
    }
    case '+':
    case '=':
      chart.zoomAt(0.5, 0.7);
      break;
    case '-':
      chart.zoomAt(0.5, 1 / 0.7);
      break;
    case '0':
      chart.resetAll();
      break;
    case 'm':
    case 'M': {
      const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
      props.onMenu(chart, box.left + box.width / 2, box.top + box.height / 2);
      break;
    }
    default:
      return;
  }
  event.preventDefault();
  event.stopPropagation();
}
