import { expect, it } from 'vitest';
import { pointsOf } from './Trajectories';

it('draws lines of two samples in one frame and leaves gaps out', () => {
  const drawn = pointsOf({
    signal: 'train/loss',
    lines: [
      { sample: 0, epochs: Float64Array.of(0, 1, 2), values: Float64Array.of(4, Number.NaN, 0) },
      { sample: 1, epochs: Float64Array.of(2), values: Float64Array.of(2) },
    ],
  });
  expect(drawn).toEqual([
    { sample: 0, points: '0.0,1.0 240.0,33.0' },
    { sample: 1, points: '240.0,17.0' },
  ]);
});
