import { computed, useSignalEffect } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { Grid } from '../grid/Grid';
import { isSelected, keyOf, only } from '../grid/selection';
import type { Cell } from '../grid/types';
import { splitColor } from '../panels/DetailsCard';
import { painter } from '../panels/TagsCard';
import { addTag, removeTag, targetOfCells } from '../state/edits';
import { drawMask, splitView } from '../state/masks';
import { mediaUrl, open } from '../state/sample';
import { canEdit } from '../state/session';
import { cellSizePx, resolutionPx } from '../state/settings';
import * as view from '../state/view';
import { contextMenu } from './overlays';

const colors = computed(() =>
  Object.fromEntries(view.splits.value.map(({ split }, index) => [split, splitColor(split, index)])),
);

function select(selection: typeof view.selection.value): void {
  view.selection.value = selection;
}

function showMenu(cell: Cell, x: number, y: number): void {
  if (!isSelected(view.selection.value, keyOf(cell))) select(only([keyOf(cell)]));
  contextMenu.value = { x, y };
}

function stroke(cells: readonly Cell[]): void {
  const brush = painter.value;
  if (!brush || cells.length === 0) return;
  void (brush.mode === 'add' ? addTag : removeTag)(targetOfCells(cells), brush.tag);
}

const imageUrl = (cell: Cell, sizePx: number) => mediaUrl(cell, sizePx);
const openCell = (cell: Cell) => void open({ split: cell.split, uid: cell.uid });
const makeAnew = () => void view.remake();

function Cells() {
  return (
    <Grid
      data={view.page.value}
      imageUrl={imageUrl}
      cellSizePx={cellSizePx.value}
      resolutionPx={resolutionPx.value}
      drawMask={drawMask.value}
      splitView={splitView.value}
      fields={view.fields.value}
      splitColors={colors.value}
      selection={view.selection.value}
      onSelectionChange={select}
      onOpen={openCell}
      onContextMenu={showMenu}
      painter={canEdit.value ? painter.value : null}
      onStroke={stroke}
      onCapacity={view.setCapacity}
      onPage={view.movePages}
      changedCount={view.changedCount.value}
      onRefresh={makeAnew}
    />
  );
}

/** The grid; whether a page is on its way is told without drawing the cells again. */
export function GridPane() {
  const root = useRef<HTMLDivElement>(null);
  useSignalEffect(() => {
    root.current?.setAttribute('aria-busy', String(view.loading.value));
  });
  return (
    <div ref={root} class="grid-pane" data-testid="grid-pane">
      <Cells />
    </div>
  );
}
