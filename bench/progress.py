"""Whether all messages of a run have come to all sockets, once and in order.

A sample of the sockets is read frame by frame. All sockets get the same bytes, so the
others' can be counted: as many as the sampled ones needed for as many messages.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.dialects import mark
from bench.wire import TEXT_DEFLATED, inflate, split, wire_bytes

__all__ = [
    "Delivery",
    "Incomplete",
    "Progress",
    "messages",
    "without_heartbeats",
]

_SAMPLE = 32

_HEARTBEAT = re.compile(rb'..\{"type":"ping"[^}]*\}', re.DOTALL)


def without_heartbeats(data: bytes) -> bytes:
    """The cable's pings come at any time and are no messages."""
    return _HEARTBEAT.sub(b"", data) if b'"type":"ping"' in data else data


def messages(heard: Iterable[bytes]) -> list[bytes]:
    """Of what a client has heard, all but the cable's pings."""
    return [each for each in heard if not each.startswith(b'{"type":"ping"')]


class Incomplete(AssertionError):
    """Not every message arrived, or not in order."""


@dataclass
class Delivery:
    """What became of a run of messages."""

    messages: int
    """Delivered ones: as many as were published, times the readers."""
    seconds: float
    bytes_in: int
    latencies_s: list[float] = field(repr=False)
    """Of the sampled sockets, in ascending order."""

    def percentile_ms(self, part: float) -> float:
        """The latency that ``part`` of the messages kept."""
        return self.latencies_s[int(part * (len(self.latencies_s) - 1))] * 1e3


class Progress:
    """One run: what was published, what has come, to whom."""

    def __init__(self, fds: Iterable[int], first: int) -> None:
        self._received = dict.fromkeys(fds, 0)
        self._total = 0
        self._published: list[float] = []
        self._first = first
        # The bytes a socket has got when it has 0, 1, 2 … messages.
        self._sizes = [0]
        self._rests = {fd: b"" for fd in list(self._received)[:: self._step]}
        self._seen = dict.fromkeys(self._rests, 0)
        self._latencies_s: list[float] = []
        self._started = time.perf_counter()

    @property
    def _step(self) -> int:
        return max(1, len(self._received) // _SAMPLE)

    @property
    def published(self) -> int:
        """How many messages were sent to the server."""
        return len(self._published)

    def publish(self) -> str:
        """The text of the next message, which is sent now."""
        self._published.append(time.perf_counter())
        return mark(self._first + self.published - 1)

    def have_come(self, messages: int) -> bool:
        """Whether as many bytes have come as so many messages to every socket are.

        Which sockets they have come to is not looked at here, for that would cost the
        load too much: one may have got more meanwhile, and another less.
        :meth:`finish` looks at each.
        """
        if messages <= 0:
            return True
        if messages >= len(self._sizes):
            return False
        return self._total >= self._sizes[messages] * len(self._received)

    def feed(self, fd: int, buffer: bytearray, size: int) -> None:
        """``size`` bytes have come to a socket."""
        if buffer.find(b'"type":"ping"', 0, size) >= 0:
            data = without_heartbeats(bytes(buffer[:size]))
            size = len(data)
            buffer[:size] = data
        self._received[fd] += size
        self._total += size
        if fd in self._rests:
            self._read(fd, bytes(buffer[:size]))

    def finish(self) -> Delivery:
        """All has come: look at each socket, then say how it went."""
        seconds = time.perf_counter() - self._started
        if set(self._received.values()) != {self._sizes[-1]}:
            raise Incomplete("some sockets got more than others")
        return Delivery(
            self.published * len(self._received),
            seconds,
            self._total,
            sorted(self._latencies_s),
        )

    def __str__(self) -> str:
        behind = [fd for fd, n in self._received.items() if n < self._sizes[-1]]
        return (
            f"{self.published} published, {len(self._sizes) - 1} seen, "
            f"{len(behind)} of {len(self._received)} sockets behind"
        )

    def _read(self, fd: int, data: bytes) -> None:
        now = time.perf_counter()
        frames, self._rests[fd] = split(self._rests[fd] + data)
        for head, payload in frames:
            number = self._seen[fd]
            text = inflate(payload) if head == TEXT_DEFLATED else payload
            expected = mark(self._first + number)
            if expected.encode() not in text:
                raise Incomplete(f"{expected} expected, not {text[:200]!r}")
            self._latencies_s.append(now - self._published[number])
            self._seen[fd] = number + 1
            if number + 1 == len(self._sizes):
                self._sizes.append(self._sizes[-1] + wire_bytes(payload))
