import { useEffect, useRef, useState } from 'preact/hooks';
import { availability } from '../state/run';
import { config } from '../state/session';
import { linkState, retryNow } from '../state/studio';

const CHECKS: Record<string, string> = {
  bus: 'Check that NATS runs and that WL_NATS_URL is right.',
  store: 'Check that Redis runs and that WL_REDIS_URL is right. Edits wait until it is back.',
  ledger: 'Check that `weightslab_ledger` runs. Samples and curves come back with it.',
  trainer: 'The training process does not answer. What is stored can still be looked at and edited.',
};

/** Seconds until `untilMs`, told anew each second. */
function useCountdown(untilMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  return Math.max(0, Math.ceil((untilMs - now) / 1000));
}

function Lost({ why, untilMs }: { readonly why: string; readonly untilMs: number }) {
  const seconds = useCountdown(untilMs);
  return (
    <div class="banner bad" role="alert" data-testid="banner" data-missing="gateway">
      <strong>Connection to the gateway lost.</strong>
      <span>
        {why} Check that it runs at {config.value?.serverUrl ?? 'its address'}.{' '}
        {seconds > 0 ? `Trying again in ${seconds} s.` : 'Trying again …'}
      </span>
      <button type="button" class="button small" data-testid="banner-retry" onClick={retryNow}>
        Try now
      </button>
    </div>
  );
}

/** Which part is missing and what to check; nothing while all is well. */
export function Banner() {
  const link = linkState.value;
  // Stays while it is tried again, or it would blink.
  const lost = useRef<{ readonly reason: string; readonly untilMs: number } | null>(null);
  if (link.kind !== 'connecting') lost.current = link.kind === 'waiting' ? link : null;
  if (lost.current) return <Lost why={lost.current.reason} untilMs={lost.current.untilMs} />;
  const { missing = [], message = '' } = availability.value ?? {};
  const [first] = missing;
  if (!first) return null;
  return (
    <div class="banner warn" role="alert" data-testid="banner" data-missing={missing.join(' ')}>
      <strong>Missing: {missing.join(', ')}.</strong>
      <span>{message || CHECKS[first]}</span>
    </div>
  );
}
