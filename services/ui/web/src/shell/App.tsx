import { useEffect, useRef } from 'preact/hooks';
import { BottomBar } from '../panels/BottomBar';
import { DetailsCard } from '../panels/DetailsCard';
import { DistributionCard } from '../panels/DistributionCard';
import { QueryBar } from '../panels/QueryBar';
import { TagManager } from '../panels/TagManager';
import { TagsCard } from '../panels/TagsCard';
import { TrainingCard } from '../panels/TrainingCard';
import { onShortcut } from '../state/actions';
import { experimentName } from '../state/run';
import { access } from '../state/session';
import { panelOpen, panelWidthPx, plotShare } from '../state/settings';
import { Banner } from './Banner';
import { CompareDialog } from './CompareDialog';
import { Divider } from './Divider';
import { GridMenu } from './GridMenu';
import { GridPane } from './GridPane';
import { Header } from './Header';
import { KeySheet } from './KeySheet';
import { LoginView, WaitingView } from './LoginView';
import { overlay } from './overlays';
import { Palette } from './Palette';
import { PlotPane } from './PlotPane';
import { SamplePane } from './SamplePane';
import { SliceDialog } from './SliceDialog';
import { Toasts } from './Toasts';

const PANEL_MIN_PX = 232;
const PANEL_MAX_PX = 480;
/** About what the style sheet gives the plots. */
const USUAL_SHARE = 0.3;
const SHARE_MIN = 0.12;
const SHARE_MAX = 0.8;

function Overlays() {
  const close = () => {
    overlay.value = null;
  };
  return (
    <>
      {overlay.value === 'palette' && <Palette onClose={close} />}
      {overlay.value === 'keys' && <KeySheet onClose={close} />}
      {overlay.value === 'compare' && <CompareDialog onClose={close} />}
      <SliceDialog />
      {overlay.value === 'tags' && <TagManager onClose={close} />}
    </>
  );
}

function NoExperiment() {
  return (
    <div class="empty" role="status" data-testid="no-experiment">
      <h2>No experiment yet</h2>
      <p>
        Start a training that calls <code>wl.serve()</code>, or <code>weightslab demo</code>. It appears here
        by itself.
      </p>
    </div>
  );
}

function Work() {
  const split = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const share = plotShare.value;
    if (share > 0) split.current?.style.setProperty('--plots', `${(share * 100).toFixed(2)}%`);
  }, [plotShare.value]);
  const shown = plotShare.value || USUAL_SHARE;
  const shareAt = (_: number, y: number) => {
    const box = split.current?.getBoundingClientRect();
    return box ? (y - box.top) / box.height : shown;
  };
  return (
    <div class="split" ref={split}>
      <section class="plots-pane" aria-label="Signals">
        <PlotPane />
      </section>
      <Divider
        line="horizontal"
        label="Height of the plots"
        testId="divider-plots"
        value={shown}
        min={SHARE_MIN}
        max={SHARE_MAX}
        step={0.03}
        valueAt={shareAt}
        onMove={(share) => {
          plotShare.value = share;
        }}
      />
      <section class="samples-pane" aria-label="Samples">
        <QueryBar />
        <GridPane />
        <BottomBar />
      </section>
    </div>
  );
}

function Studio() {
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => {
    body.current?.style.setProperty('--panel', `${panelWidthPx.value}px`);
  }, [panelWidthPx.value]);
  useEffect(() => {
    addEventListener('keydown', onShortcut);
    return () => removeEventListener('keydown', onShortcut);
  }, []);
  return (
    <div class="studio">
      <Header />
      <Banner />
      <div class="body" ref={body}>
        {panelOpen.value && (
          <aside class="side" aria-label="Panel">
            <div class="panel">
              <TrainingCard />
              <TagsCard />
              <DistributionCard />
              <DetailsCard />
            </div>
            <Divider
              line="vertical"
              label="Width of the panel"
              testId="divider-panel"
              value={panelWidthPx.value}
              min={PANEL_MIN_PX}
              max={PANEL_MAX_PX}
              step={16}
              valueAt={(x) => x}
              onMove={(width) => {
                panelWidthPx.value = width;
              }}
            />
          </aside>
        )}
        <main class="work">{experimentName.value ? <Work /> : <NoExperiment />}</main>
      </div>
      <GridMenu />
      <SamplePane />
      <Overlays />
    </div>
  );
}

export function App() {
  const now = access.value;
  return (
    <>
      {now.kind === 'in' ? (
        <Studio />
      ) : now.kind === 'login' ? (
        <LoginView reason={now.reason} />
      ) : (
        <WaitingView />
      )}
      <Toasts />
    </>
  );
}
