import type { CurveModel } from './CurveModel';
import { formatSignal } from './numbers';

interface Entry {
  readonly root: HTMLButtonElement;
  readonly swatch: HTMLElement;
  readonly name: HTMLElement;
  readonly value: HTMLElement;
  readonly raw: HTMLElement;
}

/** The curves of a plot with their values; a click hides or shows a curve. */
export class Legend {
  private readonly entries = new Map<string, Entry>();

  constructor(
    private readonly root: HTMLElement,
    private readonly onToggle: (id: string) => void,
  ) {}

  update(models: readonly CurveModel[]): void {
    const wanted = new Set(models.map((model) => model.id));
    for (const [id, entry] of this.entries) {
      if (wanted.has(id)) continue;
      entry.root.remove();
      this.entries.delete(id);
    }
    models.forEach((model, place) => {
      const entry = this.entries.get(model.id) ?? this.add(model);
      if (this.root.children[place] !== entry.root) {
        this.root.insertBefore(entry.root, this.root.children[place] ?? null);
      }
      setText(entry.name, model.name);
      entry.swatch.style.setProperty('--curve', model.color);
      entry.root.setAttribute('aria-pressed', String(!model.hidden));
      entry.root.title = model.hidden ? `Show ${model.name}` : `Hide ${model.name}`;
    });
  }

  setValue(id: string, smoothed: number | null, raw: number | null): void {
    const entry = this.entries.get(id);
    if (!entry) return;
    setText(entry.value, smoothed === null ? '–' : formatSignal(smoothed));
    setText(entry.raw, raw === null || raw === smoothed ? '' : formatSignal(raw));
  }

  private add(model: CurveModel): Entry {
    const part = (className: string) => {
      const span = document.createElement('span');
      span.className = className;
      return span;
    };
    const root = document.createElement('button');
    root.type = 'button';
    root.className = 'plot-legend-entry';
    root.dataset.testid = 'plot-legend-entry';
    root.dataset.branch = model.data.key.branch;
    root.dataset.mode = model.data.key.mode;
    const swatch = part(`plot-swatch${model.data.key.mode === 'audit' ? ' is-audit' : ''}`);
    const entry = {
      root,
      swatch,
      name: part('plot-legend-name'),
      value: part('plot-legend-value'),
      raw: part('plot-legend-raw'),
    };
    root.append(swatch, entry.name, entry.value, entry.raw);
    root.addEventListener('click', () => this.onToggle(model.id));
    this.entries.set(model.id, entry);
    this.root.append(root);
    return entry;
  }
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
