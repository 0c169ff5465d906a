"""The base of generated enums."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enum import IntEnum as WireEnum
else:
    from betterproto import Enum as WireEnum

__all__ = ["WireEnum"]
