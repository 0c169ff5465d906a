import { drawBoxes, SMALL_NAMES } from '../overlay/drawBoxes';
import type { Drawn } from '../overlay/paint';
import { describe, formatValue, tagHue } from './format';
import type { Cell, DrawMask, Painter } from './types';

/** Chips beyond these are counted instead of shown. */
const MAX_CHIPS = 3;
/** Narrower images have no room for the names of boxes. */
const NAMES_FROM_PX = 110;
/** Height of the line below the image that has the colour of the split. */
const EDGE_PX = 2;
const FIRST_RETRY_MS = 800;
const MAX_ATTEMPTS = 6;

/** What the cells of a page have in common. */
export interface CellLook {
  readonly imageUrl: (cell: Cell, sizePx: number) => string;
  readonly resolutionPx: number;
  readonly drawMask: DrawMask | null;
  readonly fields: readonly string[];
  /** What each field is called on a cell. */
  readonly labels: readonly string[];
  readonly splitColors: Readonly<Record<string, string>>;
  readonly tagColor: ((tag: string) => string) | undefined;
  readonly captioned: boolean;
}

function element(tag: 'div' | 'span', className: string): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  return node;
}

/** The DOM of one cell. It is patched from sample to sample, never rebuilt. */
export class CellNode {
  readonly root = element('div', 'grid-cell');
  cell: Cell | null = null;
  private look: CellLook | null = null;
  key = '';

  private readonly box = element('div', 'grid-image');
  private readonly image = document.createElement('img');
  /** Made with the first mask: most data sets have none. */
  private mask: HTMLCanvasElement | null = null;
  private maskTurn = 0;
  private drawn: Drawn | null = null;
  private width = 0;
  private height = 0;
  private readonly reason = element('div', 'grid-reason');
  private readonly mark = element('span', 'grid-discard-mark');
  private readonly check = element('span', 'grid-check');
  private readonly chips = element('div', 'grid-chips');
  private readonly caption = element('div', 'grid-caption');
  private readonly name = element('span', 'grid-name');
  private readonly splitName = element('span', 'grid-split');
  private readonly lines: { root: HTMLElement; label: HTMLElement; value: HTMLElement }[] = [];
  private url = '';
  private edge = '';
  private failedAt = 0;
  private attempts = 0;
  private tags: readonly string[] = [];
  private tagColor: CellLook['tagColor'];

  constructor(private readonly onImageError: (node: CellNode, url: string) => void) {
    this.root.setAttribute('role', 'gridcell');
    this.root.dataset.testid = 'grid-cell';
    this.root.tabIndex = -1;
    this.image.decoding = 'async';
    this.image.draggable = false;
    this.image.alt = '';
    this.image.hidden = true;
    this.mark.textContent = 'discarded';
    const head = element('div', 'grid-head');
    head.append(this.name, this.splitName);
    this.caption.append(head);
    this.box.append(this.image, this.reason, this.mark, this.check, this.chips);
    this.root.append(this.box, this.caption);
    this.image.addEventListener('load', () => this.showImage());
    this.image.addEventListener('error', () => this.failImage());
  }

