import { describe, expect, it } from 'vitest';
import { reasonOf } from './imageFailure';

describe('the reason of a missing image', () => {
  it('is what the server says, when it says a sentence', () => {
    expect(reasonOf(404, 'train/9 has no image\n')).toBe('train/9 has no image');
  });
  it('is the message of a JSON answer', () => {
    expect(reasonOf(503, '{"error":"unavailable","message":"the trainer does not answer"}')).toBe(
      'the trainer does not answer',
    );
    expect(reasonOf(404, '{"error":')).toBe('no image');
  });
  it('is never a page of markup or a long text', () => {
    expect(reasonOf(404, '<html>')).toBe('no image');
    expect(reasonOf(503, 'x'.repeat(500))).toBe('the trainer does not answer');
  });
  it('names the status when there is nothing better', () => {
    expect(reasonOf(500, '')).toBe('image not loaded (500)');
  });
});
