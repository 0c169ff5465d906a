/** Numbers that only grow at the end. A view stays valid: what it shows is never written again. */
export class GrowingColumn {
  private buffer: Float64Array;
  private used: number;

  constructor(values: Float64Array) {
    this.buffer = values;
    this.used = values.length;
  }

  get length(): number {
    return this.used;
  }

  append(values: Float64Array): void {
    this.reserve(this.used + values.length);
    this.buffer.set(values, this.used);
    this.used += values.length;
  }

  /** Fills up with NaN to `length`. */
  pad(length: number): void {
    if (length <= this.used) return;
    this.reserve(length);
    this.buffer.fill(Number.NaN, this.used, length);
    this.used = length;
  }

  view(): Float64Array {
    return this.buffer.subarray(0, this.used);
  }

  private reserve(length: number): void {
    if (length <= this.buffer.length) return;
    const bigger = new Float64Array(Math.max(256, length, this.buffer.length * 2));
    bigger.set(this.view());
    this.buffer = bigger;
  }
}
