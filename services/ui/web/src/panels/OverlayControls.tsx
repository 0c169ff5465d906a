import { type OverlayKind, VERDICTS } from '../overlay/paint';
import {
  classColors,
  hiddenClasses,
  maskClasses,
  missingLayer,
  overlayContour,
  overlayKind,
  overlayOpacity,
  splitView,
  toggleClass,
} from '../state/masks';

const KINDS: readonly { readonly kind: OverlayKind; readonly label: string; readonly title: string }[] = [
  { kind: 'raw', label: 'Raw', title: 'The image alone (1)' },
  { kind: 'gt', label: 'GT', title: 'Ground truth (2)' },
  { kind: 'pred', label: 'Pred', title: 'Prediction (3)' },
  { kind: 'diff', label: 'Diff', title: 'Ground truth against prediction (4)' },
];

/** Which mask lies over the images. */
export function OverlaySwitch() {
  return (
    <fieldset class="overlay-switch" aria-label="Overlay">
      {KINDS.map(({ kind, label, title }) => (
        <button
          key={kind}
          type="button"
          title={title}
          aria-pressed={overlayKind.value === kind}
          data-testid={`overlay-${kind}`}
          onClick={() => {
            overlayKind.value = kind;
          }}
        >
          {label}
        </button>
      ))}
      <button
        type="button"
        title="The left half bare, the right half with the overlay (5)"
        aria-pressed={splitView.value}
        data-testid="overlay-split"
        onClick={() => {
          splitView.value = !splitView.value;
        }}
      >
        Split
      </button>
    </fieldset>
  );
}

function Swatch({ color }: { readonly color: number }) {
  return (
    <i
      class="overlay-swatch"
      ref={(element) => {
        element?.style.setProperty('--class', `#${color.toString(16).padStart(6, '0')}`);
      }}
    />
  );
}

function Classes() {
  return (
    <>
      {maskClasses.value.map(({ id, name, color }) => (
        <div key={id} class="color-row">
          <input
            type="color"
            aria-label={`Colour of ${name}`}
            data-testid="class-color"
            data-class={id}
            value={color}
            onChange={(event) => {
              classColors.value = { ...classColors.value, [id]: event.currentTarget.value };
            }}
          />
          <label class="check">
            <input
              type="checkbox"
              data-testid="class-toggle"
              data-class={id}
              checked={!hiddenClasses.value.includes(id)}
              onChange={() => toggleClass(id)}
            />
            <bdi>{name}</bdi>
          </label>
          <span class="quiet">{id}</span>
        </div>
      ))}
    </>
  );
}

/** Overlays and how they are drawn. */
export function OverlayControls() {
  const kind = overlayKind.value;
  return (
    <div class="group">
      <h3>Overlays</h3>
      <OverlaySwitch />
      {missingLayer.value && (
        <p class="quiet" role="status" data-testid="overlay-missing">
          {missingLayer.value}
        </p>
      )}
      {kind !== 'raw' && (
        <>
          <label class="slider-row">
            <span>Opacity</span>
            <output class="quiet">{Math.round(overlayOpacity.value * 100)} %</output>
            <input
              type="range"
              min={0.1}
              max={1}
              step={0.05}
              data-testid="overlay-opacity"
              value={overlayOpacity.value}
              onInput={(event) => {
                overlayOpacity.value = event.currentTarget.valueAsNumber;
              }}
            />
          </label>
          {kind === 'diff' ? (
            VERDICTS.map(({ name, color }) => (
              <div key={name} class="color-row">
                <Swatch color={color} />
                <span>{name}</span>
              </div>
            ))
          ) : (
            <>
              <label class="check">
                <input
                  type="checkbox"
                  data-testid="overlay-contour"
                  checked={overlayContour.value}
                  onChange={(event) => {
                    overlayContour.value = event.currentTarget.checked;
                  }}
                />
                Contours
              </label>
              <Classes />
            </>
          )}
        </>
      )}
    </div>
  );
}
