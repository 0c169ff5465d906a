"""The picture that stands where an image cannot be had."""

from __future__ import annotations

import functools
import io
import textwrap

from PIL import Image, ImageDraw, ImageFont

DEFAULT_PX = 256
MIN_PX, MAX_PX = 48, 512
_GROUND, _LINE, _TEXT = 235, 190, 90
_FONT_PX = 12


@functools.lru_cache(maxsize=32)
def placeholder(message: str, *, size_px: int) -> bytes:
    """A square grey PNG with a crossed frame and, where it fits, `message`; `size_px` 0 means DEFAULT_PX.

    It is drawn on the event loop: about a millisecond, and once per message and size.
    """
    side = min(max(size_px or DEFAULT_PX, MIN_PX), MAX_PX)
    picture = Image.new("L", (side, side), _GROUND)
    draw = ImageDraw.Draw(picture)
    draw.line((0, 0, side, side), fill=_LINE)
    draw.line((0, side, side, 0), fill=_LINE)
    draw.rectangle((0, 0, side - 1, side - 1), outline=_LINE)
    font = ImageFont.load_default(_FONT_PX)
    lines = textwrap.wrap(message, width=max(1, int((side - 8) / (_FONT_PX * 0.55))))
    text = "\n".join(lines[: max(1, (side - 8) // (_FONT_PX + 4))])
    box = draw.multiline_textbbox((side // 2, side // 2), text, font=font, anchor="mm", align="center")
    draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), fill=_GROUND)
    draw.multiline_text((side // 2, side // 2), text, font=font, fill=_TEXT, anchor="mm", align="center")
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()
