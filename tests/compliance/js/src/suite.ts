/** The same demands on every client: what a call gives, how it fails, and when. */
import type { Client, Options } from './client';
import { Failure } from './client';
import { connectClient, sizeOfQuery } from './connect';
import { googleClient } from './google';
import { protobufTsClient } from './protobuf_ts';

export interface Where {
  url: string;
  token: string;
  /** Experiments: one that answers, and one whose export fails after the second message. */
  steady: string;
  broken: string;
  maxMessageBytes: number;
  exportedPoints: number;
}

const UNICODE = 'Zürich 日本 🙂 "quoted" %41';

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('the call did not fail');
}

async function all(stream: AsyncIterable<number>, seen: { points: number; at: number }[]): Promise<void> {
  for await (const points of stream) seen.push({ points, at: performance.now() });
}

/** A filter with which the request has exactly so many bytes. */
function filterFor(where: Where, bytes: number): string {
  const overhead = sizeOfQuery({ experiment: where.steady, filter: 'x'.repeat(bytes / 2) }) - bytes / 2;
  return 'x'.repeat(bytes - overhead);
}

type Case = (client: Client, where: Where, options: Options) => Promise<void>;

const CASES: Record<string, Case> = {
  'a unary call with unicode both ways': async (client, { steady }, options) => {
    const { uids } = await client.query({ experiment: steady, filter: UNICODE }, options);
    check(uids[0] === UNICODE, `got ${uids[0]}`);
  },
  'an empty request': async (client, _, options) => {
    check((await client.listExperiments(options)) >= 2, 'experiments are missing');
  },
  'metadata both ways': async (client, { steady }, options) => {
    const metadata = { ...options.metadata, 'x-request-id': 'of-the-client.1' };
    const { requestId } = await client.query({ experiment: steady, filter: '' }, { metadata });
    check(requestId === 'of-the-client.1', `got ${requestId}`);
  },
  'an error with a unicode text and details': async (client, { steady }, options) => {
    const error = await failureOf(client.query({ experiment: steady, filter: '', offset: -1n }, options));
    check(error.status === 'INVALID_ARGUMENT', error.message);
    check(error.text.includes('ja: 日本'), error.message);
    check(error.detailed, 'no details');
  },
  'a refusal before any message': async (client, { steady }) => {
    const metadata = { authorization: 'Bearer wrong' };
    const error = await failureOf(client.query({ experiment: steady, filter: '' }, { metadata }));
    check(error.status === 'UNAUTHENTICATED', error.message);
    const streamed = await failureOf(all(client.exportPoints({ experiment: steady }, { metadata }), []));
    check(streamed.status === 'UNAUTHENTICATED', streamed.message);
  },
  'a stream to its end': async (client, where, options) => {
    const seen: { points: number; at: number }[] = [];
    await all(client.exportPoints({ experiment: where.steady }, options), seen);
    const points = seen.reduce((sum, message) => sum + message.points, 0);
    check(points === where.exportedPoints, `${points} points`);
  },
  'messages as they are sent': async (client, where, options) => {
    const seen: { points: number; at: number }[] = [];
    await all(client.exportPoints({ experiment: where.steady }, options), seen);
    const gaps = seen.slice(1).map((message, index) => message.at - (seen[index]?.at ?? 0));
    check(gaps.filter((gap) => gap > 40).length >= gaps.length - 1, `ms between messages: ${gaps.map(Math.round)}`);
  },
  'an error in the middle of a stream': async (client, where, options) => {
    const seen: { points: number; at: number }[] = [];
    const error = await failureOf(all(client.exportPoints({ experiment: where.broken }, options), seen));
    check(seen.length === 2, `${seen.length} messages before the error`);
    check(error.status === 'INVALID_ARGUMENT' && error.text.includes('mitten drin: 日本'), error.message);
    check(error.detailed, 'no details');
  },
  'a deadline': async (client, { steady }, options) => {
    const started = performance.now();
    const error = await failureOf(client.query({ experiment: steady, filter: 'slow' }, { ...options, timeoutMs: 300 }));
    check(error.status === 'DEADLINE_EXCEEDED', error.message);
    check(performance.now() - started < 2500, 'the deadline was not kept');
  },
  'leaving a stream': async (client, { steady }, options) => {
    const leaving = new AbortController();
    // Google's binary format shows no message before the end.
    setTimeout(() => leaving.abort(), 2000);
    const leave = async () => {
      for await (const _ of client.watch({ experiment: steady }, { ...options, signal: leaving.signal })) leaving.abort();
    };
    const error = await failureOf(leave());
    check(error.status === 'CANCELLED', error.message);
  },
  'the greatest message': async (client, where, options) => {
    const filter = filterFor(where, where.maxMessageBytes);
    const { uids } = await client.query({ experiment: where.steady, filter }, options);
    check(uids[0]?.length === filter.length, 'the message came back shorter');
  },
  'a message over the limit': async (client, where, options) => {
    const filter = filterFor(where, where.maxMessageBytes + 1);
    const error = await failureOf(client.query({ experiment: where.steady, filter }, options));
    check(error.status === 'RESOURCE_EXHAUSTED', error.message);
  },
};

/**
 * What clients cannot do. Google's binary format is delivered whole at the end, since XMLHttpRequest gives no bytes
 * before; and in Node.js the XMLHttpRequest at hand gives no text before, either.
 */
const KNOWN: Record<string, string[]> = {
  'google binary': ['messages as they are sent', 'an error in the middle of a stream'],
  'google text': typeof window === 'undefined' ? ['messages as they are sent'] : [],
};

const CASE_MS = 15_000;

async function tooLate(): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, CASE_MS));
  throw new Error(`not done within ${CASE_MS} ms`);
}

function clients(url: string): Record<string, Client> {
  return {
    'connect binary': connectClient(url),
    'protobuf-ts binary': protobufTsClient(url, 'binary'),
    'protobuf-ts text': protobufTsClient(url, 'text'),
    'google binary': googleClient(url, 'binary'),
    'google text': googleClient(url, 'text'),
  };
}

/** What each client made of each case: `ok`, or what went wrong. */
export async function run(where: Where): Promise<Record<string, string>> {
  const report: Record<string, string> = {};
  await Promise.all(
    Object.entries(clients(where.url)).map(async ([name, client]) => {
      for (const [title, work] of Object.entries(CASES)) {
        if (KNOWN[name]?.includes(title)) continue;
        const options = { metadata: { authorization: `Bearer ${where.token}` } };
        try {
          await Promise.race([work(client, where, options), tooLate()]);
          report[`${name}: ${title}`] = 'ok';
        } catch (error) {
          report[`${name}: ${title}`] = String(error);
        }
      }
    }),
  );
  return report;
}
