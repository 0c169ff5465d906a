import type uPlot from 'uplot';
import { CurveModel, type CurveView, type PlotScales } from './CurveModel';
import { DetailFetcher } from './DetailFetcher';
import { type Area, drawAudit, drawBand, drawCheckpoints, drawEdits, drawJoin, drawLine } from './drawing';
import { createFrame } from './frame';
import { HoverOverlay } from './HoverOverlay';
import { joinPoint } from './join';
import { Legend } from './Legend';
import { formatStep } from './numbers';
import { Extent, nearestIndex, padded, type Range, scaleOf, tooFine, toPixel, zoomed } from './scale';
import type { PlotLook } from './settings';
import { canvasTheme } from './theme';
import { visibleRange } from './trace';
import type { Branch, CurveData, CurveKey } from './types';

/** A curve as the page wants it drawn. */
export interface ChartCurve {
  readonly id: string;
  readonly data: CurveData;
  readonly color: string;
  readonly name: string;
  readonly hidden: boolean;
}

export interface ChartProps {
  readonly curves: readonly ChartCurve[];
  readonly branches: readonly Branch[];
  /** Saved steps by branch, ascending. */
  readonly checkpoints: ReadonlyMap<string, readonly number[]>;
  /** Steps from which edits held, by branch, ascending. */
  readonly edits: ReadonlyMap<string, readonly number[]>;
  readonly look: PlotLook;
  readonly theme: string;
  readonly fetchRange: (key: CurveKey, first: number, last: number, budget: number) => Promise<CurveData>;
  readonly onHover: (step: number | null) => void;
  readonly onToggle: (id: string) => void;
  readonly onError: (message: string) => void;
  /** Told after each drawing. */
  readonly onDrawn: (state: ChartState) => void;
}

/** What the head of a card says of its plot. */
export interface ChartState {
  readonly zoomed: boolean;
  /** Points held and points there are; equal when nothing was left out. */
  readonly shownPoints: number;
  readonly totalPoints: number;
  readonly gapCount: number;
}

/** A place in a plot. */
export interface ChartPlace {
  readonly step: number;
  /** The curve nearest to it; `null` when none is shown. */
  readonly curve: CurveModel | null;
}

/** What is fetched around the visible part, as a fraction of it. */
const FETCH_MARGIN = 0.25;
const POINTS_PER_PIXEL = 4;

/** One plot: curves of one signal on a canvas, drawn on animation frames and only while it can be seen. */
export class PlotChart {
  private props: ChartProps;
  private readonly models = new Map<string, CurveModel>();
  private readonly legend: Legend;
  private readonly resizing: ResizeObserver;
  private readonly seeing: IntersectionObserver;
  private frame: uPlot | null = null;
  private frameSignature = '';
  private overlay: HoverOverlay | null = null;
  private views: CurveView[] = [];
  private scales: PlotScales | null = null;
  private zoomX: Range | null = null;
  private zoomY: Range | null = null;
  private shownX: Range = { min: 0, max: 1 };
  private shownY: Range = { min: 0, max: 1 };
  private hover: number | null = null;
  private pending = 0;
  private readonly details = new DetailFetcher({
    fetchRange: (...range) => this.props.fetchRange(...range),
    onArrived: () => this.schedule(),
    onError: (message) => this.props.onError(message),
  });
  private visible = true;

  constructor(
    private readonly host: HTMLElement,
    legend: HTMLElement,
    props: ChartProps,
  ) {
    this.props = props;
    this.legend = new Legend(legend, (id) => this.props.onToggle(id));
    this.resizing = new ResizeObserver(() => this.schedule());
    this.resizing.observe(host);
    this.seeing = new IntersectionObserver((entries) => {
      this.visible = entries.some((entry) => entry.isIntersecting);
      if (this.visible) this.schedule();
    });
    this.seeing.observe(host);
  }

  update(props: ChartProps): void {
    this.props = props;
    this.schedule();
  }

  dispose(): void {
    cancelAnimationFrame(this.pending);
    this.details.cancel();
    this.resizing.disconnect();
    this.seeing.disconnect();
    this.frame?.destroy();
  }

