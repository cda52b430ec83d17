"""A client that sends exactly the bytes a test gives it, right or wrong."""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import gevent
import gevent.socket
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader
from websockets.utils import accept_key

__all__ = ["KEY", "RawClient", "frame", "switching", "unmasked"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def frame(opcode: Opcode, payload: bytes = b"", **bits: bool) -> bytes:
    """A masked frame, as clients send them. ``bits``: fin, rsv1, rsv2, rsv3."""
    first = opcode | (0x80 if bits.get("fin", True) else 0)
    for name, bit in (("rsv1", 0x40), ("rsv2", 0x20), ("rsv3", 0x10)):
        first |= bit if bits.get(name) else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload  # a zero mask leaves the payload as it is


def unmasked(opcode: Opcode, payload: bytes = b"") -> bytes:
    """A frame as servers send them."""
    return Frame(opcode, payload).serialize(mask=False)


def switching(request: bytes, **headers: str) -> bytes:
    """The 101 that a server answers to a request for a WebSocket."""
    key = request.decode().split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(key),
        **headers,
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(["HTTP/1.1 101 Switching", *lines, "", ""]).encode()


class RawClient:
    """A TCP connection to a server under test."""

    opened: ClassVar[list[RawClient]] = []
    """All that a test opened; conftest.py closes what it left open."""

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, source: str | None = None
    ) -> None:
        self.opened.append(self)
        origin = None if source is None else (source, 0)
        self.sock = gevent.socket.create_connection((host, port), None, origin)
        self.buffer = b""
        self._stream = StreamReader()
        self.frames: list[Frame] = []
        self._parser = self._parse()
        next(self._parser)

    def request(
        self,
        path: str = "/",
        headers: Mapping[str, str | None] | None = None,
        *,
        method: str = "GET",
        version: str = "HTTP/1.1",
        body: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask for an upgrade; ``headers`` are changed (None: left out).

        Returns status, headers in lower case, and the body of a refusal.
        """
        fields: dict[str, str | None] = {"Host": "localhost", **UPGRADE}
        fields.update(headers or {})
        lines = [f"{method} {path} {version}"]
        lines += [f"{name}: {value}" for name, value in fields.items() if value]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.response()

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Read an HTTP response."""
        while b"\r\n\r\n" not in self.buffer:
            assert self._receive(), f"closed after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        size = int(headers.get("content-length", 0))
        while len(self.buffer) < size:
            assert self._receive()
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return int(status.split(" ")[1]), headers, body

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def send_text(self, text: str) -> None:
        """Send a text message."""
        self.send(frame(Opcode.TEXT, text.encode()))

    def receive(self, timeout: float = 10.0) -> Frame | None:
        """The server's next frame, or None if it closed the connection."""
        with gevent.Timeout(timeout, AssertionError(f"no frame in {timeout} s")):
            while not self.frames:
                if self.buffer:
                    self._stream.feed_data(self.buffer)
                    self.buffer = b""
                    next(self._parser)
                elif not self._receive():
                    return None
        return self.frames.pop(0)

    def receive_close(self) -> tuple[int, str]:
        """Skip to the server's Close frame; returns its code and text."""
        while (got := self.receive()) is not None:
            if got.opcode is Opcode.CLOSE:
                close = Close.parse(got.data)
                return int(close.code), close.reason
        raise AssertionError("the connection ended without a Close frame")

    def receive_eof(self) -> None:
        """The server must close the connection now, with nothing before it."""
        assert self.receive() is None

    def close(self) -> None:
        """Close the connection without a word."""
        self.sock.close()

    def reset(self) -> None:
        """Break the connection: the server gets a reset."""
        linger = struct.pack("ii", 1, 0)
        self.sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, linger)
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def _parse(self) -> Generator[None, None, Any]:
        while True:
            self.frames.append(
                (yield from Frame.parse(self._stream.read_exact, mask=False))
            )
