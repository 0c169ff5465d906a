/** Columns of numbers as they travel: contiguous, little-endian bytes. */

const HIGH_WORD = 2 ** 32;

function view(bytes: Uint8Array, itemBytes: number, name: string): DataView {
  if (bytes.byteLength % itemBytes !== 0) {
    throw new RangeError(`column ${name}: ${bytes.byteLength} bytes are no multiple of ${itemBytes}`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** float64 values. A copy, because a message's bytes stand at any offset. */
export function float64s(bytes: Uint8Array, name: string): Float64Array {
  view(bytes, 8, name);
  return new Float64Array(bytes.slice().buffer);
}

/** int64 values as numbers; exact up to 2^53, which no step reaches. */
export function int64s(bytes: Uint8Array, name: string): Float64Array {
  const from = view(bytes, 8, name);
  const values = new Float64Array(bytes.byteLength / 8);
  for (let i = 0; i < values.length; i++) {
    values[i] = from.getInt32(i * 8 + 4, true) * HIGH_WORD + from.getUint32(i * 8, true);
  }
  return values;
}

/** float32 values. */
export function float32s(bytes: Uint8Array, name: string): Float64Array {
  const from = view(bytes, 4, name);
  return Float64Array.from({ length: bytes.byteLength / 4 }, (_, i) => from.getFloat32(i * 4, true));
}

export function uint32s(bytes: Uint8Array, name: string): Uint32Array {
  const from = view(bytes, 4, name);
  return Uint32Array.from({ length: bytes.byteLength / 4 }, (_, i) => from.getUint32(i * 4, true));
}

/** Whether bit `index` is set; bits are packed most significant first. */
export function bit(bytes: Uint8Array, index: number): boolean {
  return (((bytes[index >> 3] ?? 0) >> (7 - (index & 7))) & 1) === 1;
}
