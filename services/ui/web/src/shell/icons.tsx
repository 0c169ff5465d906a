/** Line icons on a 16 × 16 grid, drawn with the colour of the text. */
const PATHS = {
  sun: 'M8 4.8A3.2 3.2 0 1 1 8 11.2 3.2 3.2 0 0 1 8 4.8M8 1v1.4M8 13.6V15M1 8h1.4M13.6 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13.2 9.8A5.6 5.6 0 0 1 6.2 2.8 5.6 5.6 0 1 0 13.2 9.8',
  refresh: 'M13 5.5A5.5 5.5 0 1 0 13.5 9M13.4 2.4v3.2h-3.2',
  sliders: 'M2 4.5h6M11 4.5h3M9.5 3v3M2 11.5h3M8 11.5h6M6.5 10v3',
  play: 'M5 3.2v9.6l7.6-4.8z',
  pause: 'M5.4 3.4v9.2M10.6 3.4v9.2',
  close: 'M4 4l8 8M12 4l-8 8',
  chevron: 'M4.5 6.2 8 9.8l3.5-3.6',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  search: 'M7 2.6a4.4 4.4 0 1 1 0 8.8 4.4 4.4 0 0 1 0-8.8M10.3 10.3 13.6 13.6',
  tag: 'M2.6 7.4V3.2a.6.6 0 0 1 .6-.6h4.2l6 6-4.8 4.8zM5.4 5.4h.01',
  brush:
    'M13.4 2.6 7.2 8.8M6.6 9a2.3 2.3 0 0 1 .5 2.9c-.8 1.2-2.7 1.5-4.5 1.4.9-.7.7-1.6 1.1-2.8A2.3 2.3 0 0 1 6.6 9',
  save: 'M3 3h8l2 2v8H3zM5.5 3v3.4h4.6V3M5 13V9.4h6V13',
  branch:
    'M4.5 5.6v4.8M4.5 5.6a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3M4.5 13.4a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3M11.5 5.6a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3M11.5 5.6c0 2.6-2.6 3-5 3.4',
  keyboard: 'M1.8 4h12.4v8H1.8zM4 6.5h.01M6.7 6.5h.01M9.3 6.5h.01M12 6.5h.01M4.6 9.5h6.8',
  panel: 'M2 3h12v10H2zM6 3v10',
  up: 'M8 13V3.4M4 7.2 8 3.2l4 4',
  down: 'M8 3v9.6M4 8.8l4 4 4-4',
  check: 'M3 8.4l3.4 3.4L13 4.6',
  shield: 'M8 1.8 13 3.6v4c0 3.2-2.2 5.4-5 6.6-2.8-1.2-5-3.4-5-6.6v-4zM5.8 7.8l1.6 1.6 2.8-3',
  trash: 'M3 4.4h10M6.4 4.2V2.8h3.2v1.4M4.4 4.4l.6 8.8h6l.6-8.8M6.8 7v3.8M9.2 7v3.8',
  restore: 'M3 5.4h6.4a3.6 3.6 0 1 1 0 7.2H5M5.6 2.6 2.8 5.4l2.8 2.8',
  eye: 'M1.6 8S4 3.8 8 3.8 14.4 8 14.4 8 12 12.2 8 12.2 1.6 8 1.6 8M8 6.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
