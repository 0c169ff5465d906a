/** Closest zoom, relative to the whole image fitted into its box. */
export const MAX_ZOOM = 40;

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What is seen of an image: a zoom of at least 1 around a centre given as fractions of the image. */
export interface Viewport {
  readonly zoom: number;
  readonly centerX: number;
  readonly centerY: number;
}

export const FITTED: Viewport = { zoom: 1, centerX: 0.5, centerY: 0.5 };

/** Where the image stands in its box, in CSS pixels. */
export interface Placement {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export function fittedSize(image: Size, box: Size): Size {
  const scale = Math.min(box.width / image.width, box.height / image.height);
  return { width: image.width * scale, height: image.height * scale };
}

export function placementOf(view: Viewport, image: Size, box: Size): Placement {
  const fitted = fittedSize(image, box);
  const width = fitted.width * view.zoom;
  const height = fitted.height * view.zoom;
  return {
    left: box.width / 2 - view.centerX * width,
    top: box.height / 2 - view.centerY * height,
    width,
    height,
  };
}

/** Keeps the image over its box: no empty side while it is larger, centred while it is smaller. */
function settled(view: Viewport, image: Size, box: Size): Viewport {
  const fitted = fittedSize(image, box);
  const center = (value: number, length: number, room: number) => {
    if (length <= room) return 0.5;
    const half = room / 2 / length;
    return Math.min(1 - half, Math.max(half, value));
  };
  return {
    zoom: view.zoom,
    centerX: center(view.centerX, fitted.width * view.zoom, box.width),
    centerY: center(view.centerY, fitted.height * view.zoom, box.height),
  };
}

/** Zooms by a factor so that what is under a point of the box stays there. */
export function zoomedAt(
  view: Viewport,
  at: { readonly x: number; readonly y: number; readonly factor: number },
  sizes: { readonly image: Size; readonly box: Size },
): Viewport {
  const { image, box } = sizes;
  const zoom = Math.min(MAX_ZOOM, Math.max(1, view.zoom * at.factor));
  const before = placementOf(view, image, box);
  const fitted = fittedSize(image, box);
  const pointX = (at.x - before.left) / before.width;
  const pointY = (at.y - before.top) / before.height;
  return settled(
    {
      zoom,
      centerX: pointX + (box.width / 2 - at.x) / (fitted.width * zoom),
      centerY: pointY + (box.height / 2 - at.y) / (fitted.height * zoom),
    },
    image,
    box,
  );
}

export function panned(
  view: Viewport,
  by: { readonly x: number; readonly y: number },
  sizes: { readonly image: Size; readonly box: Size },
): Viewport {
  const fitted = fittedSize(sizes.image, sizes.box);
  const centerX = view.centerX - by.x / (fitted.width * view.zoom);
  const centerY = view.centerY - by.y / (fitted.height * view.zoom);
  return settled({ zoom: view.zoom, centerX, centerY }, sizes.image, sizes.box);
}

/** The pixel of the image under a point of the box, or `null` beside the image. */
export function pixelAt(
  place: Placement,
  image: Size,
  x: number,
  y: number,
): { x: number; y: number } | null {
  const column = Math.floor(((x - place.left) / place.width) * image.width);
  const row = Math.floor(((y - place.top) / place.height) * image.height);
  if (column < 0 || row < 0 || column >= image.width || row >= image.height) return null;
  return { x: column, y: row };
}
