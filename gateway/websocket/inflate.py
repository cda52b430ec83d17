"""The receiving half of permessage-deflate (RFC 7692 §7.2.2), within bounds."""

from __future__ import annotations

import zlib
from typing import Final

from gateway.errors import ProtocolViolation

__all__ = ["Inflater"]

_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender cuts off each message: an empty block, all but its first bits."""

_PADDING: Final = (b"", b"\x00")
"""What may stand behind a final block: the first bits of that empty one (§7.2.3.4)."""


class Inflater:
    """Inflates messages piece by piece.

    With ``takeover`` a message may look back at those before it, so one inflater has to
    see them all; without, it keeps nothing from message to message.

    >>> inflater = Inflater(15)
    >>> inflater.inflate(bytes.fromhex("f248cdc9c907 00"), last=True, room=5)
    b'Hello'
    """

    __slots__ = ("_decoder", "_takeover", "_window_bits")

    def __init__(self, window_bits: int, *, takeover: bool = False) -> None:
        self._window_bits = window_bits
        self._takeover = takeover
        self._decoder: zlib._Decompress | None = None

    def inflate(self, piece: bytes, *, last: bool, room: int) -> bytes:
        """What ``piece`` of a message stands for, cut off at ``room + 1`` bytes.

        ``last`` says that the message ends with it.

        Raises:
            ProtocolViolation: this cannot be inflated, or more follows its end.
        """
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = zlib.decompressobj(-self._window_bits)
        tail = _TAIL if last else b""
        try:
            data = decoder.decompress(piece + tail, room + 1)
        except zlib.error as exc:
            raise ProtocolViolation(f"cannot be inflated: {exc}") from None
        if decoder.eof and decoder.unused_data.removesuffix(tail) not in _PADDING:
            raise ProtocolViolation("bytes behind the end of deflated data")
        if last and (decoder.eof or not self._takeover):
            self._decoder = None
        return data
