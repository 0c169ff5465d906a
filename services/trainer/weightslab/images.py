"""From whatever a dataset holds to an image file: finding, laying out, scaling, encoding. Pure; needs no torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from weightslab_common.errors import InvalidArgument, NotFound

# Up to this size an image is sent as PNG: exact, and small anyway.
_PNG_MAX_PIXELS = 64 * 64
_JPEG_QUALITY = 85
_CHANNELS = (1, 3, 4)
# Parts of a sample that are told by their name: neither image nor mask, whatever their shape.
BOX_FIELDS = frozenset({"boxes", "bboxes", "labels", "scores"})


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image file, and the size of what it was made from."""

    content: bytes
    media_type: str
    source_width_px: int
    source_height_px: int


def find_image(sample: Any) -> Any:
    """The input of a sample: the first image or array of two or more dimensions. Raises NotFound."""
    for name, part in parts(sample):
        if name not in BOX_FIELDS and (isinstance(part, Image.Image) or _dimensions(part) >= 2):
            return part
    raise NotFound("this sample holds no image")


def find_mask(sample: Any) -> NDArray[Any]:
    """The mask of a sample: the array of whole numbers, of two or more dimensions, after the input.

    Instance masks (N, H, W) that stand beside N `labels` become class ids, the later instance on top. Raises NotFound.
    """
    image = find_image(sample)
    labels = next((part for name, part in parts(sample) if name == "labels"), None)
    for name, part in parts(sample):
        if part is image or name in BOX_FIELDS:
            continue
        array = np.asarray(part) if isinstance(part, Image.Image) or _dimensions(part) >= 2 else None
        if array is None or array.dtype.kind not in "uib":
            continue
        if name == "masks" and array.ndim == 3 and labels is not None and len(labels) == len(array):
            return _instances_as_classes(array, np.asarray(labels))
        return array
    raise NotFound("the target of this sample is no mask")


def slice_count(image: Any) -> int:
    """Slices along Z when this is a volume; 0 when it is an image."""
    array = as_array(image)
    layout = layout_of(array, channels_first=not isinstance(image, Image.Image) and not isinstance(image, np.ndarray))
    return array.shape[layout.index("Z")] if "Z" in layout else 0


def layout_of(array: NDArray[Any], *, channels_first: bool) -> str:
    """The meaning of the axes, as letters of H, W, C and Z.

    Three axes are an image when one end has 1, 3 or 4 entries (of two candidates `channels_first` decides), else a
    volume; four axes are a volume with channels.
    """
    shape = array.shape
    if array.ndim == 2:
        return "HW"
    if array.ndim == 3:
        first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
        if first and (channels_first or not last):
            return "CHW"
        return "HWC" if last else "ZHW"
    if array.ndim == 4:
        for axis, layout in ((3, "ZHWC"), (0, "CZHW"), (1, "ZCHW")):
            if shape[axis] in _CHANNELS:
                return layout
    raise InvalidArgument(f"an array of shape {tuple(shape)} cannot be shown as an image")


def plane(image: Any, *, slice_index: int) -> NDArray[Any]:
    """One image of shape (H, W) or (H, W, C). Raises InvalidArgument when there is no such slice."""
    array = as_array(image)
    layout = layout_of(array, channels_first=not isinstance(image, Image.Image) and not isinstance(image, np.ndarray))
    if "Z" in layout:
        axis = layout.index("Z")
        if not 0 <= slice_index < array.shape[axis]:
            raise InvalidArgument(f"slice {slice_index} does not exist: the volume has {array.shape[axis]}")
        array = array.take(slice_index, axis=axis)
        layout = layout.replace("Z", "")
    if layout == "CHW":
        array = np.moveaxis(array, 0, 2)
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def as_array(image: Any) -> NDArray[Any]:
    if isinstance(image, Image.Image):
        if image.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
            image = image.convert("RGBA" if image.mode in ("LA", "PA") else "RGB")
        return np.asarray(image)
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        if str(image.dtype) == "torch.bfloat16":
            image = image.float()
    return np.asarray(image)


