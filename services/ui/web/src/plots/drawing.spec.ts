import { describe, expect, it } from 'vitest';
import { CurveModel, type CurveView } from './CurveModel';
import {
  type Area,
  type Canvas2d,
  drawAudit,
  drawBand,
  drawCheckpoints,
  drawEdits,
  drawJoin,
  drawLine,
} from './drawing';
import { scaleOf } from './scale';
import { DEFAULT_LOOK, type PlotLook } from './settings';

/** A canvas that writes down what is drawn on it. */
function recordingCanvas() {
  const calls: string[] = [];
  const record =
    (name: string) =>
    (...numbers: number[]) => {
      calls.push(`${name} ${numbers.map((number) => Math.round(number)).join(' ')}`.trim());
    };
  const context = {
    globalAlpha: 1,
    lineWidth: 1,
    strokeStyle: '',
    fillStyle: '',
    lineCap: 'butt',
    lineJoin: 'miter',
    beginPath: record('begin'),
    moveTo: record('move'),
    lineTo: record('line'),
    closePath: record('close'),
    arc: record('arc'),
    setLineDash: () => calls.push('dash'),
    stroke: () => calls.push(`stroke ${context.globalAlpha}`),
    fill: () => calls.push(`fill ${context.globalAlpha}`),
  };
  return { context: context as unknown as Canvas2d, calls };
}

const area: Area = { left: 0, top: 0, width: 100, height: 100, ratio: 1 };
const scales = {
  x: scaleOf({ min: 0, max: 100 }, { from: 0, to: 100 }, false),
  y: scaleOf({ min: 0, max: 10 }, { from: 100, to: 0 }, false),
};

function viewOf(values: number[], look: Partial<PlotLook> = {}): CurveView {
  const data = {
    key: { branch: 'a', signal: 's', mode: 'train' as const },
    steps: Float64Array.from(values, (_, i) => i * 10),
    values: Float64Array.from(values),
    pointCount: values.length,
    reduced: false,
  };
  const model = new CurveModel('id', data);
  const derived = model.derived(data, { ...DEFAULT_LOOK, ...look });
  return { model, source: data, derived, first: 0, last: values.length };
}

describe('a line', () => {
  it('is drawn faint as it is and solid as it is smoothed', () => {
    const { context, calls } = recordingCanvas();
    drawLine(context, viewOf([5, 5, 5]), scales, area);
    const path = ['begin', 'move 0 50', 'line 10 50', 'line 20 50'];
    expect(calls).toEqual([...path, 'stroke 0.28', ...path, 'stroke 1']);
  });
  it('is drawn once without smoothing', () => {
    const { context, calls } = recordingCanvas();
    drawLine(context, viewOf([1, 2], { smoothing: 0 }), scales, area);
    expect(calls.filter((call) => call.startsWith('stroke'))).toEqual(['stroke 1']);
  });
  it('ends at a gap, and shows a single point as a dot', () => {
    const { context, calls } = recordingCanvas();
    drawLine(context, viewOf([5, 5, Number.NaN, 3, Number.NaN], { smoothing: 0 }), scales, area);
    expect(calls).toEqual(['begin', 'move 0 50', 'line 10 50', 'move 30 70', 'line 30 70', 'stroke 1']);
  });
});

describe('a band', () => {
  it('is one closed piece between gaps', () => {
    const { context, calls } = recordingCanvas();
    drawBand(context, viewOf([2, 4, Number.NaN, 6, 8], { smoothing: 0, band: 'minmax' }), scales, area);
    expect(calls.filter((call) => call === 'close')).toHaveLength(2);
    expect(calls.filter((call) => call === 'fill 0.16')).toHaveLength(2);
    expect(calls.some((call) => call.includes('NaN'))).toBe(false);
  });
});

describe('markers', () => {
  it('of an audit are diamonds without a line', () => {
    const { context, calls } = recordingCanvas();
    drawAudit(context, viewOf([5, 5]), scales, area);
    expect(calls.filter((call) => call === 'close')).toHaveLength(2);
    expect(calls.filter((call) => call.startsWith('stroke'))).toHaveLength(1);
  });
  it('of a branch join it to its parent', () => {
    const { context, calls } = recordingCanvas();
    drawJoin(context, { from: { step: 20, value: 5 }, to: { step: 30, value: 4 }, color: 'x' }, scales, area);
    expect(calls.slice(0, 5)).toEqual(['dash', 'begin', 'move 20 50', 'line 30 60', 'stroke 1']);
    expect(calls.some((call) => call.startsWith('arc 20 50'))).toBe(true);
  });
  it('of checkpoints do not cover each other', () => {
    const { context, calls } = recordingCanvas();
    drawCheckpoints(context, { steps: [10, 11, 12, 50, 900], color: 'x' }, scales, area);
    expect(calls.filter((call) => call.startsWith('move'))).toEqual(['move 10 94', 'move 50 94']);
  });
});

describe('edits', () => {
  it('are strokes at the upper edge, in the plot only, no two on one place', () => {
    const { calls, context } = recordingCanvas();
    drawEdits(context, { steps: [10, 11, 50, 900], color: 'x' }, scales, area);
    expect(calls.filter((call) => call.startsWith('move'))).toEqual(['move 10 0', 'move 50 0']);
  });
});