  get canvas(): HTMLCanvasElement | null {
    return this.frame?.ctx.canvas ?? null;
  }

  get shownCurves(): readonly CurveModel[] {
    return this.views.map((view) => view.model);
  }

  resetX(): void {
    this.zoomTo(null, this.zoomY);
  }

  resetY(): void {
    this.zoomTo(this.zoomX, null);
  }

  resetAll(): void {
    this.zoomTo(null, null);
  }

  /** Zooms the steps around a place given as a fraction of the width. */
  zoomAt(fraction: number, factor: number): void {
    // What was zoomed to, drawn or not yet: a quick wheel turns several times between two frames.
    const whole = this.wholeX();
    const before = this.zoomX ?? whole;
    const { min, max } = before;
    const log = this.props.look.logX;
    const at = log ? min * (max / min) ** fraction : min + (max - min) * fraction;
    const range = zoomed(before, at, { factor, log });
    if (range.max - range.min < 1) return;
    if (range.min <= whole.min && range.max >= whole.max) this.zoomTo(null, this.zoomY);
    else
      this.zoomTo({ min: Math.max(range.min, whole.min), max: Math.min(range.max, whole.max) }, this.zoomY);
  }

  /** Moves the visible steps by a fraction of their width. */
  pan(fraction: number): void {
    if (!this.zoomX) return;
    const { min, max } = this.zoomX;
    const whole = this.wholeX();
    const wanted = (max - min) * fraction;
    const shift = Math.min(Math.max(wanted, whole.min - min), whole.max - max);
    this.zoomTo({ min: min + shift, max: max + shift }, this.zoomY);
  }

  /** The place under a point of the window. */
  placeAt(clientX: number, clientY: number): ChartPlace | null {
    const { frame } = this;
    if (!frame) return null;
    const box = frame.over.getBoundingClientRect();
    const step = frame.posToVal(clientX - box.left, 'x');
    let curve: CurveModel | null = null;
    let nearest = Number.POSITIVE_INFINITY;
    for (const view of this.views) {
      const { steps } = view.source;
      const at = nearestIndex(steps, step);
      // A branch has nothing to show before it began or after it ended: it is meant only where no other runs.
      const runs = step >= (steps[0] ?? 0) && step <= (steps[steps.length - 1] ?? 0);
      const distance =
        Math.abs(frame.valToPos(view.derived.smoothed[at] ?? Number.NaN, 'y') - (clientY - box.top)) +
        (runs ? 0 : box.height);
      if (distance < nearest) {
        nearest = distance;
        curve = view.model;
      }
    }
    return { step: Math.round(step), curve: curve ?? this.views[0]?.model ?? null };
  }

  /** The step of the next visible point from the one that is read now; at first the last or the first. */
  neighbourStep(direction: -1 | 1): number | null {
    const view = this.views[0];
    if (!view) return null;
    const { steps } = view.source;
    const { min, max } = this.shownX;
    // A zoom may have left behind what was read before.
    if (this.hover === null || this.hover < min || this.hover > max) return direction < 0 ? max : min;
    const next = steps[nearestIndex(steps, this.hover) + direction] ?? this.hover;
    return Math.min(max, Math.max(min, next));
  }

