import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CurveModel } from './CurveModel';
import { DetailFetcher } from './DetailFetcher';
import type { CurveData, CurveKey } from './types';

const key: CurveKey = { branch: 'a', signal: 's', mode: 'train' };

function curve(first: number, last: number, options: { reduced: boolean; pointCount?: number }): CurveData {
  const steps = Float64Array.from({ length: 11 }, (_, i) => first + ((last - first) * i) / 10);
  return { key, steps, values: steps, pointCount: options.pointCount ?? 100_000, reduced: options.reduced };
}

describe('finer points', () => {
  const asked: {
    first: number;
    last: number;
    answer: (data: CurveData) => void;
    fail: (error: Error) => void;
  }[] = [];
  const onArrived = vi.fn();
  const onError = vi.fn();
  let fetcher: DetailFetcher;
  let model: CurveModel;
  const want = (min: number, max: number) =>
    fetcher.want([model], { range: { min, max }, margin: 10, budget: 100 });

  beforeEach(() => {
    vi.useFakeTimers();
    asked.length = 0;
    onArrived.mockClear();
    onError.mockClear();
    model = new CurveModel('id', curve(0, 100_000, { reduced: true }));
    const fetchRange = (_: CurveKey, first: number, last: number) =>
      new Promise<CurveData>((answer, fail) => asked.push({ first, last, answer, fail }));
    fetcher = new DetailFetcher({ fetchRange, onArrived, onError });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('are asked for once the zoom rests, with a margin', () => {
    want(100, 200);
    want(110, 190);
    want(110, 190);
    vi.runAllTimers();
    expect(asked).toMatchObject([{ first: 100, last: 200 }]);
  });
  it('are used as soon as they are there, and not asked for again', async () => {
    want(110.5, 189.5);
    vi.runAllTimers();
    const piece = curve(111, 189, { reduced: false });
    asked[0]?.answer(piece);
    await vi.waitFor(() => expect(onArrived).toHaveBeenCalledOnce());
    expect(model.sourceFor(110.5, 189.5)).toBe(piece);
    expect(model.sourceFor(0, 1000)).toBe(model.data);
    want(110.5, 189.5);
    vi.runAllTimers();
    expect(asked).toHaveLength(1);
  });
  it('that are a reduction themselves are asked for again by a zoom into them, once', async () => {
    const answer = async (index: number, first: number, last: number) => {
      asked[index]?.answer(curve(first, last, { reduced: true }));
      await vi.waitFor(() => expect(onArrived).toHaveBeenCalledTimes(index + 1));
    };
    want(10_000, 20_000);
    vi.runAllTimers();
    await answer(0, 10_000, 20_000);
    want(11_000, 17_000);
    vi.runAllTimers();
    expect(asked).toHaveLength(1);
    want(12_000, 13_000);
    vi.runAllTimers();
    expect(asked[1]).toMatchObject({ first: 11_990, last: 13_010 });
    await answer(1, 12_000, 13_000);
    want(12_000, 13_000);
    vi.runAllTimers();
    expect(asked).toHaveLength(2);
  });
  it('of an older zoom are thrown away', async () => {
    want(100, 200);
    vi.runAllTimers();
    want(300, 400);
    vi.runAllTimers();
    asked[0]?.answer(curve(100, 200, { reduced: false }));
    asked[1]?.answer(curve(300, 400, { reduced: false }));
    await vi.waitFor(() => expect(onArrived).toHaveBeenCalledOnce());
    expect(model.sourceFor(100, 200)).toBe(model.data);
  });
  it('are not asked for when nothing was left out', () => {
    model.data = curve(0, 100_000, { reduced: false });
    want(100, 200);
    vi.runAllTimers();
    expect(asked).toHaveLength(0);
  });
  it('are asked for again when the curve has grown into what is looked at', async () => {
    want(99_000, 120_000);
    vi.runAllTimers();
    asked[0]?.answer(curve(99_000, 100_000, { reduced: false }));
    await vi.waitFor(() => expect(onArrived).toHaveBeenCalledOnce());
    model.data = curve(0, 101_000, { reduced: true });
    want(99_000, 120_000);
    vi.runAllTimers();
    expect(asked).toHaveLength(2);
  });
  it('that fail are told once', async () => {
    want(100, 200);
    vi.runAllTimers();
    asked[0]?.fail(new Error('the ledger does not answer'));
    await vi.waitFor(() => expect(onError).toHaveBeenCalledOnce());
    expect(onError.mock.calls[0]?.[0]).toContain('the ledger does not answer');
    want(100, 200);
    vi.runAllTimers();
    expect(asked).toHaveLength(1);
  });
});
