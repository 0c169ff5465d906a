import uPlot from 'uplot';
import { formatTick } from './numbers';
import type { CanvasTheme } from './theme';
import { logTicks } from './ticks';

export interface FrameEvents {
  /** Draws the curves; axes and grid are there already. */
  readonly onDraw: (frame: uPlot) => void;
  /** A part was chosen by dragging, in CSS pixels of the drawing area. */
  readonly onSelect: (part: { left: number; top: number; width: number; height: number }) => void;
}

const AXIS_FONT_PX = 11;
/** Drags that stay within this many CSS pixels of a straight line choose one axis only. */
const UNIDIRECTIONAL_PX = 24;

/** Axes, grid lines and choosing by drag; uPlot draws them, the curves are ours. */
export function createFrame(
  host: HTMLElement,
  options: {
    readonly width: number;
    readonly height: number;
    readonly logX: boolean;
    readonly logY: boolean;
    readonly theme: CanvasTheme;
  },
  events: FrameEvents,
): uPlot {
  const { theme, logX, logY } = options;
  const axis: uPlot.Axis = {
    font: `${AXIS_FONT_PX}px ${theme.font}`,
    stroke: theme.muted,
    grid: { stroke: theme.line, width: 1 },
    ticks: { show: false },
    values: (_, splits) => splits.map((value) => (value === null ? '' : formatTick(value))),
  };
  const log: uPlot.Axis = { splits: (_, __, min, max) => logTicks({ min, max }) };
  return new uPlot(
    {
      width: options.width,
      height: options.height,
      padding: [6, 10, 0, 0],
      legend: { show: false },
      cursor: {
        x: false,
        y: false,
        points: { show: false },
        drag: { x: true, y: true, uni: UNIDIRECTIONAL_PX, dist: 5, setScale: false },
        // Double click is a reset of ours; uPlot would fit its own data, of which there is none.
        bind: { dblclick: () => null },
      },
      scales: { x: { time: false, distr: logX ? 3 : 1 }, y: { distr: logY ? 3 : 1 } },
      axes: [
        {
          ...axis,
          ...(logX && log),
          size: 22,
          gap: 4,
          space: (_, __, ___, ____, length) => (length < 220 ? 44 : 64),
        },
        {
          ...axis,
          ...(logY && log),
          size: 46,
          gap: 5,
          space: (_, __, ___, ____, length) => (length < 150 ? 20 : 34),
        },
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: {
        draw: [events.onDraw],
        setSelect: [
          (frame) => {
            const { left, top, width, height } = frame.select;
            if (width > 0 && height > 0) events.onSelect({ left, top, width, height });
            frame.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    },
    [
      [1, 2],
      [1, 2],
    ],
    host,
  );
}
