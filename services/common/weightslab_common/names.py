"""Rules for names that people give."""

from __future__ import annotations

import re
import unicodedata

from weightslab_common.errors import InvalidArgument

_SLUG = re.compile(r"[a-z0-9-]{1,64}")
TAG_MAX_CHARACTERS = 64


def experiment_slug(name: str) -> str:
    """Return `name` if it is a slug `[a-z0-9-]{1,64}`, else raise InvalidArgument."""
    if not _SLUG.fullmatch(name):
        raise InvalidArgument(
            f"experiment name {name!r} is not usable: 1 to 64 of lower-case letters, digits and '-' are"
        )
    return name


def tag_text(tag: str) -> str:
    """Return `tag` trimmed; raise InvalidArgument unless 1 to 64 characters without control characters remain."""
    text = tag.strip()
    if not 1 <= len(text) <= TAG_MAX_CHARACTERS:
        raise InvalidArgument(
            f"a tag has 1 to {TAG_MAX_CHARACTERS} characters, this one has {len(text)}: {text[:80]!r}"
        )
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidArgument(f"tag {text!r} holds the control character U+{ord(character):04X}; remove it")
    return text
