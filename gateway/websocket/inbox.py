"""Bytes in, messages out: what RFC 6455 §5 to §8 ask of a receiver. No I/O here.

A fault is found at its first byte, however frames and the network cut the bytes: a head
is judged before its payload comes, text while it comes. What was received before the
fault is always delivered before the fault is reported.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator
from io import BytesIO, StringIO
from typing import Final, NamedTuple

from websockets.exceptions import ProtocolError as FrameError
from websockets.frames import Close as CloseFrame
from websockets.frames import Opcode

from gateway.errors import (
    Close,
    InvalidText,
    MessageTooBig,
    PeerError,
    ProtocolViolation,
)
from gateway.websocket.inflate import Inflater
from gateway.websocket.limits import Limits

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it comes without its C extension
    from websockets.utils import apply_mask

__all__ = ["CloseReceived", "Event", "Inbox", "Ping", "Pong"]

_CONT, _TEXT, _BINARY = Opcode.CONT, Opcode.TEXT, Opcode.BINARY
_CLOSE, _PING, _PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}

# The bits of a frame's first two bytes (§5.2).
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_DEFLATED: Final = 0x40  # RSV1, as RFC 7692 §6 uses it
_MASKED: Final = 0x80
_SIZE: Final = 0x7F

_MAX_CONTROL_BYTES: Final = 125  # §5.5

_Utf8 = codecs.getincrementaldecoder("utf-8")


class Ping(NamedTuple):
    """The peer asks for a Pong with this payload."""

    payload: bytes


class Pong(NamedTuple):
    """The peer answers a Ping, or just says that it lives."""

    payload: bytes


class CloseReceived(NamedTuple):
    """The peer's Close frame; ``close`` is None when it carried no code."""

    close: Close | None


Event = str | bytes | Ping | Pong | CloseReceived | PeerError
"""``str`` and ``bytes`` are messages; a ``PeerError`` is always the last event."""


