import type { Boxes } from './boxes';
import type { Mask } from './paint';

const MAX_KEPT = 300;
const MAX_IN_FLIGHT = 6;

/** Reads the class ids of a PNG exactly as they are; a 16-bit one keeps its high bytes only. */
async function decode(blob: Blob): Promise<Mask> {
  const image = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('this browser gives no canvas');
  context.drawImage(image, 0, 0);
  image.close();
  const { data } = context.getImageData(0, 0, width, height);
  const ids = new Uint8Array(width * height);
  for (let i = 0; i < ids.length; i++) ids[i] = data[4 * i] as number;
  return { width, height, ids };
}

async function fetchBoxes(url: string): Promise<Boxes> {
  const response = await fetch(`${url}&as=boxes`, { credentials: 'include' });
  if (!response.ok) throw new Error(`the boxes were not loaded (${response.status})`);
  return response.json();
}

/** Masks by address: the least recently wished leave first, few are fetched at a time. */
export class MaskStore {
  private readonly kept = new Map<string, Promise<Mask | null>>();
  private readonly waiting: (() => void)[] = [];
  private inFlight = 0;

  /** The mask, or `null` when the sample has none. Rejects when it could not be asked for. */
  get(url: string): Promise<Mask | null> {
    const known = this.kept.get(url) ?? this.fetch(url);
    this.kept.delete(url);
    this.kept.set(url, known);
    known.catch(() => this.kept.delete(url));
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= MAX_KEPT) break;
      this.kept.delete(oldest);
    }
    return known;
  }

  clear(): void {
    this.kept.clear();
  }

  private async fetch(url: string): Promise<Mask | null> {
    if (this.inFlight >= MAX_IN_FLIGHT) await new Promise<void>((go) => this.waiting.push(go));
    this.inFlight++;
    try {
      const response = await fetch(url, { credentials: 'include' });
      if (response.status === 404) return null;
      if (!response.ok) throw new Error(`the mask was not loaded (${response.status})`);
      const mask = await decode(await response.blob());
      return response.headers.has('x-boxes') ? { ...mask, boxes: await fetchBoxes(url) } : mask;
    } finally {
      this.inFlight--;
      this.waiting.shift()?.();
    }
  }
}
