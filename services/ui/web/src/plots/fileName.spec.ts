import { describe, expect, it } from 'vitest';
import { fileName } from './fileName';

describe('the name of a file', () => {
  it('keeps letters of any script and turns the rest into dashes', () => {
    expect(fileName('train/loss: α', 'csv')).toBe('train-loss-α.csv');
  });
  it('is never empty, hidden, a path or too long', () => {
    expect(fileName('../..', 'png')).toBe('signal.png');
    expect(fileName('x'.repeat(500), 'json')).toHaveLength(105);
  });
});
