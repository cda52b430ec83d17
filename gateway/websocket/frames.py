"""Messages framed once, to be handed to any number of sockets.

A server's frames are not masked, so every reader of a message gets the same bytes
(RFC 6455 §5.1). Compressed ones too, because we only agree to permessage-deflate with
``server_no_context_takeover`` (RFC 7692 §7.1.1.1) and, unless the client asks for less,
one window size: then a message is deflated once, and a socket keeps no zlib state.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Final

from websockets.exceptions import ProtocolError as FrameError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode

from gateway.errors import Close, LocalError

__all__ = [
    "DEFLATED",
    "MASKED",
    "PLAIN",
    "RAW",
    "SEPARATOR",
    "Encoding",
    "Message",
    "close",
    "ping",
    "pong",
]

Encoding = int
"""How one socket's frames look: its deflate window in bits, or 0; plus ``MASKED``."""

PLAIN: Final = 0
DEFLATED: Final = 12
"""The window we propose: 4 KiB hold a typical JSON message whole."""
MASKED: Final = 16
"""A client's frames are masked, each with a fresh key (RFC 6455 §5.3)."""

RAW: Final = 64
"""Not a WebSocket: the payload itself, in a sequence of JSON texts (RFC 7464)."""
SEPARATOR: Final = b"\x1e"
"""What each of them begins with; it ends with a line feed."""

_FIN: Final = 0x80
_SIZE_16: Final = Struct("!BBH")
_SIZE_64: Final = Struct("!BBQ")

_EMPTY_PING: Final = b"\x89\x00"  # which all heartbeats are
_EMPTY_PONG: Final = b"\x8a\x00"

_MIN_DEFLATE_BYTES: Final = 256
"""Shorter messages go out as they are: it would not save a packet."""


class Message:
    """A text (``str``) or binary message (``bytes``, or what holds some), framed at
    most once per encoding.

    Raises:
        LocalError: it is neither, or text with half a surrogate pair in it.

    >>> from gateway.websocket import Message
    >>> Message("hi").encode(PLAIN)
    b'\\x81\\x02hi'
    """

    __slots__ = ("_framed", "_opcode", "payload")

    def __init__(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            self._opcode = Opcode.TEXT
            self.payload = _utf8(payload)
        else:
            self._opcode = Opcode.BINARY
            self.payload = payload if type(payload) is bytes else _copy(payload)
        self._framed: dict[Encoding, bytes] = {}

    @classmethod
    def text(cls, payload: bytes) -> Message:
        """A text message from bytes that are UTF-8 already, as JSON encoders give."""
        message = cls(payload)
        message._opcode = Opcode.TEXT
        return message

    def encode(self, encoding: Encoding) -> bytes:
        """The one frame that carries this message to sockets of that encoding."""
        framed = self._framed.get(encoding)
        if framed is None:
            framed = self._frame(encoding)
            if encoding < MASKED:
                self._framed[encoding] = framed
        return framed

    def _frame(self, encoding: Encoding) -> bytes:
        if encoding == RAW:
            return b"%b%b\n" % (SEPARATOR, self.payload)
        window_bits = encoding & ~MASKED
        masked = encoding >= MASKED
        if window_bits and len(self.payload) < _MIN_DEFLATE_BYTES:
            return self.encode(encoding & MASKED)
        if encoding == PLAIN:
            return _head(self._opcode, len(self.payload)) + self.payload
        frame = Frame(self._opcode, self.payload)
        if not window_bits:
            return frame.serialize(mask=masked)
        deflate = PerMessageDeflate(True, True, 15, window_bits, {"memLevel": 5})
        return frame.serialize(mask=masked, extensions=[deflate])


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise LocalError(
            f"a text message is Unicode, which half a surrogate at character "
            f"{exc.start} ({text[exc.start]!a}) is not; send bytes as bytes"
        ) from None


def _copy(payload: object) -> bytes:
    """The bytes of a buffer, whose owner may use it again."""
    try:
        return memoryview(payload).tobytes()  # type: ignore[arg-type]
    except TypeError:
        raise LocalError(
            f"a message is str or bytes, not {type(payload).__name__}; send_json(...) "
            "sends JSON"
        ) from None


def _head(opcode: int, size: int) -> bytes:
    """What stands before the payload of a whole message, not masked (§5.2)."""
    if size < 126:
        return bytes((_FIN | opcode, size))
    if size < 65536:
        return _SIZE_16.pack(_FIN | opcode, 126, size)
    return _SIZE_64.pack(_FIN | opcode, 127, size)


def ping(payload: bytes, *, mask: bool) -> bytes:
    """A Ping frame (RFC 6455 §5.5.2); ``payload`` is at most 125 bytes."""
    if not payload and not mask:
        return _EMPTY_PING
    return Frame(Opcode.PING, payload).serialize(mask=mask)


def pong(payload: bytes, *, mask: bool) -> bytes:
    """A Pong frame (RFC 6455 §5.5.3)."""
    if not payload and not mask:
        return _EMPTY_PONG
    return Frame(Opcode.PONG, payload).serialize(mask=mask)


def close(close: Close | None, *, mask: bool) -> bytes:
    """A Close frame (RFC 6455 §5.5.1); None gives one without a code.

    The text is cut to the 123 bytes that a control frame has room for.
    """
    if close is None:
        return Frame(Opcode.CLOSE, b"").serialize(mask=mask)
    if not isinstance(close.text, str):
        raise LocalError(f"a close reason is text, not {close.text!r}")
    text = close.text.encode(errors="replace")[:123].decode(errors="ignore")
    try:
        payload = CloseFrame(close.code, text).serialize()
    except (FrameError, TypeError, StructError):
        raise LocalError(
            f"close code {close.code!r} cannot be sent: use 1000, 1001, 1002, 1003, "
            "1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4)"
        ) from None
    return Frame(Opcode.CLOSE, payload).serialize(mask=mask)