class Inbox:
    """The receiving half of one connection.

    >>> from gateway.websocket import Limits
    >>> inbox = Inbox(Limits(), masked=False)
    >>> inbox.feed(b"\\x81\\x02hi\\x89\\x00")
    ['hi', Ping(payload=b'')]
    >>> inbox.idle
    True
    """

    __slots__ = (
        "_between_frames",
        "_buffer",
        "_deflated",
        "_ended",
        "_events",
        "_fragments",
        "_held",
        "_inflater",
        "_is_text",
        "_limits",
        "_parser",
        "_partial",
        "_queued",
        "_queued_bytes",
        "_received",
        "full",
        "masked",
    )

    def __init__(
        self, limits: Limits, *, masked: bool, inflater: Inflater | None = None
    ) -> None:
        self._limits = limits
        self.masked = masked  # a server reads masked frames (RFC 6455 §5.1)
        self._inflater = inflater
        self._buffer = bytearray()
        self._events: list[Event] = []
        self._queued = 0  # messages that this feeding has given
        self._queued_bytes = 0
        self.full = False
        self._ended = False
        self._between_frames = True
        # The message that is being received:
        self._is_text = False
        self._deflated = False
        self._fragments = 0
        self._received = 0  # bytes, as they are announced
        self._held = 0  # bytes, inflated
        self._partial: _PartialText | _PartialBinary | None = None  # made of them
        self._parser = self._parse()
        next(self._parser)

    @property
    def idle(self) -> bool:
        """Whether nothing is half received, so that this inbox may be thrown away."""
        return self._between_frames and self._partial is None and not self._ended

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the network; return what they complete, in order.

        After a :class:`CloseReceived` or a :class:`PeerError` the rest is discarded
        (RFC 6455 §5.5.1 and §7.1.7). When these are as many messages as may wait for
        the program, in number or in bytes, the inbox is ``full``: the rest is kept, and
        comes when it is fed again, with ``b""`` say.
        """
        if self._ended:
            return []
        self._buffer += data
        self._queued = self._queued_bytes = 0
        self.full = False
        try:
            next(self._parser)
        except StopIteration:
            self._ended = True
        except PeerError as exc:
            self._ended = True
            self._events.append(exc)
        except FrameError as exc:
            self._ended = True
            self._events.append(ProtocolViolation(str(exc)))
        if self._ended:
            self._buffer.clear()
            self._partial = None
        events, self._events = self._events, []
        return events

    def _too_big(self) -> MessageTooBig:
        limit = self._limits.max_message_bytes
        return MessageTooBig(f"message over {limit} bytes")

    def _parse(self) -> Generator[None, None, None]:
        """Runs until it needs more bytes; ends after a Close frame."""
        buffer = self._buffer
        while True:
            self._between_frames = True
            while not buffer:
                yield
            self._between_frames = False
            while len(buffer) < 2:
                yield
            first, second = buffer[0], buffer[1]
            opcode = self._check_head(first, second)
            size, head_size = second & _SIZE, 2
            if size > 125:
                head_size = 4 if size == 126 else 10
                while len(buffer) < head_size:
                    yield
                size = int.from_bytes(buffer[2:head_size])
            if opcode < _CLOSE:
                self._received += size
                if self._received > self._limits.max_message_bytes:
                    raise self._too_big()
            mask = b""
            if self.masked:
                head_size += 4
                while len(buffer) < head_size:
                    yield
                mask = bytes(buffer[head_size - 4 : head_size])
            del buffer[:head_size]
            in_pieces = opcode < _CLOSE and not self._deflated
            while len(buffer) < size:
                if buffer and in_pieces:
                    size -= len(buffer)
                    turn = len(buffer) % 4
                    self._add(self._cut(len(buffer), mask), last=False)
                    mask = mask[turn:] + mask[:turn]
                yield
            payload = self._cut(size, mask)
            if opcode is _PING:
                self._events.append(Ping(payload))
            elif opcode is _PONG:
                self._events.append(Pong(payload))
            elif opcode is _CLOSE:
                self._events.append(_close(payload))
                return
            else:
                last = first >= _FIN
                if self._deflated:
                    payload = self._inflate(payload, last)
                self._add(payload, last=last)
                if last:
                    self._queued += 1
                    self._queued_bytes += self._held
                    self.full = (
                        self._queued >= self._limits.max_queued_messages
                        or self._queued_bytes >= self._limits.max_queued_bytes
                    )
                    if self.full:
                        yield

    def _check_head(self, first: int, second: int) -> Opcode:
        """Judge a frame by its first two bytes; note what message it begins."""
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise ProtocolViolation("invalid opcode")
        if (second >= _MASKED) is not self.masked:
            raise ProtocolViolation("incorrect masking")
        reserved = first & _RESERVED
        if reserved and not (
            reserved == _DEFLATED
            and self._inflater is not None
            and (opcode is _TEXT or opcode is _BINARY)
        ):
            raise ProtocolViolation("reserved bits must be 0")
        if opcode >= _CLOSE:
            if second & _SIZE > _MAX_CONTROL_BYTES:
                raise ProtocolViolation("control frame too long")
            if first < _FIN:
                raise ProtocolViolation("fragmented control frame")
        elif opcode is _CONT:
            if self._partial is None:
                raise ProtocolViolation("unexpected continuation frame")
            self._fragments += 1
            if self._fragments > self._limits.max_fragments:
                raise MessageTooBig(f"over {self._limits.max_fragments} fragments")
        else:
            if self._partial is not None:
                raise ProtocolViolation("expected a continuation frame")
            self._is_text = opcode is _TEXT
            self._deflated = reserved != 0
            self._fragments = 1
            self._received = self._held = 0
        return opcode

    def _cut(self, size: int, mask: bytes) -> bytes:
        """Take so many bytes of payload from the buffer."""
        data = self._buffer[:size]
        del self._buffer[:size]
        return apply_mask(data, mask) if mask else bytes(data)

    def _inflate(self, piece: bytes, last: bool) -> bytes:
        assert self._inflater is not None
        room = self._limits.max_message_bytes - self._held
        return self._inflater.inflate(piece, last=last, room=room)

    def _add(self, piece: bytes, *, last: bool) -> None:
        """Take a piece of a message, as its sender or the network cut it."""
        self._held += len(piece)
        if self._held > self._limits.max_message_bytes:
            raise self._too_big()
        if self._partial is None:
            if last:
                self._events.append(_decode(piece) if self._is_text else piece)
                return
            self._partial = _PartialText() if self._is_text else _PartialBinary()
        self._partial.add(piece, last)
        if last:
            self._events.append(self._partial.whole())
            self._partial = None


class _PartialText:
    """Text that comes in pieces; it fails at the first bad byte (§8.1)."""

    __slots__ = ("_decoder", "_text")

    def __init__(self) -> None:
        self._decoder = _Utf8()
        self._text = StringIO()

    def add(self, piece: bytes, last: bool) -> None:
        try:
            self._text.write(self._decoder.decode(piece, last))
        except UnicodeDecodeError as exc:
            raise InvalidText(f"text is not UTF-8: {exc.reason}") from None

    def whole(self) -> str:
        return self._text.getvalue()


class _PartialBinary:
    """A binary message that comes in pieces."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = BytesIO()

    def add(self, piece: bytes, last: bool) -> None:
        self._data.write(piece)

    def whole(self) -> bytes:
        return self._data.getvalue()


def _decode(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidText(
            f"text is not UTF-8: {exc.reason} at byte {exc.start}"
        ) from None


def _close(payload: bytes) -> CloseReceived:
    if not payload:
        return CloseReceived(None)
    try:
        frame = CloseFrame.parse(payload)
    except UnicodeDecodeError as exc:
        raise InvalidText(f"close reason is not UTF-8: {exc.reason}") from None
    return CloseReceived(Close(int(frame.code), frame.reason))
