"""What is compared is measured A B A B, so that both have the same machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from bench.dialects import Dialect
from bench.load import Crowd
from bench.processes import Server

__all__ = ["Cost", "Side", "in_turns", "ratios", "side"]

Figure = TypeVar("Figure")


class Cost(NamedTuple):
    """What one delivered message costs."""

    cpu_us: float
    """CPU time of the server."""
    wire_bytes: float


@dataclass
class Side:
    """A server and its clients, who are all subscribed."""

    server: Server
    crowd: Crowd

    def fan_out(
        self, rounds: int, window: int, publish: Callable[[str], str] | None = None
    ) -> Cost:
        """Publish ``rounds`` messages to all; see :meth:`Crowd.fan_out`."""
        before = self.server.cpu_s()
        delivery = self.crowd.fan_out(rounds, window, publish=publish)
        spent_s = self.server.cpu_s() - before
        return Cost(
            spent_s / delivery.messages * 1e6, delivery.bytes_in / delivery.messages
        )

    def echo_us(self, seconds: float) -> float:
        """CPU µs of a round trip, each client having one message in flight."""
        before = self.server.cpu_s()
        trips = self.crowd.echo(seconds)
        return (self.server.cpu_s() - before) / trips * 1e6


@contextmanager
def side(
    server: Server, dialect: Dialect, sockets: int, *, deflate: bool = False
) -> Iterator[Side]:
    """So many clients of ``server``, as long as the ``with`` lasts."""
    with server, Crowd(server.port, dialect, deflate=deflate) as crowd:
        crowd.open(sockets)
        yield Side(server, crowd)


def in_turns(turns: int, *measures: Callable[[], Figure]) -> list[list[Figure]]:
    """The figures of each of ``measures``, which are taken one after the other.

    >>> in_turns(2, lambda: "ours", lambda: "theirs")
    [['ours', 'ours'], ['theirs', 'theirs']]
    """
    rounds = [[measure() for measure in measures] for _ in range(turns)]
    return [list(figures) for figures in zip(*rounds, strict=True)]


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Of each turn, ``these`` to ``those``.

    >>> ratios([3.0, 4.0], [2.0, 2.0])
    [1.5, 2.0]
    """
    return [this / that for this, that in zip(these, those, strict=True)]
