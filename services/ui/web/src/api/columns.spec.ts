import { describe, expect, it } from 'vitest';
import { bit, float64s, int64s, uint32s } from './columns';

/** The bytes of `array` at an odd offset in a bigger buffer, as they stand in a message. */
function embedded(array: ArrayBufferView): Uint8Array {
  const bytes = new Uint8Array(array.byteLength + 3);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), 3);
  return bytes.subarray(3);
}

describe('columns', () => {
  it('reads doubles at any offset, with NaN and infinities', () => {
    const values = [1.5, Number.NaN, Number.NEGATIVE_INFINITY];
    expect([...float64s(embedded(Float64Array.from(values)), 'v')]).toEqual(values);
  });

  it('reads steps beyond 32 bits and below zero', () => {
    const steps = [0n, 4294967296n, -1n, 9007199254740991n];
    expect([...int64s(embedded(BigInt64Array.from(steps)), 's')]).toEqual(steps.map(Number));
  });

  it('reads rows', () => {
    expect([...uint32s(embedded(Uint32Array.from([0, 4294967295])), 'r')]).toEqual([0, 4294967295]);
  });

  it('names the column whose length is wrong', () => {
    expect(() => float64s(new Uint8Array(7), 'train/loss')).toThrow('column train/loss: 7 bytes');
  });

  it('reads bits from the most significant one', () => {
    const bytes = Uint8Array.from([0b10000001, 0b01000000]);
    expect([0, 1, 7, 8, 9, 99].map((index) => bit(bytes, index))).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
  });
});
