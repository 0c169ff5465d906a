import { useState } from 'preact/hooks';
import { access, logIn } from '../state/session';

/** Asks for the token; the one-time link makes this needless. */
export function LoginView({ reason }: { readonly reason: string }) {
  const [token, setToken] = useState('');
  const [refusal, setRefusal] = useState(reason);
  const [busy, setBusy] = useState(false);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await logIn(token.trim());
    } catch (error) {
      setRefusal(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <main class="gate">
      <form class="gate-card" onSubmit={submit} data-testid="login">
        <img src="/favicon.svg" alt="" width="40" height="40" />
        <h1>Weights Studio</h1>
        <p>
          Open the link that <code>weightslab token --link</code> prints, or give the token that{' '}
          <code>weightslab token</code> prints.
        </p>
        <label>
          Access token
          <input
            type="password"
            autocomplete="current-password"
            class="input"
            data-testid="login-token"
            value={token}
            aria-invalid={refusal !== ''}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        {refusal && (
          <p class="field-error" role="alert" data-testid="login-error">
            {refusal}
          </p>
        )}
        <button
          type="submit"
          class="button primary"
          data-testid="login-submit"
          disabled={busy || token.trim() === ''}
        >
          {busy ? 'Logging in …' : 'Log in'}
        </button>
      </form>
    </main>
  );
}

/** Shown until it is known whether somebody is logged in. */
export function WaitingView() {
  const now = access.value;
  return (
    <main class="gate">
      {now.kind === 'unreachable' && (
        <div class="gate-card" role="alert" data-testid="banner" data-missing="gateway">
          <img src="/favicon.svg" alt="" width="40" height="40" />
          <h1>The gateway does not answer</h1>
          <p>{now.reason}</p>
          <p class="quiet">
            Check that <code>weightslab up</code> runs, and that <code>WS_SERVER_HOST</code> and{' '}
            <code>WS_SERVER_PORT</code> name its address as this browser sees it. Trying again …
          </p>
        </div>
      )}
    </main>
  );
}
