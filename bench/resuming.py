"""Clients of the extended protocol that leave and come back, many in one thread.

Each reads one stream, whose messages are ``{"n": 1}``, ``{"n": 2}`` and so on, and
holds what it gets against that, over all its connections.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

from bench.load import raise_descriptors
from bench.progress import Incomplete
from bench.wire import masked, split, upgrade
from tests.soak.tally import Tally

__all__ = ["Crew", "Reader"]

_PROTOCOL = {"Sec-WebSocket-Protocol": "actioncable-v1-ext-json"}
_RESET = struct.pack("ii", 1, 0)  # closing sends RST
_PING = 0x89
_TEXT = 0x81


class _Frame(msgspec.Struct):
    type: str = ""
    message: Any = None
    sid: str = ""
    restored: bool = False
    stream_id: str = ""
    epoch: str = ""
    offset: int = 0


_decode = msgspec.json.Decoder(_Frame).decode


@dataclass(eq=False)
class Reader:
    """One client: where it is in its stream, and what has come."""

    room: int
    by_sid: bool = False
    """Whether it asks for its old session, and not for new subscriptions."""
    tally: Tally = field(default_factory=Tally)
    replays_s: list[float] = field(default_factory=list)
    """From each return until it had all that it had missed, if that was anything."""
    settled: bool = False
    """Whether it is connected, subscribed, and was told what it had missed."""
    restored: int = 0
    """How often it was given its old session."""
    _sid: str = ""
    _since: int = field(default_factory=lambda: int(time.time()))
    _places: dict[str, dict[str, Any]] = field(default_factory=dict)
    _returned: float = 0.0
    _replayed: int = 0

    def begin(self) -> None:
        """It comes, or tries again to come back."""
        self._returned = self._returned or time.perf_counter()

    def lose(self, *, to_return: bool) -> None:
        """Its connection is gone; ``to_return`` says that it was about to come."""
        self.settled = False
        if not to_return:
            self._returned = 0.0

    def request(self) -> bytes:
        """The handshake of a new connection."""
        self._replayed = 0
        asks_back = self.by_sid and self._sid
        query = f"?{urlencode({'sid': self._sid})}" if asks_back else ""
        return upgrade(f"/cable{query}", _PROTOCOL)

    def hear(self, payload: bytes) -> bytes:
        """A message has come; returns what to say to it."""
        frame = _decode(payload)
        match frame.type:
            case "":
                self._places[frame.stream_id] = {
                    "epoch": frame.epoch,
                    "offset": frame.offset,
                }
                self.tally.got(frame.message["n"])
                self._replayed += not self.settled
            case "welcome":
                self._sid = frame.sid
                self.restored += frame.restored
                return self._ask("history" if frame.restored else "subscribe")
            case "confirm_history" | "reject_history":
                if frame.type == "reject_history":
                    self.tally.refuse()
                if self._replayed:
                    self.replays_s.append(time.perf_counter() - self._returned)
                self._returned = 0.0
                self.settled = True
            case "reject_subscription":
                raise Incomplete(f"turned away: {payload!r}")
        return b""

    def _ask(self, command: str) -> bytes:
        identifier = f'{{"channel":"ChatChannel","room_id":{self.room}}}'
        history = {"since": self._since, "streams": self._places}
        asked = {"command": command, "identifier": identifier, "history": history}
        return masked(msgspec.json.encode(asked))


class Crew:
    """The readers' connections to the server at ``port``, on one epoll."""

    def __init__(self, port: int) -> None:
        raise_descriptors()
        self._port = port
        self._poll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._sockets: dict[Reader, socket.socket] = {}
        self._rests: dict[int, bytes] = {}
        self._upgraded: set[int] = set()
        self.broken = 0
        """Connections that ended though we did not end them."""

    def come(self, reader: Reader) -> None:
        """Connect; all else follows in turns."""
        reader.begin()
        sock = socket.socket()
        sock.setblocking(False)
        begun = sock.connect_ex(("127.0.0.1", self._port))
        if begun not in (0, errno.EINPROGRESS):
            raise OSError(begun, "cannot connect")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = sock.fileno()
        self._sockets[reader] = sock
        self._readers[fd] = reader
        self._rests[fd] = b""
        self._poll.register(fd, select.EPOLLOUT)

    def has(self, reader: Reader) -> bool:
        """Whether it is connected, or about to be."""
        return reader in self._sockets

    def abort(self, reader: Reader) -> None:
        """Break its connection: the server gets a reset."""
        self._drop(reader)
        reader.lose(to_return=False)

    def _drop(self, reader: Reader) -> None:
        sock = self._sockets.pop(reader)
        fd = sock.fileno()
        del self._readers[fd], self._rests[fd]
        self._upgraded.discard(fd)
        self._poll.unregister(fd)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()

    def settle(
        self, readers: Iterable[Reader], at_once: int, patience_s: float = 60.0
    ) -> None:
        """Let them come, so many at once, and return when all have settled."""
        waiting, opening = list(readers), set[Reader]()
        until = time.monotonic() + patience_s
        while waiting or opening:
            while waiting and len(opening) < at_once:
                reader = waiting.pop()
                opening.add(reader)
                self.come(reader)
            for reader in self.turn(0.1):
                self.come(reader)
            opening = {reader for reader in opening if not reader.settled}
            if time.monotonic() > until:
                raise Incomplete(f"{len(opening)} clients do not settle")

    def turn(self, timeout_s: float) -> list[Reader]:
        """Hear what has come; returns those whose connections the server ended."""
        lost = []
        for fd, events in self._poll.poll(timeout_s, 1024):
            reader = self._readers[fd]
            sock = self._sockets[reader]
            try:
                if events & select.EPOLLOUT:
                    sock.sendall(reader.request())
                    self._poll.modify(fd, select.EPOLLIN)
                elif not self._hear(fd, reader, sock):
                    lost.append(reader)
            except ConnectionError:
                lost.append(reader)
        for reader in lost:
            self.broken += 1
            self._drop(reader)
            reader.lose(to_return=True)
        return lost

    def _hear(self, fd: int, reader: Reader, sock: socket.socket) -> bool:
        data = sock.recv(2**18)
        if not data:
            return False
        data = self._rests[fd] + data
        if fd not in self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rests[fd] = head
                return True
            if not head.startswith(b"HTTP/1.1 101"):
                raise Incomplete(f"no upgrade: {head.decode('latin-1')}")
            self._upgraded.add(fd)
        frames, self._rests[fd] = split(data)
        for kind, payload in frames:
            if kind == _TEXT:
                if answer := reader.hear(payload):
                    sock.sendall(answer)
            elif kind == _PING:
                pong = struct.pack("!BB", 0x8A, 0x80 | len(payload))
                sock.sendall(pong + bytes(4) + payload)
        return True

    def close(self) -> None:
        """Break what is left."""
        for reader in list(self._sockets):
            self.abort(reader)
        self._poll.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