  /** Shows a sample; only what differs from what is shown touches the document. */
  show(key: string, cell: Cell, look: CellLook): void {
    const before = this.cell;
    if (before === cell && look === this.look) return;
    const maskedBy = this.look?.drawMask;
    this.cell = cell;
    this.look = look;
    this.key = key;
    if (before?.uid !== cell.uid) {
      this.root.dataset.uid = cell.uid;
      this.name.textContent = cell.uid;
    }
    const edge = look.splitColors[cell.split] ?? '';
    if (before?.split !== cell.split) {
      this.root.dataset.split = cell.split;
      this.splitName.textContent = cell.split;
    }
    if (edge !== this.edge) {
      this.edge = edge;
      this.root.style.setProperty('--split', edge);
    }
    if (before?.discarded !== cell.discarded) this.root.dataset.discarded = String(cell.discarded);
    if (this.caption.hidden === look.captioned) {
      this.caption.hidden = !look.captioned;
      this.root.classList.toggle('is-bare', !look.captioned);
    }
    this.patchTags(cell.tags, look.tagColor);
    if (look.captioned) this.patchLines(cell, look);
    const fresh = before?.uid !== cell.uid || before?.split !== cell.split;
    this.patchImage(look.imageUrl(cell, look.resolutionPx));
    if (fresh || look.drawMask !== maskedBy) void this.patchMask(cell, look, fresh);
    const text = describe(cell, look.fields);
    if (this.root.title !== text) this.root.title = text;
    // What is written on a cell is its name; without a caption the name has to be given.
    if (look.captioned) this.root.removeAttribute('aria-label');
    else this.root.setAttribute('aria-label', text.replaceAll('\n', ', '));
  }

  setSelected(selected: boolean): void {
    const text = String(selected);
    if (this.root.getAttribute('aria-selected') !== text) this.root.setAttribute('aria-selected', text);
  }

  setPainted(mode: Painter['mode'] | ''): void {
    if ((this.root.dataset.painted ?? '') === mode) return;
    if (mode) this.root.dataset.painted = mode;
    else delete this.root.dataset.painted;
  }

  /** Gives the image its box, in CSS pixels. */
  setBox(width: number, height: number): void {
    if (this.width === width && this.height === height) return;
    if (this.height !== height) this.box.style.height = `${height}px`;
    this.width = width;
    this.height = height;
    if (this.drawn && this.drawn.boxes.length > 0) this.paintMask(this.drawn);
  }

  /** Whether an image failed and will be asked for again. */
  get waiting(): boolean {
    return this.failedAt > 0 && this.attempts < MAX_ATTEMPTS;
  }

  get loading(): boolean {
    return this.root.dataset.image === 'loading';
  }

  /** Asks again for an image that failed, each time after twice as long: a trainer that starts has none at first. */
  retryImage(): void {
    if (!this.waiting || performance.now() - this.failedAt < FIRST_RETRY_MS * 2 ** this.attempts) return;
    const attempts = this.attempts + 1;
    const url = this.url;
    this.url = '';
    this.patchImage(url);
    this.attempts = attempts;
  }

  explain(url: string, text: string): void {
    if (url === this.url && this.failedAt > 0) this.reason.textContent = text;
  }

  /** Lets go of the sample, so that a hidden cell loads nothing. */
  clear(): void {
    this.cell = null;
    this.look = null;
    this.key = '';
    this.patchImage('');
    this.dropMask();
  }

  private patchImage(url: string): void {
    if (url === this.url && (url !== '' || this.reason.textContent !== '')) return;
    this.url = url;
    this.failedAt = 0;
    this.attempts = 0;
    this.image.hidden = true;
    this.root.dataset.image = url ? 'loading' : 'none';
    this.reason.textContent = url ? '' : 'no image';
    if (url) this.image.src = url;
    else this.image.removeAttribute('src');
  }

  /** Draws the mask; that of another sample goes at once, that of the same stays until the new one is there. */
  private async patchMask(cell: Cell, { drawMask, resolutionPx }: CellLook, fresh: boolean): Promise<void> {
    if (fresh || !drawMask) this.dropMask();
    if (!drawMask) return;
    const turn = ++this.maskTurn;
    const drawn = await drawMask(cell, resolutionPx, 0).catch(() => null);
    if (turn !== this.maskTurn) return;
    if (!drawn) {
      this.dropMask();
      return;
    }
    this.drawn = drawn;
    this.box.classList.toggle('is-grey', drawn.grey);
    this.paintMask(drawn);
    this.root.dataset.mask = 'shown';
  }

