import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ColumnKind, QuerySamplesResponseSchema } from '../proto/weightslab/v1/sample_pb';
import { Baseline, pageOf } from './page';

function bytes(array: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

function reply(losses: number[]) {
  return create(QuerySamplesResponseSchema, {
    view: 'v1',
    matched: 10n,
    offset: 4n,
    rows: bytes(Uint32Array.of(7, 9)),
    uids: ['a', 'b'],
    splits: ['train', 'val'],
    splitIndex: Uint8Array.of(1, 0),
    discarded: Uint8Array.of(0b01000000),
    tags: [{ tag: 'hard, "odd"', members: Uint8Array.of(0b10000000) }],
    columns: [
      { name: 'loss', kind: ColumnKind.NUMBER, numbers: bytes(Float64Array.from(losses)) },
      { name: 'kind', kind: ColumnKind.TEXT, texts: ['x', '<b>'] },
    ],
  });
}

describe('pageOf', () => {
  it('makes cells of columns', () => {
    const page = pageOf(reply([0.5, Number.NaN]));
    expect(page).toMatchObject({ view: 'v1', matched: 10, offset: 4 });
    expect(page.cells).toEqual([
      {
        row: 7,
        uid: 'a',
        split: 'val',
        discarded: false,
        tags: ['hard, "odd"'],
        values: { loss: 0.5, kind: 'x' },
      },
      {
        row: 9,
        uid: 'b',
        split: 'train',
        discarded: true,
        tags: [],
        values: { loss: Number.NaN, kind: '<b>' },
      },
    ]);
  });

  it('refuses a column of another length', () => {
    expect(() => pageOf(reply([1]))).toThrow('column loss has 1 values for 2 samples');
  });
});

describe('Baseline', () => {
  it('counts cells that moved since the view was made, by what the view was made of', () => {
    const baseline = new Baseline();
    baseline.begin(['loss']);
    expect(baseline.changed(pageOf(reply([1, 2])).cells)).toBe(0);
    expect(baseline.changed(pageOf(reply([1, 3])).cells)).toBe(1);
    expect(baseline.changed(pageOf(reply([1, 2])).cells)).toBe(0);
    baseline.begin([]);
    expect(baseline.changed(pageOf(reply([1, 2])).cells)).toBe(0);
    expect(baseline.changed(pageOf(reply([8, 9])).cells)).toBe(0);
  });
});