def to_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels as 0 to 255: bytes as they are, fractions in [0, 1] by 255, everything else from minimum to maximum."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    values = pixels.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = float(finite.min()), float(finite.max())
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    return np.clip(np.rint(scaled * 255), 0, 255).astype(np.uint8)


def encode_image(image: Any, *, size_px: int, slice_index: int) -> Encoded:
    """PNG for what is small or transparent, JPEG for the rest; `size_px` above 0 shrinks the longest side to it."""
    pixels = to_bytes(plane(image, slice_index=slice_index))
    height, width = pixels.shape[:2]
    small = _shrunk(Image.fromarray(pixels), size_px, Image.Resampling.BOX)
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    if has_alpha or width * height <= _PNG_MAX_PIXELS:
        return Encoded(_png(small), "image/png", width, height)
    shown = np.ascontiguousarray(np.asarray(small))
    if shown.ndim == 2:
        content = simplejpeg.encode_jpeg(shown[:, :, None], quality=_JPEG_QUALITY, colorspace="GRAY")
    else:
        content = simplejpeg.encode_jpeg(shown, quality=_JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
    return Encoded(content, "image/jpeg", width, height)


def encode_mask(mask: NDArray[Any], *, size_px: int, slice_index: int) -> Encoded:
    """A PNG whose pixel values are the class ids: 8 bit, or 16 bit when an id is above 255. Never interpolated."""
    ids = mask_plane(mask, slice_index=slice_index)
    height, width = ids.shape
    return Encoded(_png(_shrunk(Image.fromarray(ids), size_px, Image.Resampling.NEAREST)), "image/png", width, height)


def mask_plane(mask: NDArray[Any], *, slice_index: int) -> NDArray[Any]:
    """One slice of a mask (H, W), (1, H, W), (H, W, 1) or (Z, H, W) as uint8 or uint16 class ids (H, W)."""
    ids = mask
    if ids.ndim == 3 and 1 in (ids.shape[0], ids.shape[2]):
        ids = ids.squeeze(0 if ids.shape[0] == 1 else 2)
    elif ids.ndim == 3:
        if not 0 <= slice_index < len(ids):
            raise InvalidArgument(f"slice {slice_index} does not exist: the mask has {len(ids)}")
        ids = ids[slice_index]
    if ids.ndim != 2:
        raise InvalidArgument(f"a mask of shape {tuple(mask.shape)} cannot be shown")
    if ids.size and (ids.min() < 0 or ids.max() > 65535):
        # Ids that mean "ignore" are often -1 or -100: shown as the highest id there is room for.
        ids = np.where(ids < 0, 255 if ids.max() <= 255 else 65535, np.minimum(ids, 65535))
    return ids.astype(np.uint8 if not ids.size or ids.max() <= 255 else np.uint16)


def shrunk_size(size: tuple[int, int], size_px: int) -> tuple[int, int]:
    """`size` with its longest side at most `size_px`; as it is when that is 0."""
    longest = max(size)
    if size_px <= 0 or size_px >= longest:
        return size
    first, second = (max(1, round(side * size_px / longest)) for side in size)
    return first, second


def _shrunk(image: Image.Image, size_px: int, resampling: Image.Resampling) -> Image.Image:
    size = shrunk_size(image.size, size_px)
    return image if size == image.size else image.resize(size, resampling)


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def parts(sample: Any) -> list[tuple[str, Any]]:
    """Everything that a sample holds, in order, with its name where a mapping gives it one."""
    if isinstance(sample, Mapping):
        return [(str(name), part) for name, part in sample.items()]
    if isinstance(sample, list | tuple):
        return [
            part for item in sample for part in (parts(item) if isinstance(item, Mapping | tuple) else [("", item)])
        ]
    return [("", sample)]


def _dimensions(part: Any) -> int:
    return len(getattr(part, "shape", ()))


def _instances_as_classes(masks: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    classes = np.zeros(masks.shape[1:], dtype=np.int64)
    for mask, label in zip(masks, labels.tolist(), strict=True):
        classes[mask != 0] = label
    return classes
