import { computed, signal } from '@preact/signals';
import { type Api, createApi } from '../api/client';
import { type Config, loadConfig } from '../api/config';
import * as sessions from '../api/session';
import { remembered } from './storage';

export type Access =
  | { readonly kind: 'starting' }
  /** The gateway or the page's host is away; tried again by itself. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  | { readonly kind: 'login'; readonly reason: string }
  | { readonly kind: 'in'; readonly session: sessions.Session };

const RETRY_SECS = 2;

/** Whether somebody has ever logged in here: without it there is no cookie to ask with. */
const known = remembered('session.known', false);

export const access = signal<Access>({ kind: 'starting' });
export const config = signal<Config | null>(null);
/** Whether this viewer may change anything. */
export const canEdit = computed(() => access.value.kind === 'in' && access.value.session.role === 'editor');

let made: Api | null = null;

/** The calls of the gateway; only to be used while `access` is `in`. */
export function api(): Api {
  if (!config.value) throw new Error('the page has no configuration yet');
  made ??= createApi({
    serverUrl: config.value.serverUrl,
    token: () => (access.value.kind === 'in' ? access.value.session.token : ''),
    onUnauthenticated: () => {
      if (access.value.kind === 'in') {
        access.value = { kind: 'login', reason: 'Your session has ended. Log in again.' };
      }
    },
  });
  return made;
}

function enter(session: sessions.Session): void {
  known.value = true;
  access.value = { kind: 'in', session };
}

/** Logs in by the link that was followed, else by the cookie of an earlier visit, else asks. */
export async function start(): Promise<void> {
  const code = sessions.takeLoginCode();
  try {
    config.value ??= await loadConfig();
    const { serverUrl } = config.value;
    if (code === null && !known.value) {
      access.value = { kind: 'login', reason: '' };
      return;
    }
    const session =
      code === null
        ? await sessions.resumeSession(serverUrl)
        : await sessions.logInByLink(serverUrl, code).catch((error) => resumeAfter(serverUrl, error));
    enter(session);
  } catch (error) {
    if (error instanceof sessions.Refused) {
      known.value = false;
      access.value = { kind: 'login', reason: code === null ? '' : error.message };
      return;
    }
    access.value = { kind: 'unreachable', reason: error instanceof Error ? error.message : String(error) };
    setTimeout(() => void retry(code), RETRY_SECS * 1000);
  }
}

/** A link that was followed twice is no reason to send away who is logged in already. */
async function resumeAfter(serverUrl: string, error: unknown): Promise<sessions.Session> {
  if (!(error instanceof sessions.Refused) || !known.value) throw error;
  try {
    return await sessions.resumeSession(serverUrl);
  } catch {
    throw error;
  }
}

async function retry(code: string | null): Promise<void> {
  if (code !== null) history.replaceState(history.state, '', `#login=${encodeURIComponent(code)}`);
  await start();
}

export async function logIn(token: string): Promise<void> {
  const { serverUrl } = config.value ?? (await loadConfig());
  enter(await sessions.logInByToken(serverUrl, token));
}
