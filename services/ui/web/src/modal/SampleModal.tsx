import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import './modal.css';
import type { Drawn } from '../overlay/paint';
import { ImageStage, type StageStatus } from './ImageStage';
import { Metadata } from './Metadata';
import { type ModalCommand, modalCommand, ZOOM_STEP } from './modalKeys';
import { TagEditor } from './TagEditor';
import { Trajectories } from './Trajectories';
import { FULL_IMAGE_PX, IMAGE_PX, type SampleModalProps } from './types';
import { useFocusTrap } from './useFocusTrap';
import type { Size } from './viewport';

/** Neighbouring slices that are fetched ahead on each side. */
const SLICES_AHEAD = 2;
/** Zoom from which the larger image is worth asking for. */
const FULL_FROM_ZOOM = 1.5;

/** What is looked at of a sample. */
interface Looked {
  readonly subject: string;
  readonly slice: number;
  readonly full: boolean;
}

/** One sample, large. */
export function SampleModal(props: SampleModalProps) {
  const { sample, imageUrl, onPrevious, onNext, onClose, readOnly } = props;
  const subject = `${sample.split}\u0000${sample.uid}`;
  const root = useRef<HTMLDivElement>(null);
  const [kept, setKept] = useState<Looked>({ subject, slice: 0, full: false });
  // Another sample starts at its first slice and with the smaller image, in the same drawing.
  const { slice, full } = kept.subject === subject ? kept : { slice: 0, full: false };
  useFocusTrap(root);

  const sliceCount = Math.max(0, sample.sliceCount);
  const shownSlice = Math.min(slice, Math.max(0, sliceCount - 1));
  const url = imageUrl(full ? FULL_IMAGE_PX : IMAGE_PX, shownSlice);
  const onScale = (zoom: number, image: Size | null) => {
    const cut = image !== null && Math.max(image.width, image.height) >= IMAGE_PX;
    if (cut && zoom >= FULL_FROM_ZOOM) setKept({ subject, slice, full: true });
  };
  const { canvas, stage, status, reason, zoom, pixel, size } = useStage(subject, url, onScale);

  const laid = useMask(stage, {
    drawMask: props.drawMask ?? null,
    slice: shownSlice,
    split: props.splitView === true,
  });

  const ahead = sliceCount > 0 ? slicesAround(shownSlice, sliceCount) : [];
  usePrefetch([...ahead.map((z) => imageUrl(IMAGE_PX, z)), ...(props.prefetchUrls ?? [])]);

  const goToSlice = (z: number) =>
    setKept({ subject, full, slice: Math.min(sliceCount - 1, Math.max(0, z)) });
  const toggleDiscard = () => (sample.discarded ? props.onRestore() : props.onDiscard());
  const obey = (command: ModalCommand) => {
    if (command.kind === 'close') onClose();
    else if (command.kind === 'previous') onPrevious?.();
    else if (command.kind === 'next') onNext?.();
    else if (command.kind === 'fit') stage.current?.reset();
    else if (command.kind === 'zoom') stage.current?.zoomBy(command.factor);
    else if (command.kind === 'pan') stage.current?.panBy(command.x, command.y);
    else if (command.kind === 'slice' && sliceCount > 0) goToSlice(shownSlice + command.delta);
    else if (command.kind === 'toggleDiscard' && !readOnly) toggleDiscard();
    else if (command.kind === 'focusTag')
      root.current?.querySelector<HTMLElement>('.modal-tags input')?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const command = modalCommand(event, isTyping(event.target));
    if (!command) return;
    event.preventDefault();
    event.stopPropagation();
    obey(command);
  };
  return (
    <div class="modal-backdrop" onPointerDown={(event) => event.target === event.currentTarget && onClose()}>
      <div
        ref={root}
        class="modal"
        role="dialog"
        aria-modal="true"
        aria-label={`Sample ${sample.uid} of ${sample.split}`}
        tabIndex={-1}
        data-testid="modal"
        data-uid={sample.uid}
        data-split={sample.split}
        data-discarded={sample.discarded}
        onKeyDown={onKeyDown}
      >
        <div class="modal-head">
          <h2>
            <span class="modal-uid">{sample.uid}</span>
            <span class="modal-split">{sample.split}</span>
            {sample.discarded && <span class="modal-discarded">discarded</span>}
          </h2>
          {sample.position && (
            <span class="modal-position" data-testid="modal-position">
              {(sample.position.index + 1).toLocaleString('en')} of{' '}
              {sample.position.matched.toLocaleString('en')}
            </span>
          )}
          <div class="modal-nav">
            <HeadButton id="prev" label="Previous sample (←)" text="‹" onClick={onPrevious} />
            <HeadButton id="next" label="Next sample (→)" text="›" onClick={onNext} />
            <HeadButton id="close" label="Close (Esc)" text="×" onClick={onClose} />
          </div>
        </div>
        <div class="modal-body">
          <div class="modal-stage" data-status={status}>
            <canvas
              ref={canvas}
              role="img"
              aria-label={[
                `Image of sample ${sample.uid}`,
                ...(laid?.boxes ?? []).map(({ text }) => text),
              ].join(', ')}
              data-mask={laid !== null}
              data-testid="modal-image"
              data-status={status}
              data-zoom={zoom.toFixed(2)}
            />
            {status === 'failed' && (
              <p class="modal-reason" role="status">
                {reason}
              </p>
            )}
            <div class="modal-footer">
              <div class="modal-tools" role="toolbar" aria-label="Zoom and layers">
                <HeadButton
                  id="zoom-out"
                  label="Zoom out (−)"
                  text="−"
                  onClick={() => stage.current?.zoomBy(1 / ZOOM_STEP)}
                />
                <button
                  type="button"
                  class="modal-tool modal-zoom"
                  title="Fit (0)"
                  aria-label={`${zoomText(zoom)}: reset zoom`}
                  data-testid="modal-zoom-reset"
                  onClick={() => stage.current?.reset()}
                >
                  {zoomText(zoom)}
                </button>
                <HeadButton
                  id="zoom-in"
                  label="Zoom in (+)"
                  text="+"
                  onClick={() => stage.current?.zoomBy(ZOOM_STEP)}
                />
                {props.overlaySwitch}
              </div>
              {sliceCount > 1 && (
                <label class="modal-slice">
                  <span>Slice</span>
                  <input
                    type="range"
                    min="0"
                    max={sliceCount - 1}
                    value={shownSlice}
                    data-testid="modal-slice"
                    onInput={(event) => goToSlice(event.currentTarget.valueAsNumber)}
                  />
                  <output>
                    {shownSlice + 1} / {sliceCount}
                  </output>
                </label>
              )}
              <p class="modal-pixel" aria-hidden="true">
                {size && `${size.width} × ${size.height}`}
                {pixel && ` · x ${pixel.x}, y ${pixel.y}`}
              </p>
            </div>
          </div>
          <aside class="modal-side">
            <TagEditor
              tags={sample.tags}
              knownTags={props.knownTags ?? []}
              tagColor={props.tagColor}
              readOnly={readOnly}
              onAdd={props.onTagAdd}
              onRemove={props.onTagRemove}
            />
            {!readOnly && (
              <button
                type="button"
                class={`modal-button modal-discard${sample.discarded ? '' : ' is-bad'}`}
                title={sample.discarded ? 'Train on it again (D)' : 'Training skips it from then on (D)'}
                data-testid={sample.discarded ? 'modal-restore' : 'modal-discard'}
                onClick={toggleDiscard}
              >
                {sample.discarded ? 'Restore' : 'Discard'}
              </button>
            )}
            {sample.lastEdit && <p class="modal-last-edit">{sample.lastEdit}</p>}
            <Trajectories shown={props.trajectories ?? []} />
            <Metadata sample={sample} />
          </aside>
        </div>
      </div>
    </div>
  );
}

