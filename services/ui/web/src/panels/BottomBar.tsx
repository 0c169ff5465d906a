import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { count } from '../shell/numbers';
import { capacity, goTo, movePages, page, totals } from '../state/view';
import { SelectionBar } from './SelectionBar';

/** While the slider moves, the view follows no faster than this. */
const SETTLE_MS = 60;

/** Where in the view the page stands, and how many samples there are. */
export function BottomBar() {
  const dragged = useSignal<number | null>(null);
  const timer = useRef(0);
  const { total, active, matched } = totals.value;
  const cells = page.value?.cells.length ?? 0;
  const first = dragged.value ?? page.value?.offset ?? 0;
  const last = Math.max(0, matched - capacity.value);
  const move = (value: number) => {
    dragged.value = value;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      void goTo(value).then(() => {
        dragged.value = null;
      });
    }, SETTLE_MS);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const pages = { PageDown: 1, PageUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (pages === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    movePages(pages);
  };
  return (
    <footer class="bottom">
      <SelectionBar />
      <span class="index" data-testid="batch-start">
        {matched ? count(first + 1) : 0}
      </span>
      <input
        type="range"
        class="batch-slider"
        min={0}
        max={last}
        step={1}
        value={Math.min(first, last)}
        disabled={last === 0}
        aria-label="Position in the view"
        aria-valuetext={`samples ${first + 1} to ${Math.min(first + cells, matched)} of ${matched}`}
        data-testid="batch-slider"
        onKeyDown={onKeyDown}
        onInput={(event) => move(event.currentTarget.valueAsNumber)}
      />
      <span class="index" data-testid="batch-end">
        {count(Math.min(first + cells, matched))}
      </span>
      <dl class="counters">
        <div>
          <dt>matched</dt>
          <dd data-testid="count-matched" data-value={matched}>
            {count(matched)}
          </dd>
        </div>
        <div>
          <dt>active</dt>
          <dd data-testid="count-active" data-value={active}>
            {count(active)}
          </dd>
        </div>
        <div>
          <dt>total</dt>
          <dd data-testid="count-total" data-value={total}>
            {count(total)}
          </dd>
        </div>
      </dl>
    </footer>
  );
}
