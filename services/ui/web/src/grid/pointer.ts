import type { Rectangle } from './layout';

/** Movement in CSS pixels below which a press is a click. */
const DRAG_THRESHOLD_PX = 4;

export interface Modifiers {
  readonly toggle: boolean;
  readonly range: boolean;
}

export interface PointerTarget {
  /** Whether a press paints instead of selecting. */
  painting(): boolean;
  press(x: number, y: number, modifiers: Modifiers): void;
  click(x: number, y: number, modifiers: Modifiers): void;
  /** The rectangle so far. */
  drag(area: Rectangle, modifiers: Modifiers): void;
  dragEnd(): void;
  /** A piece of a stroke. */
  paint(fromX: number, fromY: number, toX: number, toY: number): void;
  paintEnd(): void;
  /** The gesture was taken back. */
  cancel(): void;
}

type Gesture = 'none' | 'pressed' | 'dragging' | 'painting';

/** Turns pointer events on an element into clicks, rectangles and strokes. Coordinates are those of the element. */
export class PointerGestures {
  private gesture: Gesture = 'none';
  private startX = 0;
  private startY = 0;
  private lastX = 0;
  private lastY = 0;
  private modifiers: Modifiers = { toggle: false, range: false };
  private pointerId = -1;

  constructor(
    private readonly root: HTMLElement,
    private readonly target: PointerTarget,
  ) {
    root.addEventListener('pointerdown', this.down);
    root.addEventListener('pointermove', this.move);
    root.addEventListener('pointerup', this.up);
    root.addEventListener('pointercancel', this.cancel);
  }

  get active(): boolean {
    return this.gesture !== 'none';
  }

  readonly cancel = (): void => {
    if (this.gesture === 'none') return;
    this.finish();
    this.target.cancel();
  };

  dispose(): void {
    this.cancel();
    this.root.removeEventListener('pointerdown', this.down);
    this.root.removeEventListener('pointermove', this.move);
    this.root.removeEventListener('pointerup', this.up);
    this.root.removeEventListener('pointercancel', this.cancel);
  }

  private finish(): void {
    this.gesture = 'none';
    if (this.root.hasPointerCapture(this.pointerId)) this.root.releasePointerCapture(this.pointerId);
  }

  private readonly down = (event: PointerEvent): void => {
    if (event.button !== 0 || this.gesture !== 'none') return;
    if (event.target instanceof Element && event.target.closest('button')) return;
    const box = this.root.getBoundingClientRect();
    this.startX = this.lastX = event.clientX - box.left;
    this.startY = this.lastY = event.clientY - box.top;
    this.modifiers = { toggle: event.ctrlKey || event.metaKey, range: event.shiftKey };
    this.pointerId = event.pointerId;
    this.root.setPointerCapture(event.pointerId);
    if (this.target.painting()) {
      this.gesture = 'painting';
      this.target.paint(this.startX, this.startY, this.startX, this.startY);
    } else {
      this.gesture = 'pressed';
      this.target.press(this.startX, this.startY, this.modifiers);
    }
  };

  private readonly move = (event: PointerEvent): void => {
    if (this.gesture === 'none') return;
    const box = this.root.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    if (this.gesture === 'painting') {
      this.target.paint(this.lastX, this.lastY, x, y);
    } else if (
      this.gesture === 'dragging' ||
      Math.hypot(x - this.startX, y - this.startY) >= DRAG_THRESHOLD_PX
    ) {
      this.gesture = 'dragging';
      this.target.drag(
        {
          left: Math.min(x, this.startX),
          top: Math.min(y, this.startY),
          right: Math.max(x, this.startX),
          bottom: Math.max(y, this.startY),
        },
        this.modifiers,
      );
    }
    this.lastX = x;
    this.lastY = y;
  };

  private readonly up = (): void => {
    const gesture = this.gesture;
    if (gesture === 'none') return;
    this.finish();
    if (gesture === 'painting') this.target.paintEnd();
    else if (gesture === 'dragging') this.target.dragEnd();
    else this.target.click(this.startX, this.startY, this.modifiers);
  };
}
