import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import 'uplot/dist/uPlot.min.css';
import './plots.css';
import './menus.css';
import { fileName } from './fileName';
import { Icon } from './icons';
import { grouped, matches } from './keys';
import { LookPopover } from './LookPopover';
import { type CardAction, PlotCard } from './PlotCard';
import type { ChartPlace, PlotChart } from './PlotChart';
import { PlotMenu } from './PlotMenu';
import { download, plotPicture } from './picture';
import { checkpointSteps, curvesBySignal } from './plotCurves';
import { plotMenu } from './plotMenu';
import { flipped, loadSettings, lookOf, type PlotLook, type PlotSettings, storeSettings } from './settings';
import type { CurveData, ExportFormat, PlotPanelProps } from './types';
import { useSharedHover } from './useSharedHover';

interface OpenMenu {
  readonly signal: string;
  readonly chart: PlotChart;
  readonly place: ChartPlace;
  readonly x: number;
  readonly y: number;
}

function usePlotSettings(): [PlotSettings, (part: Partial<PlotSettings>) => void] {
  const [settings, setSettings] = useState(loadSettings);
  const change = useCallback((part: Partial<PlotSettings>) => {
    setSettings((before) => {
      const after = { ...before, ...part };
      storeSettings(after);
      return after;
    });
  }, []);
  return [settings, change];
}

/** What is drawn: the newest curves, or those of the moment when the drawing was stopped. */
function useFrozen(props: PlotPanelProps): readonly CurveData[] {
  const shown = useRef({ curves: props.curves, token: props.refreshToken });
  if (!props.frozen || props.refreshToken !== shown.current.token || shown.current.curves.length === 0) {
    shown.current = { curves: props.curves, token: props.refreshToken };
  }
  return shown.current.curves;
}

/** Calls `leave` on Escape while `active`, wherever the focus is. */
function useEscape(active: boolean, leave: () => void): void {
  useEffect(() => {
    if (!active) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key === 'Escape') leave();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [active]);
}