  /** Shows the values at a step, wherever the pointer is. */
  setHover(step: number | null): void {
    this.hover = step;
    this.drawHover();
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  private schedule(): void {
    if (this.pending === 0) this.pending = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.pending = 0;
    this.takeCurves();
    if (!this.visible || !this.ensureFrame() || !this.frame) return;
    this.shownX = this.zoomX ?? this.wholeX();
    this.views = this.viewCurves();
    this.shownY = this.zoomY ?? this.fitY();
    this.frame.batch((frame: uPlot) => {
      frame.setScale('x', this.shownX);
      frame.setScale('y', this.shownY);
    });
    this.legend.update(this.props.curves.flatMap(({ id }) => this.models.get(id) ?? []));
    this.refine();
  }

  private takeCurves(): void {
    const wanted = new Set(this.props.curves.map((curve) => curve.id));
    for (const id of this.models.keys()) if (!wanted.has(id)) this.models.delete(id);
    for (const curve of this.props.curves) {
      let model = this.models.get(curve.id);
      if (!model) {
        model = new CurveModel(curve.id, curve.data);
        this.models.set(curve.id, model);
      }
      model.data = curve.data;
      model.color = curve.color;
      model.name = curve.name;
      model.hidden = curve.hidden;
    }
  }

  /** The frame is made anew when the theme or the kind of an axis changes: uPlot takes both once. */
  private ensureFrame(): boolean {
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    if (width < 40 || height < 40) return false;
    const { logX, logY } = this.props.look;
    const signature = `${this.props.theme} ${logX} ${logY}`;
    if (this.frame && signature === this.frameSignature) {
      if (this.frame.width !== width || this.frame.height !== height) this.frame.setSize({ width, height });
      return true;
    }
    this.frame?.destroy();
    this.frameSignature = signature;
    // A part that was chosen on a linear axis may hold values that a logarithmic one has no place for.
    if (logX && this.zoomX && this.zoomX.min <= 0) this.resetX();
    if (logY && this.zoomY && this.zoomY.min <= 0) this.resetY();
    const theme = canvasTheme(this.host);
    this.frame = createFrame(
      this.host,
      { width, height, logX, logY, theme },
      { onDraw: (frame) => this.drawCurves(frame), onSelect: (part) => this.select(part) },
    );
    this.overlay = new HoverOverlay(this.frame.over);
    this.listen(this.frame.over);
    return true;
  }

  private listen(over: HTMLElement): void {
    over.addEventListener('pointermove', (event) => {
      const x = event.clientX - over.getBoundingClientRect().left;
      this.props.onHover(this.frame?.posToVal(x, 'x') ?? null);
    });
    over.addEventListener('pointerleave', () => this.props.onHover(null));
    over.addEventListener('dblclick', () => this.resetAll());
  }

  private wholeX(): Range {
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (const { data, hidden } of this.models.values()) {
      if (hidden || data.steps.length === 0) continue;
      min = Math.min(min, data.steps[0] as number);
      max = Math.max(max, data.steps.at(-1) as number);
    }
    const { logX } = this.props.look;
    if (min > max) return { min: logX ? 1 : 0, max: 10 };
    if (logX) min = Math.max(1, min);
    return max > min ? { min, max } : { min: logX ? min / 2 : min - 1, max: min + 1 };
  }

  private viewCurves(): CurveView[] {
    const { min, max } = this.shownX;
    const views: CurveView[] = [];
    for (const model of this.models.values()) {
      if (model.hidden || model.data.steps.length === 0) continue;
      const source = model.sourceFor(min, max);
      const derived = model.derived(source, this.props.look);
      views.push({ model, source, derived, ...visibleRange(source.steps, min, max) });
    }
    return views;
  }

  private fitY(): Range {
    const extent = new Extent(this.props.look.logY);
    for (const { source, first, last } of this.views) extent.add(source.values, first, last);
    return padded(extent, this.props.look.logY);
  }

  private drawCurves(frame: uPlot): void {
    const { left, top, width, height } = frame.bbox;
    const { logX, logY } = this.props.look;
    const area: Area = { left, top, width, height, ratio: devicePixelRatio };
    const scales = {
      x: scaleOf(this.shownX, { from: left, to: left + width }, logX),
      y: scaleOf(this.shownY, { from: top + height, to: top }, logY),
    };
    this.scales = scales;
    const context = frame.ctx;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    for (const view of this.views) if (view.derived.hasBand) drawBand(context, view, scales, area);
    if (this.props.look.markers) this.drawMarks(context, scales, area);
    for (const view of this.views) {
      if (view.model.data.key.mode === 'audit') drawAudit(context, view, scales, area);
      else drawLine(context, view, scales, area);
    }
    context.restore();
    this.drawHover();
    this.tell();
  }

  private drawMarks(context: CanvasRenderingContext2D, scales: PlotScales, area: Area): void {
    for (const { model, derived, source } of this.views) {
      const { branch, mode } = model.data.key;
      if (mode === 'audit') continue;
      const steps = this.props.checkpoints.get(branch);
      if (steps) drawCheckpoints(context, { steps, color: model.color }, scales, area);
      const edits = this.props.edits.get(branch);
      if (edits) drawEdits(context, { steps: edits, color: model.color }, scales, area);
      const parent = this.props.branches.find((other) => other.branch === branch)?.parent;
      if (!parent) continue;
      const line = this.views.find(
        ({ model: { data } }) => data.key.branch === parent.branch && data.key.mode === mode,
      );
      if (!line) continue;
      const from = joinPoint({ steps: line.source.steps, values: line.derived.smoothed }, parent.step);
      const at = derived.smoothed.findIndex(Number.isFinite);
      if (!from || at < 0) continue;
      const to = { step: source.steps[at] as number, value: derived.smoothed[at] as number };
      drawJoin(context, { from, to, color: model.color }, scales, area);
    }
  }

  private drawHover(): void {
    const { overlay, frame, scales, hover } = this;
    if (!overlay || !frame || !scales) return;
    const inside = hover !== null && hover >= this.shownX.min && hover <= this.shownX.max;
    if (inside) overlay.moveLine(frame.valToPos(hover, 'x'), formatStep(hover));
    else overlay.hide();
    const ratio = devicePixelRatio;
    this.views.forEach(({ model, source, derived }, place) => {
      const at = inside ? nearestIndex(source.steps, hover) : source.steps.length - 1;
      const smoothed = derived.smoothed[at] ?? Number.NaN;
      this.legend.setValue(model.id, smoothed, source.values[at] ?? null);
      if (!inside) return;
      overlay.moveDot(place, {
        x: (toPixel(scales.x, source.steps[at] as number) - frame.bbox.left) / ratio,
        y: (toPixel(scales.y, smoothed) - frame.bbox.top) / ratio,
        color: model.color,
      });
    });
    if (inside) overlay.hideDotsFrom(this.views.length);
    for (const model of this.models.values()) if (model.hidden) this.legend.setValue(model.id, null, null);
  }

  private tell(): void {
    let shownPoints = 0;
    let totalPoints = 0;
    let gapCount = 0;
    for (const { source, model, derived } of this.views) {
      shownPoints += source.steps.length;
      totalPoints += source.reduced ? model.data.pointCount : source.steps.length;
      gapCount += derived.gapCount;
    }
    this.props.onDrawn({
      zoomed: this.zoomX !== null || this.zoomY !== null,
      shownPoints,
      totalPoints,
      gapCount,
    });
  }

  // --- zoom --------------------------------------------------------------------------------------------------------

  private select(part: { left: number; top: number; width: number; height: number }): void {
    const { frame } = this;
    if (!frame) return;
    const alongX = part.width < frame.over.clientWidth - 1;
    const alongY = part.height < frame.over.clientHeight - 1;
    const x = { min: frame.posToVal(part.left, 'x'), max: frame.posToVal(part.left + part.width, 'x') };
    const y = { min: frame.posToVal(part.top + part.height, 'y'), max: frame.posToVal(part.top, 'y') };
    if ((alongX && tooFine(x)) || (alongY && tooFine(y))) return;
    this.zoomTo(alongX ? x : this.zoomX, alongY ? y : this.zoomY);
  }

  private zoomTo(x: Range | null, y: Range | null): void {
    this.zoomX = x;
    this.zoomY = y;
    if (!x) {
      this.details.cancel();
      for (const model of this.models.values()) model.setDetail(null);
    }
    this.schedule();
  }

  /** Asks for finer points of what is zoomed into. */
  private refine(): void {
    const range = this.zoomX;
    if (!range) return;
    const margin = this.props.look.smoothing > 0 ? (range.max - range.min) * FETCH_MARGIN : 1;
    const budget = Math.max(200, Math.round(this.host.clientWidth * devicePixelRatio * POINTS_PER_PIXEL));
    const shown = [...this.models.values()].filter((model) => !model.hidden);
    this.details.want(shown, { range, margin, budget });
  }
}
