// @vitest-environment happy-dom
import { render } from 'preact';
import { act } from 'preact/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SampleModal } from './SampleModal';
import type { SampleDetail, SampleModalProps } from './types';

const sample: SampleDetail = {
  split: 'val',
  uid: '7',
  row: 3,
  discarded: false,
  tags: ['hard', '<b>x</b>'],
  fields: [
    { name: 'train/loss', group: 'signal', value: 0.25 },
    { name: 'writer', group: 'metadata', value: '<script>alert(1)</script>' },
  ],
  sliceCount: 5,
  position: { index: 1_000, matched: 20_000 },
};

describe('the sample modal', () => {
  let root: HTMLElement;
  let opener: HTMLButtonElement;
  let props: SampleModalProps;
  const show = (part: Partial<SampleModalProps> = {}) => {
    props = { ...props, ...part };
    return act(() => render(<SampleModal {...props} />, root));
  };
  const find = (testId: string) =>
    root.querySelector<HTMLElement>(`[data-testid="${testId}"]`) as HTMLElement;
  const press = (key: string, target: Element = find('modal')) =>
    act(
      () => void target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })),
    );
  const type = (testId: string, text: string) =>
    act(() => {
      const input = find(testId) as HTMLInputElement;
      input.value = text;
      input.dispatchEvent(new Event('input', { bubbles: true }));
    });

  beforeEach(async () => {
    opener = document.createElement('button');
    root = document.createElement('div');
    document.body.append(opener, root);
    opener.focus();
    props = {
      sample,
      imageUrl: vi.fn((sizePx: number, slice: number) => `/media?w=${sizePx}&z=${slice}`),
      onPrevious: vi.fn(),
      onNext: null,
      onClose: vi.fn(),
      onTagAdd: vi.fn(),
      onTagRemove: vi.fn(),
      onDiscard: vi.fn(),
      onRestore: vi.fn(),
      readOnly: false,
    };
    await show();
  });
  afterEach(() => {
    render(null, root);
    document.body.replaceChildren();
  });

  it('takes the focus and gives it back', async () => {
    expect(document.activeElement).toBe(find('modal'));
    await act(() => render(null, root));
    expect(document.activeElement).toBe(opener);
  });
  it('says what it shows, as text', () => {
    expect(find('modal').getAttribute('aria-label')).toBe('Sample 7 of val');
    expect(find('modal-position').textContent).toBe('1,001 of 20,000');
    expect(root.querySelector('script, b')).toBeNull();
    expect(root.textContent).toContain('<script>alert(1)</script>');
  });
  it('goes to neighbours by keys, and not beyond the ends', async () => {
    await press('ArrowLeft');
    await press('ArrowRight');
    expect(props.onPrevious).toHaveBeenCalledOnce();
    expect((find('modal-next') as HTMLButtonElement).disabled).toBe(true);
  });
  it('closes by Escape, but first empties what is typed', async () => {
    await type('modal-meta-search', 'loss');
    await press('Escape', find('modal-meta-search'));
    expect(props.onClose).not.toHaveBeenCalled();
    await press('Escape');
    expect(props.onClose).toHaveBeenCalledOnce();
  });
  it('adds a trimmed tag by Enter, none twice, and takes letters as text while typing', async () => {
    await type('modal-tag-input', '  new tag ');
    await press('d', find('modal-tag-input'));
    await press('Enter', find('modal-tag-input'));
    expect(props.onTagAdd).toHaveBeenCalledExactlyOnceWith('new tag');
    await type('modal-tag-input', 'hard');
    await press('Enter', find('modal-tag-input'));
    expect(props.onTagAdd).toHaveBeenCalledOnce();
    expect(props.onDiscard).not.toHaveBeenCalled();
  });
  it('discards and restores by the same key', async () => {
    await press('d');
    await show({ sample: { ...sample, discarded: true } });
    await press('d');
    expect(props.onDiscard).toHaveBeenCalledOnce();
    expect(props.onRestore).toHaveBeenCalledOnce();
  });
  it('finds fields', async () => {
    await type('modal-meta-search', 'loss');
    expect(root.querySelectorAll('[data-testid="modal-field"]')).toHaveLength(1);
  });
  it('walks through slices, within their ends, and starts anew on another sample', async () => {
    await press('ArrowUp');
    await press('ArrowUp');
    expect((find('modal-slice') as HTMLInputElement).value).toBe('2');
    await press('PageUp');
    expect((find('modal-slice') as HTMLInputElement).value).toBe('4');
    expect(props.imageUrl).toHaveBeenCalledWith(1024, 4);
    await show({ sample: { ...sample, uid: '8' } });
    expect((find('modal-slice') as HTMLInputElement).value).toBe('0');
  });
  it('shows a viewer nothing that edits', async () => {
    await show({ readOnly: true });
    expect(find('modal-tag-input')).toBeNull();
    expect(find('modal-discard')).toBeNull();
    expect(root.querySelector('.modal-chip button')).toBeNull();
    await press('d');
    expect(props.onDiscard).not.toHaveBeenCalled();
  });
});