function zoomText(zoom: number): string {
  return zoom < 1.005 ? 'Fit' : `${zoom.toFixed(zoom < 10 ? 1 : 0)}×`;
}

function HeadButton(props: {
  readonly id: string;
  readonly label: string;
  readonly text: string;
  readonly onClick: (() => void) | null;
}) {
  return (
    <button
      type="button"
      class="modal-tool"
      title={props.label}
      aria-label={props.label}
      disabled={props.onClick === null}
      data-testid={`modal-${props.id}`}
      onClick={() => props.onClick?.()}
    >
      {props.text}
    </button>
  );
}

function useStage(subject: string, url: string, onScale: (zoom: number, image: Size | null) => void) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const stage = useRef<ImageStage | null>(null);
  const scaled = useRef(onScale);
  scaled.current = onScale;
  const [status, setStatus] = useState<{ status: StageStatus; reason: string }>({
    status: 'loading',
    reason: '',
  });
  const [zoom, setZoom] = useState(1);
  const [size, setSize] = useState<Size | null>(null);
  const [pixel, setPixel] = useState<{ x: number; y: number } | null>(null);
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const made = new ImageStage(canvas.current, {
      onStatus: (next, reason) => setStatus({ status: next, reason }),
      onView: (view, image) => {
        setZoom(view.zoom);
        setSize(image);
        scaled.current(view.zoom, image);
      },
      onPixel: setPixel,
    });
    stage.current = made;
    return () => made.dispose();
  }, []);
  useLayoutEffect(() => stage.current?.show(subject, url), [subject, url]);
  return { canvas, stage, ...status, zoom, size, pixel };
}

/** Keeps the mask over the image that of the sample, slice and looks of the moment; returns it. */
function useMask(
  stage: { readonly current: ImageStage | null },
  wished: {
    readonly drawMask: NonNullable<SampleModalProps['drawMask']> | null;
    readonly slice: number;
    readonly split: boolean;
  },
): Drawn | null {
  const { drawMask, slice, split } = wished;
  const [laid, setLaid] = useState<Drawn | null>(null);
  useEffect(() => {
    let live = true;
    const lay = (drawn: Drawn | null) => {
      if (!live) return;
      stage.current?.lay(drawn, split);
      setLaid(drawn);
    };
    if (drawMask) drawMask(FULL_IMAGE_PX, slice).then(lay, () => lay(null));
    else lay(null);
    return () => {
      live = false;
    };
  }, [drawMask, slice, split]);
  return laid;
}

/** Loads images ahead into the browser's cache; only the newest wish is held on to. */
function usePrefetch(urls: readonly string[]): void {
  const held = useRef(new Map<string, HTMLImageElement>());
  const wish = urls.join('\n');
  useEffect(() => {
    const next = new Map<string, HTMLImageElement>();
    for (const url of wish === '' ? [] : wish.split('\n')) {
      const image = held.current.get(url) ?? new Image();
      if (image.src === '') image.src = url;
      next.set(url, image);
    }
    held.current = next;
  }, [wish]);
}

function slicesAround(slice: number, count: number): number[] {
  const result: number[] = [];
  for (let distance = 1; distance <= SLICES_AHEAD; distance++) {
    if (slice + distance < count) result.push(slice + distance);
    if (slice - distance >= 0) result.push(slice - distance);
  }
  return result;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && target.type !== 'button' && target.type !== 'checkbox';
}
