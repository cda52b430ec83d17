"""Many WebSocket clients in one thread: raw sockets, read in big pieces."""

from __future__ import annotations

import resource
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable

from bench.dialects import Dialect, mark
from bench.processes import pin_load
from bench.progress import Delivery, Incomplete, Progress, without_heartbeats
from bench.wire import masked, split, upgrade

__all__ = ["Crowd", "Delivery", "Incomplete", "raise_descriptors"]

_PATIENCE_S = 60.0
_OPENING = 200
_PIECE = 2**18
_PING = 0x89


class Crowd:
    """Clients of the server at ``port``; the first one is who publishes."""

    def __init__(self, port: int, dialect: Dialect, *, deflate: bool = False) -> None:
        raise_descriptors()
        pin_load()
        self.dialect = dialect
        self.sockets: dict[int, socket.socket] = {}
        self.pings: Counter[int] = Counter()
        """RFC 6455 pings that each socket has answered."""
        self._rests: dict[int, bytes] = {}  # of frames that have come in part
        self._port = port
        headers = dict(dialect.headers)
        if deflate:
            offer = "permessage-deflate; client_max_window_bits"
            headers["Sec-WebSocket-Extensions"] = offer
        self._request = upgrade(dialect.path, headers)
        self._hello = masked(dialect.hello) if dialect.hello else b""
        self._poll = select.epoll()
        self._buffer = bytearray(_PIECE)
        self._number = 0  # of the next message

    # Opening.

    def open(self, count: int, *, receive_buffer: int | None = None) -> list[int]:
        """So many more clients, all subscribed when this returns; their sockets."""
        opened: list[int] = []
        waiting: dict[int, bytes] = {}
        until = time.monotonic() + _PATIENCE_S
        while len(opened) < count or waiting:
            while len(opened) < count and len(waiting) < _OPENING:
                opened.append(self._connect(receive_buffer))
                waiting[opened[-1]] = b""
            for fd, _ in self._poll.poll(0.1):
                if fd not in waiting:
                    self._hear(fd)
                elif self._is_ready(fd, waiting):
                    del waiting[fd]
            if time.monotonic() > until:
                raise Incomplete(f"{len(waiting)} sockets do not open")
        return opened

    def _connect(self, receive_buffer: int | None) -> int:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.sendall(self._request)
        self.sockets[sock.fileno()] = sock
        self._poll.register(sock.fileno(), select.EPOLLIN)
        return sock.fileno()

    def _is_ready(self, fd: int, waiting: dict[int, bytes]) -> bool:
        data = self.sockets[fd].recv(65536)
        if not data:
            raise Incomplete(f"refused after {waiting[fd]!r}")
        before, waiting[fd] = waiting[fd], waiting[fd] + data
        head, end, frames = waiting[fd].partition(b"\r\n\r\n")
        if end and not head.startswith(b"HTTP/1.1 101"):
            raise Incomplete(f"no upgrade: {head.decode('latin-1')}")
        if end and b"\r\n\r\n" not in before and self._hello:
            self.sockets[fd].sendall(self._hello)
        if not end or self.dialect.ready not in frames:
            return False
        self._messages(fd, frames)  # there may be a ping among them
        return True

    # One to all.

    def fan_out(
        self,
        rounds: int,
        window: int = 1,
        *,
        publish: Callable[[str], str] | None = None,
        readers: Iterable[int] | None = None,
    ) -> Delivery:
        """Publish ``rounds`` messages, at most ``window`` of them in flight.

        ``publish`` makes what is sent of the text that has to arrive. ``readers`` are
        those who must get it: all, unless given.
        """
        make = publish or (lambda text: self.dialect.publish.replace("%s", text))
        fds = list(self.sockets if readers is None else readers)
        progress = Progress(fds, self._number)
        self._number += rounds
        say = next(iter(self.sockets.values())).sendall
        receive = {fd: self.sockets[fd].recv_into for fd in fds}
        buffer, until = self._buffer, time.monotonic() + _PATIENCE_S
        while True:
            while progress.published < rounds and progress.have_come(
                progress.published - window + 1
            ):
                say(masked(make(progress.publish())))
            if progress.published == rounds and progress.have_come(rounds):
                return progress.finish()
            for fd, _ in self._poll.poll(1.0, 1024):
                if fd in receive:
                    size = receive[fd](buffer)
                    if not size:
                        raise Incomplete(f"the server closed a socket: {progress}")
                    progress.feed(fd, buffer, size)
            if time.monotonic() > until:
                raise Incomplete(str(progress))

    # Each for itself.

    def echo(self, seconds: float) -> int:
        """Each socket keeps one message in flight; returns how many came back."""
        expected = {fd: self._say(fd) for fd in self.sockets}
        rests = dict.fromkeys(self.sockets, b"")
        trips = 0
        until = time.perf_counter() + seconds
        while expected:
            events = self._poll.poll(5.0)
            if not events:
                raise Incomplete(f"{len(expected)} messages did not come back")
            going = time.perf_counter() < until
            for fd, _ in events:
                data = without_heartbeats(self.sockets[fd].recv(65536))
                frames, rests[fd] = split(rests[fd] + data)
                if not frames:
                    continue
                if len(frames) > 1 or expected.pop(fd) not in frames[0][1]:
                    raise Incomplete(f"not what was sent: {frames}")
                trips += 1
                if going:
                    expected[fd] = self._say(fd)
        return trips

    def _say(self, fd: int) -> bytes:
        text = mark(self._number)
        self._number += 1
        self.sockets[fd].sendall(masked(self.dialect.publish.replace("%s", text)))
        return text.encode()

    def ask(self, text: str, answers: int) -> list[bytes]:
        """The first client says something; returns so many messages that come."""
        self.say(text)
        return self.hear(next(iter(self.sockets)), answers)

    def say(self, text: str) -> None:
        """The first client says something."""
        next(iter(self.sockets.values())).sendall(masked(text))

    def hear(self, fd: int, messages: int) -> list[bytes]:
        """So many messages, which come to one socket within some time."""
        frames: list[tuple[int, bytes]] = []
        rest = b""
        sock = self.sockets[fd]
        sock.settimeout(_PATIENCE_S)
        while len(frames) < messages:
            data = sock.recv(_PIECE)
            if not data:
                raise Incomplete(f"{messages} messages expected, {len(frames)} came")
            got, rest = split(rest + without_heartbeats(data))
            frames += got
        sock.setblocking(False)
        if len(frames) > messages or rest:
            raise Incomplete(f"{messages} messages expected, more came: {frames[-1]}")
        return [payload for _, payload in frames]

    # The rest.

    def listen(
        self,
        seconds: float,
        enough: Callable[[list[bytes]], bool] | None = None,
        *,
        readers: Iterable[int] | None = None,
    ) -> dict[int, list[bytes]]:
        """Answer pings and return what else comes, by socket.

        With ``enough``, only until that is true of what each of the ``readers`` (all,
        unless given) has heard, which must be so within ``seconds``.
        """
        heard: dict[int, list[bytes]] = {fd: [] for fd in self.sockets}
        waiting = set(self.sockets if readers is None else readers)
        until = time.monotonic() + seconds
        while waiting and (left := until - time.monotonic()) > 0:
            for fd, _ in self._poll.poll(left):
                heard[fd] += self._hear(fd)
                if enough is not None and enough(heard[fd]):
                    waiting.discard(fd)
        if enough is not None and waiting:
            raise Incomplete(f"{len(waiting)} sockets heard too little")
        return heard

    def _hear(self, fd: int) -> list[bytes]:
        data = self.sockets[fd].recv(65536)
        if not data:
            raise Incomplete("the server closed a socket")
        return self._messages(fd, data)

    def _messages(self, fd: int, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes; pings among them are answered."""
        messages = []
        frames, rest = split(self._rests.pop(fd, b"") + data)
        if rest:
            self._rests[fd] = rest
        for head, payload in frames:
            if head == _PING:
                self.pings[fd] += 1
                pong = struct.pack("!BB", 0x8A, 0x80 | len(payload))
                self.sockets[fd].sendall(pong + bytes(4) + payload)
            else:
                messages.append(payload)
        return messages

    def ignore(self, fds: Iterable[int]) -> None:
        """Read these sockets no longer."""
        for fd in fds:
            self._poll.unregister(fd)

    def heed(self, fds: Iterable[int]) -> None:
        """Read those again that were ignored."""
        for fd in fds:
            self._poll.register(fd, select.EPOLLIN)

    def close(self) -> None:
        """Close all sockets without a word."""
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()
        self._poll.close()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def raise_descriptors() -> None:
    """Let this process have as many sockets as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
