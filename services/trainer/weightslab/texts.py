"""Text samples: found, and written into a picture so that a grid can show them. Pure; needs no torch."""

from __future__ import annotations

import textwrap
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from weightslab_common.errors import NotFound

from weightslab.images import parts

_SIDE_PX = 384
_FONT_PX = 20
_LINE_CHARACTERS = 34
_LINES = 15
_MARGIN_PX = 12


def find_text(sample: Any) -> str:
    """The text of a sample: the part named `text`, else the first that is text. Raises NotFound."""
    texts = [(name, part) for name, part in parts(sample) if isinstance(part, str)]
    if not texts:
        raise NotFound("this sample holds neither an image nor a text")
    return next((part for name, part in texts if name == "text"), texts[0][1])


def picture(text: str) -> Image.Image:
    """The beginning of a text, dark on light, as a square grayscale picture."""
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, _LINE_CHARACTERS) or [""]]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1] + " …"]
    image = Image.new("L", (_SIDE_PX, _SIDE_PX), 255)
    font = ImageFont.load_default(_FONT_PX)
    ImageDraw.Draw(image).multiline_text((_MARGIN_PX, _MARGIN_PX), "\n".join(lines), fill=20, font=font)
    return image
