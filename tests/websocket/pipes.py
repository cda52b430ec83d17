"""Readers whose transport records, and takes as much as a test wants it to."""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Callable

from gateway.websocket import Limits, Message
from gateway.websocket.frames import PLAIN
from gateway.websocket.outbox import Outbox
from gateway.websocket.turn import Turn

__all__ = ["MakeReader", "Pipe", "Reader", "frames"]


class Pipe:
    """A transport that takes what fits; a socket pair, so that it can be watched."""

    def __init__(self) -> None:
        self.near, self.far = stdlib_socket.socketpair()
        self.near.setblocking(False)
        self.room: int | None = None  # None: the kernel's own
        self.sent: list[bytes] = []
        self.error: OSError | None = None

    def fileno(self) -> int:
        return self.near.fileno()

    def recv(self, size: int, /) -> bytes:
        raise BlockingIOError

    def send(self, data: bytes | memoryview, /) -> int:
        if self.error is not None:
            raise self.error
        if self.room == 0:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.sent.append(taken)
        if self.room is not None:
            self.room -= len(taken)
        return len(taken)

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Reader:
    """One peer: its outbox, its transport, and what the outbox said of it."""

    id = 1

    def __init__(self, **limits: float) -> None:
        self.pipe = Pipe()
        self.said: list[str] = []
        terms = Limits(**limits)  # type: ignore[arg-type]
        self.outbox = Outbox(self, self.pipe, Turn.current(), terms, PLAIN)

    def write_failed(self, error: OSError) -> None:
        self.said.append(f"failed: {error}")

    def reader_too_slow(self) -> None:
        self.said.append("too slow")

    def outbox_emptied(self) -> None:
        self.said.append("emptied")

    @property
    def received(self) -> bytes:
        return b"".join(self.pipe.sent)


MakeReader = Callable[..., Reader]


def frames(*texts: str) -> bytes:
    return b"".join(Message(text).encode(PLAIN) for text in texts)
