import { useLayoutEffect, useRef } from 'preact/hooks';
import './grid.css';
import { GridSurface } from './GridSurface';
import { selectedCount } from './selection';
import type { GridProps } from './types';

/** Mounts the grid; everything that moves is drawn by `GridSurface`. */
export function Grid(props: GridProps) {
  const root = useRef<HTMLDivElement>(null);
  const surface = useRef<GridSurface | null>(null);
  const { data, changedCount, onRefresh, painter } = props;

  // Made once; later properties reach it through `update`.
  useLayoutEffect(() => {
    if (!root.current) return;
    const made = new GridSurface(root.current, props);
    surface.current = made;
    return () => made.dispose();
  }, []);
  useLayoutEffect(() => surface.current?.update(props));

  const label = painter
    ? `Samples; painting ${painter.mode === 'add' ? 'adds' : 'removes'} the tag ${painter.tag}`
    : `Samples, ${selectedCount(props.selection, data?.matched ?? 0)} selected`;
  return (
    <div class="grid" data-testid="grid">
      {/* biome-ignore lint/a11y/useSemanticElements: cells are placed by layout, not by a table. */}
      <div
        ref={root}
        class="grid-view"
        role="grid"
        aria-multiselectable="true"
        aria-label={label}
        aria-busy={!data}
      />
      {data === null && (
        <p class="grid-message" role="status">
          Loading samples …
        </p>
      )}
      {data?.matched === 0 && (
        <p class="grid-message" role="status" data-testid="grid-empty">
          No sample matches.
        </p>
      )}
      {changedCount > 0 && (
        <button type="button" class="grid-changed" data-testid="grid-changed" onClick={onRefresh}>
          <span class="grid-changed-dot" />
          {changedCount.toLocaleString('en')} changed · <strong>Refresh</strong>
        </button>
      )}
    </div>
  );
}
