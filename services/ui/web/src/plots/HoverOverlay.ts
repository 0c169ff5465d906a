/** A hairline and a dot per curve over a plot; moved without drawing the plot again. */
export class HoverOverlay {
  private readonly line = document.createElement('div');
  private readonly label = document.createElement('span');
  private readonly dots: HTMLElement[] = [];

  constructor(private readonly root: HTMLElement) {
    this.line.className = 'plot-hairline';
    this.line.hidden = true;
    this.label.className = 'plot-step';
    this.line.append(this.label);
    root.append(this.line);
  }

  hide(): void {
    this.line.hidden = true;
    for (const dot of this.dots) dot.hidden = true;
  }

  moveLine(x: number, label: string): void {
    this.line.hidden = false;
    this.label.textContent = label;
    this.label.classList.toggle('is-left', x > this.root.clientWidth / 2);
    this.line.style.transform = `translateX(${x}px)`;
  }

  /** `y` is NaN when the curve has no value there. */
  moveDot(place: number, at: { readonly x: number; readonly y: number; readonly color: string }): void {
    while (this.dots.length <= place) {
      const dot = document.createElement('div');
      dot.className = 'plot-dot';
      this.dots.push(dot);
      this.root.append(dot);
    }
    const dot = this.dots[place] as HTMLElement;
    dot.hidden = !Number.isFinite(at.y);
    if (dot.hidden) return;
    dot.style.transform = `translate(${at.x}px, ${at.y}px)`;
    dot.style.backgroundColor = at.color;
  }

  hideDotsFrom(place: number): void {
    for (let i = place; i < this.dots.length; i++) (this.dots[i] as HTMLElement).hidden = true;
  }
}
