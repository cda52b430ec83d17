"""Bytes of RFC 6455, as little of it as a load client needs."""

from __future__ import annotations

import struct
import zlib

__all__ = ["TEXT_DEFLATED", "inflate", "masked", "split", "upgrade", "wire_bytes"]

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 §7.2.2

TEXT_DEFLATED = 0xC1


def upgrade(path: str, headers: dict[str, str]) -> bytes:
    """A request to speak WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
        "\r\n",
    ]
    return "\r\n".join(lines).encode()


def masked(text: str | bytes) -> bytes:
    """A text frame as clients send it; a zero mask leaves the payload as it is."""
    payload = text.encode() if isinstance(text, str) else text
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    return head + bytes(4) + payload


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the start of ``data``, each with its first byte; the rest."""
    frames = []
    at = 0
    while len(data) - at >= 2:
        size, start = data[at + 1], at + 2
        if size == 126:
            if len(data) < at + 4:
                break
            (size,), start = struct.unpack_from("!H", data, at + 2), at + 4
        elif size == 127:
            if len(data) < at + 10:
                break
            (size,), start = struct.unpack_from("!Q", data, at + 2), at + 10
        if len(data) < start + size:
            break
        frames.append((data[at], data[start : start + size]))
        at = start + size
    return frames, data[at:]


def wire_bytes(payload: bytes) -> int:
    """How long a server's frame with this payload is."""
    size = len(payload)
    return size + (2 if size < 126 else 4 if size < 65536 else 10)


def inflate(payload: bytes) -> bytes:
    """The text of a deflated message whose sender keeps no context."""
    return zlib.decompressobj(-15).decompress(payload + _TAIL)
