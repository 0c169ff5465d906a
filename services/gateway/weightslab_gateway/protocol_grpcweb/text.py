"""The base64 of `application/grpc-web-text`.

Every chunk that a sender writes may be padded on its own, so that padding may stand in the middle of a body.
"""

from __future__ import annotations

import base64
import binascii

from weightslab_common.errors import InvalidArgument


def encode_text(data: bytes) -> bytes:
    """`data` as one padded piece of base64."""
    return base64.b64encode(data)


class TextReader:
    """Decodes a body as it arrives. Holds at most three characters between two chunks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that whole groups of four characters give. Raises InvalidArgument for what is no base64."""
        text = self._rest + data
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        decoded = []
        start = 0
        while start < whole:
            padding = text.find(b"=", start, whole)
            end = whole if padding < 0 else padding // 4 * 4 + 4
            try:
                decoded.append(base64.b64decode(text[start:end], validate=True))
            except binascii.Error as error:
                raise InvalidArgument(f"the body is no base64: {error}") from error
            start = end
        return b"".join(decoded)

    def finish(self) -> None:
        """Say that the body has ended. Raises InvalidArgument when it ended within a group of four."""
        if self._rest:
            raise InvalidArgument(f"the base64 of the body is cut off after {len(self._rest)} characters of a group")
