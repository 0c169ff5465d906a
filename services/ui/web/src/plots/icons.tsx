const PATHS = {
  pin: 'M9.5 2.5l4 4-2.2.7-2.6 2.6-.3 2.9-4.6-4.6 2.9-.3 2.6-2.6zM5.9 10.1L2.5 13.5',
  csv: 'M8 2v7.5M4.8 6.6L8 9.8l3.2-3.2M2.5 13.5h11',
  settings: 'M2 4.5h6.5M12 4.5h2M2 11.5h2M7.5 11.5H14M10.2 2.7v3.6M5.8 9.7v3.6',
  expand: 'M9.5 2.5h4v4M13.5 2.5l-4.5 4.5M6.5 13.5h-4v-4M2.5 13.5L7 9',
  shrink: 'M13.5 6.5h-4v-4M9.5 6.5l4-4M2.5 9.5h4v4M6.5 9.5l-4 4',
  reset: 'M3 8a5 5 0 1 0 1.6-3.7M3 2.5v2.6h2.6',
  chevron: 'M6 4l4 4-4 4',
  search: 'M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.3 10.3l3.2 3.2',
} as const;

/** A line drawing of 16 units that takes the colour of its text. */
export function Icon({ name }: { readonly name: keyof typeof PATHS }) {
  return (
    <svg class="plot-icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
