import { ImageFailures } from '../grid/imageFailure';
import type { BoxMark } from '../overlay/boxes';
import { drawBoxes, LARGE_NAMES } from '../overlay/drawBoxes';
import type { Drawn } from '../overlay/paint';
import {
  FITTED,
  type Placement,
  panned,
  pixelAt,
  placementOf,
  type Size,
  type Viewport,
  zoomedAt,
} from './viewport';

/** Pixels of an image are shown as squares from this size in CSS pixels on, and get a grid from the next. */
const SHARP_PX = 3;
const PIXEL_GRID_PX = 12;
const WHEEL_FACTOR = 0.0018;
const FIRST_RETRY_MS = 800;
const MAX_ATTEMPTS = 5;

function drawSplitLine(context: CanvasRenderingContext2D, x: number, place: Placement): void {
  context.fillStyle = 'rgb(128 128 128 / 80%)';
  context.fillRect(x - 0.5, place.top, 1, place.height);
}

export type StageStatus = 'loading' | 'shown' | 'failed';

export interface StageEvents {
  readonly onStatus: (status: StageStatus, reason: string) => void;
  /** Told after each change of what is seen. */
  readonly onView: (view: Viewport, image: Size | null) => void;
  readonly onPixel: (pixel: { x: number; y: number } | null) => void;
}

