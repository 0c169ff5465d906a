// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { asJson, readable } from './Hyperparameters';

describe('hyperparameters', () => {
  it('shows values as people write them', () => {
    expect(['0.1', 'true', '"adam"', 'NaN', ''].map(readable)).toEqual(['0.1', 'true', 'adam', 'NaN', '']);
  });

  it('sends what was written as JSON of its type', () => {
    expect(asJson(' 1e-3 ', 'float')).toBe('0.001');
    expect(asJson('64', 'int')).toBe('64');
    expect(asJson('True', 'bool')).toBe('true');
    expect(asJson('a "b"', 'str')).toBe('"a \\"b\\""');
  });

  it('leaves it to the trainer to refuse what is no number', () => {
    expect(asJson('many', 'float')).toBe('"many"');
    expect(asJson('', 'int')).toBe('""');
    expect(asJson('Infinity', 'float')).toBe('"Infinity"');
  });
});
