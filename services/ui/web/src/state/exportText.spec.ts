import { describe, expect, it } from 'vitest';
import { csvOf, jsonOf } from './exportText';

const key = { signal: 'loss, "raw"', branch: '=cmd()', mode: 'train' } as const;
const chunks = [
  { key, steps: Float64Array.of(0, 1), values: Float64Array.of(0.5, Number.NaN) },
  { key, steps: Float64Array.of(2), values: Float64Array.of(Number.POSITIVE_INFINITY) },
];

describe('export text', () => {
  it('writes every point as CSV, with odd names quoted and formulas disarmed', () => {
    expect(csvOf(chunks).join('').split('\n')).toEqual([
      'signal,branch,mode,step,value',
      `"loss, ""raw""",'=cmd(),train,0,0.5`,
      `"loss, ""raw""",'=cmd(),train,1,NaN`,
      `"loss, ""raw""",'=cmd(),train,2,Infinity`,
      '',
    ]);
  });

  it('writes valid JSON with one entry per curve, whatever the values are', () => {
    expect(JSON.parse(jsonOf(chunks).join(''))).toEqual({
      curves: [
        {
          signal: 'loss, "raw"',
          branch: '=cmd()',
          mode: 'train',
          steps: [0, 1, 2],
          values: [0.5, 'NaN', 'Infinity'],
        },
      ],
    });
  });
});