/** A large image on a canvas: wheel zooms at the cursor, a drag pans. Drawn on animation frames. */
export class ImageStage {
  private readonly context: CanvasRenderingContext2D | null;
  private readonly observer: ResizeObserver;
  private readonly failures = new ImageFailures();
  private image: HTMLImageElement | null = null;
  private mask: HTMLCanvasElement | null = null;
  private boxes: readonly BoxMark[] = [];
  private split = false;
  private grey = false;
  private url = '';
  private subject = '';
  private view: Viewport = FITTED;
  private frame = 0;
  private attempts = 0;
  private retryTimer = 0;
  private dragX = Number.NaN;
  private dragY = Number.NaN;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly events: StageEvents,
  ) {
    this.context = canvas.getContext('2d');
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(canvas);
    canvas.addEventListener('wheel', this.onWheel, { passive: false });
    canvas.addEventListener('pointerdown', this.onDown);
    canvas.addEventListener('pointermove', this.onMove);
    canvas.addEventListener('pointerup', this.onUp);
    canvas.addEventListener('pointercancel', this.onUp);
    canvas.addEventListener('pointerleave', () => events.onPixel(null));
    canvas.addEventListener('dblclick', this.onDoubleClick);
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.retryTimer);
    this.observer.disconnect();
    this.url = '';
  }

  /**
   * Shows an image. `subject` names what it is of: another subject never stays on the screen while the next is
   * loading, and starts fitted; another address of the same subject replaces it in place.
   */
  show(subject: string, url: string): void {
    if (url === this.url) return;
    if (subject !== this.subject) {
      this.subject = subject;
      this.image = null;
      this.look(FITTED);
    }
    this.url = url;
    this.attempts = 0;
    if (!url) {
      this.events.onStatus('failed', 'This sample has no image.');
      this.schedule();
      return;
    }
    this.events.onStatus('loading', '');
    this.load(url);
    this.schedule();
  }

  /** Lays a mask over the image, over its right half only when `split`. */
  lay(drawn: Drawn | null, split: boolean): void {
    this.split = split;
    this.mask = null;
    this.boxes = drawn?.boxes ?? [];
    this.grey = drawn?.grey === true && !split;
    if (drawn && this.boxes.length === 0) {
      const { pixels } = drawn;
      this.mask = document.createElement('canvas');
      this.mask.width = pixels.width;
      this.mask.height = pixels.height;
      this.mask.getContext('2d')?.putImageData(pixels, 0, 0);
    }
    this.schedule();
  }

  zoomBy(factor: number): void {
    this.zoomAround(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2, factor);
  }

  reset(): void {
    this.look(FITTED);
  }

  /** Moves what is seen by fractions of the box. */
  panBy(x: number, y: number): void {
    const sizes = this.sizes();
    if (sizes) this.look(panned(this.view, { x: -x * sizes.box.width, y: -y * sizes.box.height }, sizes));
  }

  private load(url: string): void {
    const image = new Image();
    image.decoding = 'async';
    image.onload = () => this.take(image, url);
    image.onerror = () => this.fail(url);
    image.src = url;
  }

  private take(image: HTMLImageElement, url: string): void {
    if (url !== this.url) return;
    this.image = image;
    this.events.onStatus('shown', '');
    this.look(this.view);
  }

  private fail(url: string): void {
    if (url !== this.url) return;
    this.image = null;
    this.events.onStatus('failed', 'The image was not loaded.');
    this.schedule();
    void this.failures.explain(url, (reason) => {
      if (url === this.url) this.events.onStatus('failed', reason);
    });
    // A trainer that has just started serves no images for a moment.
    if (this.attempts >= MAX_ATTEMPTS) return;
    this.retryTimer = setTimeout(
      () => url === this.url && this.load(url),
      FIRST_RETRY_MS * 2 ** this.attempts++,
    );
  }

  private sizes(): { image: Size; box: Size } | null {
    const { image, canvas } = this;
    if (!image?.naturalWidth || !canvas.clientWidth) return null;
    return {
      image: { width: image.naturalWidth, height: image.naturalHeight },
      box: { width: canvas.clientWidth, height: canvas.clientHeight },
    };
  }

  private look(view: Viewport): void {
    this.view = view;
    this.events.onView(view, this.sizes()?.image ?? null);
    this.schedule();
  }

  private zoomAround(x: number, y: number, factor: number): void {
    const sizes = this.sizes();
    if (sizes) this.look(zoomedAt(this.view, { x, y, factor }, sizes));
  }

  // --- drawing -----------------------------------------------------------------------------------------------------

  private schedule(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.frame = 0;
    const { canvas, context, image } = this;
    const ratio = devicePixelRatio;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    if (!context) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const sizes = this.sizes();
    if (!image || !sizes) return;
    const place = placementOf(this.view, sizes.image, sizes.box);
    const pixel = place.width / sizes.image.width;
    context.imageSmoothingEnabled = pixel < SHARP_PX;
    context.imageSmoothingQuality = 'high';
    context.filter = this.grey ? 'grayscale(1)' : 'none';
    context.drawImage(image, place.left, place.top, place.width, place.height);
    context.filter = 'none';
    if (this.mask) this.drawMask(context, this.mask, place);
    if (this.boxes.length > 0) this.drawBoxes(context, place);
    if (this.view.zoom > 1 && pixel >= PIXEL_GRID_PX) this.drawPixelGrid(context, place, sizes);
  }

  private drawMask(context: CanvasRenderingContext2D, mask: HTMLCanvasElement, place: Placement): void {
    const from = this.split ? Math.floor(mask.width / 2) : 0;
    const left = place.left + (place.width * from) / mask.width;
    const width = place.left + place.width - left;
    context.imageSmoothingEnabled = false;
    context.drawImage(mask, from, 0, mask.width - from, mask.height, left, place.top, width, place.height);
    if (this.split) drawSplitLine(context, left, place);
  }

  private drawBoxes(context: CanvasRenderingContext2D, place: Placement): void {
    context.save();
    if (this.split) {
      const middle = place.left + place.width / 2;
      drawSplitLine(context, middle, place);
      context.beginPath();
      context.rect(middle, 0, this.canvas.clientWidth - middle, this.canvas.clientHeight);
      context.clip();
    }
    drawBoxes(context, this.boxes, place, LARGE_NAMES);
    context.restore();
  }

  private drawPixelGrid(
    context: CanvasRenderingContext2D,
    place: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
    { image, box }: { readonly image: Size; readonly box: Size },
  ): void {
    const pixel = place.width / image.width;
    const firstX = Math.max(0, Math.floor(-place.left / pixel));
    const lastX = Math.min(image.width, Math.ceil((box.width - place.left) / pixel));
    const firstY = Math.max(0, Math.floor(-place.top / pixel));
    const lastY = Math.min(image.height, Math.ceil((box.height - place.top) / pixel));
    context.beginPath();
    for (let x = firstX; x <= lastX; x++) {
      const at = Math.round(place.left + x * pixel) + 0.5;
      context.moveTo(at, place.top + firstY * pixel);
      context.lineTo(at, place.top + lastY * pixel);
    }
    for (let y = firstY; y <= lastY; y++) {
      const at = Math.round(place.top + y * pixel) + 0.5;
      context.moveTo(place.left + firstX * pixel, at);
      context.lineTo(place.left + lastX * pixel, at);
    }
    // Grey shows on black and on white.
    context.strokeStyle = 'rgb(128 128 128 / 45%)';
    context.lineWidth = 1;
    context.stroke();
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  private readonly onWheel = (event: WheelEvent): void => {
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 40;
    this.zoomAround(event.offsetX, event.offsetY, Math.exp(-event.deltaY * unit * WHEEL_FACTOR));
  };

  private readonly onDown = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.dragX = event.clientX;
    this.dragY = event.clientY;
  };

  private readonly onMove = (event: PointerEvent): void => {
    const sizes = this.sizes();
    if (!sizes) return;
    if (!Number.isNaN(this.dragX)) {
      this.look(panned(this.view, { x: event.clientX - this.dragX, y: event.clientY - this.dragY }, sizes));
      this.dragX = event.clientX;
      this.dragY = event.clientY;
    }
    const place = placementOf(this.view, sizes.image, sizes.box);
    this.events.onPixel(pixelAt(place, sizes.image, event.offsetX, event.offsetY));
  };

  private readonly onUp = (): void => {
    this.dragX = Number.NaN;
  };

  private readonly onDoubleClick = (event: MouseEvent): void => {
    if (this.view.zoom > 1) this.reset();
    else this.zoomAround(event.offsetX, event.offsetY, 4);
  };
}