/** All plots: small multiples by group, with search, pins and a hover that they share. */
export function PlotPanel(props: PlotPanelProps) {
  const { branches, theme, hidden, onHidden, onError } = props;
  const [settings, change] = usePlotSettings();
  const [search, setSearch] = useState('');
  const [full, setFull] = useState<string | null>(null);
  const [menu, setMenu] = useState<OpenMenu | null>(null);
  const [popover, setPopover] = useState<{ readonly signal: string; readonly anchor: DOMRect } | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const { onChart, onHover } = useSharedHover();
  useEscape(full !== null && menu === null && popover === null, () => setFull(null));
  const curves = useFrozen(props);
  const plots = useMemo(
    () => curvesBySignal(curves, { branches, settings, theme, hidden }),
    [curves, branches, settings, theme, hidden],
  );
  const checkpoints = useMemo(() => checkpointSteps(props.checkpoints), [props.checkpoints]);
  const edits = useMemo(() => checkpointSteps(props.edits), [props.edits]);
  const fail = useCallback((message: string) => onError?.(message), [onError]);
  const closeMenu = useCallback(() => setMenu(null), []);
  const closePopover = useCallback(() => setPopover(null), []);
  const toggleCurve = (id: string) => onHidden(flipped(hidden, id));
  const scrolls = () => {
    const element = scroller.current;
    return full === null && element !== null && element.scrollHeight > element.clientHeight + 1;
  };

  const save = async (signal: string, format: ExportFormat) => {
    try {
      const keys = (plots.get(signal) ?? []).map(({ data }) => data.key);
      download(await props.exportCurves(keys, format), fileName(signal, format));
    } catch (error) {
      fail(`The points of ${signal} could not be saved: ${reasonOf(error)}`);
    }
  };
  const picture = async (open: OpenMenu, use: (image: Promise<Blob>) => Promise<void>) => {
    try {
      if (!open.chart.canvas) throw new Error('the plot is not drawn');
      await use(plotPicture(open.chart.canvas, { title: open.signal, curves: open.chart.shownCurves }));
    } catch (error) {
      fail(`The image could not be taken: ${reasonOf(error)}`);
    }
  };
  const act = (signal: string, action: CardAction, anchor: DOMRect) => {
    if (action === 'csv' || action === 'json') void save(signal, action);
    else if (action === 'pin') change({ pinned: flipped(settings.pinned, signal) });
    else if (action === 'settings') setPopover({ signal, anchor });
    else setFull(full === signal ? null : signal);
  };
  const setLook = (signal: string, look: PlotLook) =>
    change({ looks: { ...settings.looks, [signal]: look } });
  const setColor = (id: string, color: string | null) => {
    const { [id]: _, ...rest } = settings.colors;
    change({ colors: color === null ? rest : { ...rest, [id]: color } });
  };

  const card = (signal: string) => (
    <PlotCard
      key={signal}
      signal={signal}
      curves={plots.get(signal) ?? []}
      branches={branches}
      checkpoints={checkpoints}
      edits={edits}
      look={lookOf(settings, signal)}
      theme={theme}
      pinned={settings.pinned.includes(signal)}
      full={full === signal}
      scrolls={scrolls}
      fetchRange={props.fetchRange}
      onHover={onHover}
      onToggle={toggleCurve}
      onError={fail}
      onChart={onChart}
      onAction={(action, anchor) => act(signal, action, anchor)}
      onMenu={(chart, x, y) => {
        const place = chart.placeAt(x, y);
        if (place) setMenu({ signal, chart, place, x, y });
      }}
    />
  );
  const found = [...plots.keys()].filter((signal) => matches(signal, search));
  const groups = grouped(found, new Set(settings.pinned));
  return (
    <div class="plots" data-testid="plots">
      <PlotBar
        search={search}
        onSearch={setSearch}
        smoothing={settings.look.smoothing}
        onSmoothing={(smoothing) =>
          change({
            look: { ...settings.look, smoothing },
            looks: Object.fromEntries(
              Object.entries(settings.looks).map(([key, look]) => [key, { ...look, smoothing }]),
            ),
          })
        }
        frozen={props.frozen}
      />
      <div ref={scroller} class="plots-scroll">
        {found.length === 0 && (
          <p class="plots-empty" role="status">
            {plots.size === 0
              ? 'No signal yet. Curves appear with the first steps of training.'
              : 'No signal matches.'}
          </p>
        )}
        {groups.map(({ group, pinned, signals }) => {
          const name = pinned ? 'Pinned' : group || 'Signals';
          const open = !settings.collapsed.includes(name) || search !== '';
          return (
            <section key={name} class="plot-group" data-testid="plot-group" data-group={name}>
              <h3>
                <button
                  type="button"
                  class="plot-group-toggle"
                  aria-expanded={open}
                  onClick={() => change({ collapsed: flipped(settings.collapsed, name) })}
                >
                  <Icon name="chevron" />
                  {name}
                  <span class="plot-group-count">{signals.length}</span>
                </button>
              </h3>
              {open && <div class="plot-cards">{signals.map(card)}</div>}
            </section>
          );
        })}
      </div>
      {full !== null && <div class="plots-backdrop" aria-hidden="true" onClick={() => setFull(null)} />}
      {menu && (
        <PlotMenu
          x={menu.x}
          y={menu.y}
          heading={menu.signal}
          onClose={closeMenu}
          groups={plotMenu(
            menu.place,
            {
              checkpoints,
              hiddenCount: (plots.get(menu.signal) ?? []).filter(({ hidden }) => hidden).length,
            },
            {
              resetX: () => menu.chart.resetX(),
              resetY: () => menu.chart.resetY(),
              resetAll: () => menu.chart.resetAll(),
              changeColor: () =>
                setPopover({ signal: menu.signal, anchor: new DOMRect(menu.x, menu.y, 0, 0) }),
              loadCheckpoint: props.readOnly ? null : props.onLoadCheckpoint,
              stepSamples: () =>
                menu.place.curve && props.onStepSamples(menu.place.curve.data.key, menu.place.step),
              breakBySlices: props.onBreakBySlices
                ? () => menu.place.curve && props.onBreakBySlices?.(menu.place.curve.data.key)
                : null,
              toggle: () => menu.place.curve && toggleCurve(menu.place.curve.id),
              showAll: () => {
                const own = new Set((plots.get(menu.signal) ?? []).map(({ id }) => id));
                onHidden(hidden.filter((id) => !own.has(id)));
              },
              copyImage: () => void picture(menu, copyPicture),
              saveImage: () =>
                void picture(menu, async (image) => download(await image, fileName(menu.signal, 'png'))),
            },
          )}
        />
      )}
      {popover && (
        <LookPopover
          title={popover.signal}
          anchor={popover.anchor}
          look={lookOf(settings, popover.signal)}
          curves={plots.get(popover.signal) ?? []}
          onLook={(look) => setLook(popover.signal, look)}
          onColor={setColor}
          onApplyToAll={() => {
            change({ look: lookOf(settings, popover.signal), looks: {} });
            closePopover();
          }}
          onClose={closePopover}
        />
      )}
    </div>
  );
}

/** The clipboard wants its promise within the click: the picture may be made afterwards. */
async function copyPicture(image: Promise<Blob>): Promise<void> {
  await navigator.clipboard.write([new ClipboardItem({ 'image/png': image })]);
}

function PlotBar(props: {
  readonly search: string;
  readonly onSearch: (text: string) => void;
  readonly smoothing: number;
  readonly onSmoothing: (smoothing: number) => void;
  readonly frozen: boolean;
}) {
  return (
    <div class="plots-bar" role="toolbar" aria-label="Plots">
      <label class="plots-search">
        <Icon name="search" />
        <input
          type="search"
          placeholder="Find a signal"
          aria-label="Find a signal"
          data-testid="plot-search"
          value={props.search}
          onInput={(event) => props.onSearch(event.currentTarget.value)}
        />
      </label>
      {props.frozen && <span class="plots-frozen">stopped until refresh</span>}
      <label class="plots-smoothing">
        Smoothing
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={props.smoothing}
          data-testid="plots-smoothing"
          onInput={(event) => props.onSmoothing(event.currentTarget.valueAsNumber)}
        />
        <output>{props.smoothing.toFixed(2)}</output>
      </label>
    </div>
  );
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
