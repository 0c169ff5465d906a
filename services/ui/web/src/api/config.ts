/** What the host of the page says at run time. */
export interface Config {
  readonly serverUrl: string;
  readonly version: string;
}

export async function loadConfig(): Promise<Config> {
  const reply = await fetch('/config.json', { cache: 'no-store' });
  if (!reply.ok) throw new Error(`the page's host answered ${reply.status} for /config.json`);
  const config: Partial<Config> = await reply.json();
  if (!config.serverUrl) throw new Error("the page's host did not say where the gateway is");
  return { serverUrl: config.serverUrl.replace(/\/$/, ''), version: config.version ?? '' };
}