  private paintMask(drawn: Drawn): void {
    if (!this.mask) {
      this.mask = document.createElement('canvas');
      this.mask.className = 'grid-mask';
      this.image.after(this.mask);
    }
    const { mask } = this;
    mask.hidden = false;
    const asBoxes = drawn.boxes.length > 0;
    mask.classList.toggle('is-drawn', asBoxes);
    if (asBoxes) this.paintBoxes(mask, drawn);
    else {
      mask.removeAttribute('role');
      mask.width = drawn.pixels.width;
      mask.height = drawn.pixels.height;
      mask.getContext('2d')?.putImageData(drawn.pixels, 0, 0);
    }
  }

  /** As large as they are seen, so that lines and names are sharp. */
  private paintBoxes(mask: HTMLCanvasElement, { pixels, boxes }: Drawn): void {
    mask.setAttribute('role', 'img');
    mask.setAttribute('aria-label', boxes.map(({ text }) => text).join(', '));
    const scale = Math.min(this.width / pixels.width, (this.height - EDGE_PX) / pixels.height);
    const [width, height] = [pixels.width * scale, pixels.height * scale];
    mask.width = Math.round(width * devicePixelRatio);
    mask.height = Math.round(height * devicePixelRatio);
    const context = mask.getContext('2d');
    if (!context) return;
    context.scale(devicePixelRatio, devicePixelRatio);
    drawBoxes(
      context,
      boxes,
      { left: 0, top: 0, width, height },
      width >= NAMES_FROM_PX ? SMALL_NAMES : null,
    );
  }

  private dropMask(): void {
    this.maskTurn++;
    this.drawn = null;
    if (!this.mask || this.mask.hidden) return;
    this.box.classList.remove('is-grey');
    this.mask.hidden = true;
    delete this.root.dataset.mask;
  }

  private showImage(): void {
    if (!this.url) return;
    // Enlarged with soft edges, a tiny image would show colours that it does not have.
    const tiny = this.image.naturalWidth < 64 && this.image.naturalHeight < 64;
    this.image.classList.toggle('is-tiny', tiny);
    this.image.hidden = false;
    this.root.dataset.image = 'shown';
  }

  private failImage(): void {
    if (!this.url) return;
    this.failedAt = performance.now();
    this.root.dataset.image = 'failed';
    this.reason.textContent = 'image not loaded';
    this.onImageError(this, this.url);
  }

  private patchTags(tags: readonly string[], color: CellLook['tagColor']): void {
    const same =
      color === this.tagColor &&
      tags.length === this.tags.length &&
      tags.every((tag, i) => tag === this.tags[i]);
    if (same) return;
    this.tags = tags;
    this.tagColor = color;
    const shown = tags.slice(0, MAX_CHIPS).map((tag) => {
      const chip = element('span', 'grid-chip');
      chip.textContent = tag;
      if (color) chip.style.setProperty('--tag', color(tag));
      else chip.style.setProperty('--hue', String(tagHue(tag)));
      return chip;
    });
    if (tags.length > MAX_CHIPS) {
      const more = element('span', 'grid-chip grid-chip-more');
      more.textContent = `+${tags.length - MAX_CHIPS}`;
      shown.push(more);
    }
    this.chips.replaceChildren(...shown);
  }

  private patchLines(cell: Cell, { fields, labels }: CellLook): void {
    while (this.lines.length > fields.length) this.lines.pop()?.root.remove();
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as string;
      let line = this.lines[i];
      if (!line) {
        line = {
          root: element('div', 'grid-line'),
          label: element('span', 'grid-label'),
          value: element('span', 'grid-value'),
        };
        line.root.append(line.label, line.value);
        this.caption.append(line.root);
        this.lines.push(line);
      }
      const value = formatValue(cell.values[field]);
      const label = labels[i] ?? field;
      if (line.label.textContent !== label) line.label.textContent = label;
      if (line.value.textContent !== value) line.value.textContent = value;
    }
  }
}
