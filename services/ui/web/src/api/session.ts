export type Role = 'viewer' | 'editor';

export interface Session {
  readonly role: Role;
  /** Sent with every call; images are authorised by a cookie that scripts cannot read. */
  readonly token: string;
}

/** The gateway refused: the message says why. */
export class Refused extends Error {}

/** The gateway could not be reached at all. */
export class Unreachable extends Error {}

async function ask(serverUrl: string, init: RequestInit): Promise<Session> {
  let reply: Response;
  try {
    reply = await fetch(`${serverUrl}/auth/session`, { ...init, credentials: 'include', cache: 'no-store' });
  } catch (cause) {
    throw new Unreachable(`The gateway at ${serverUrl} does not answer.`, { cause });
  }
  const text = await reply.text();
  let body: { role?: Role; session?: string; message?: string; error?: string; detail?: string } = {};
  try {
    body = JSON.parse(text);
  } catch {
    body = { message: text.trim() };
  }
  if (!reply.ok || !body.role) {
    const reason = body.message ?? body.error ?? body.detail;
    if (reply.status >= 500) throw new Unreachable(reason || `The gateway answered ${reply.status}.`);
    throw new Refused(reason || `The gateway answered ${reply.status}.`);
  }
  return { role: body.role, token: body.session ?? '' };
}

function post(serverUrl: string, body: Record<string, string>): Promise<Session> {
  return ask(serverUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

export const logInByLink = (serverUrl: string, code: string): Promise<Session> =>
  post(serverUrl, { login: code });

export const logInByToken = (serverUrl: string, token: string): Promise<Session> =>
  post(serverUrl, { token });

/** The session that the cookie of an earlier visit stands for. */
export const resumeSession = (serverUrl: string): Promise<Session> => ask(serverUrl, { method: 'GET' });

/** The one-time code in the address, which is removed from there at once. */
export function takeLoginCode(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get('login');
  if (code !== null) history.replaceState(history.state, '', location.pathname + location.search);
  return code;
}
