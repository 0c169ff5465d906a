/** Questions asked at a time; a page of broken images must not become a second page of requests. */
const MAX_IN_FLIGHT = 2;
const MAX_REASON_CHARS = 160;

/** Finds out why an image did not load: the element itself does not tell. */
export class ImageFailures {
  private inFlight = 0;

  /** Calls `tell` with a sentence for people, or not at all when enough is asked already. */
  async explain(url: string, tell: (reason: string) => void): Promise<void> {
    if (this.inFlight >= MAX_IN_FLIGHT) return;
    this.inFlight++;
    try {
      const response = await fetch(url, { credentials: 'include' });
      if (response.ok) tell('not an image that this browser can show');
      else tell(reasonOf(response.status, await response.text()));
    } catch {
      tell('the gateway does not answer');
    } finally {
      this.inFlight--;
    }
  }
}

/** The sentence in an answer: the body itself, or the `message` of a JSON object. */
function sentenceOf(body: string): string {
  const text = body.trim();
  if (!text.startsWith('{')) return text;
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}

export function reasonOf(status: number, body: string): string {
  const text = sentenceOf(body);
  if (text && !text.startsWith('<') && text.length <= MAX_REASON_CHARS) return text;
  if (status === 404) return 'no image';
  if (status === 401 || status === 403) return 'not allowed: log in again';
  if (status === 503 || status === 504) return 'the trainer does not answer';
  return `image not loaded (${status})`;
}
