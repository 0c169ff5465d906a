import type { Range } from './scale';

/** More decades than this get a tick at powers of ten only. */
const MAX_FINE_DECADES = 12;

/** Round places on a linear part of an axis, about `count` of them. */
function linearTicks({ min, max }: Range, count: number): number[] {
  const wanted = (max - min) / count;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const increment = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= wanted) ?? wanted;
  const ticks: number[] = [];
  for (let i = Math.ceil(min / increment); i * increment <= max; i++)
    ticks.push(Number((i * increment).toPrecision(12)));
  return ticks;
}

/**
 * Places of ticks on a logarithmic axis, ascending: 1 to 9 times each power of ten within the range.
 *
 * uPlot's own never end for a range that begins in the last twentieth of a decade (0.0097, say), whatever its length.
 */
export function logTicks(range: Range): number[] {
  const { min, max } = range;
  if (!(min > 0 && max > min && Number.isFinite(max))) return [];
  const first = Math.floor(Math.log10(min));
  const last = Math.floor(Math.log10(max));
  const factors = last - first > MAX_FINE_DECADES ? [1] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const ticks: number[] = [];
  for (let power = first; power <= last; power++)
    for (const factor of factors) {
      // Read from its digits: 3 * 10 ** -5 is not the number that is written 3e-5.
      const tick = Number(`${factor}e${power}`);
      if (tick >= min && tick <= max) ticks.push(tick);
    }
  return ticks.length < 2 ? linearTicks(range, 4) : ticks;
}
