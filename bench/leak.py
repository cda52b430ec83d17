"""Clients that leave without a word, at every step: what is left of a thousand?

Server and clients share a process here, since what is counted is what both leave.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import gevent
import gevent.socket
import psutil
from greenlet import greenlet

from bench.case import Result, main
from bench.wire import masked, upgrade
from gateway.websocket import WebSocket, WebSocketServer

__all__ = ["STEPS", "Figures", "cycles", "figures", "settled"]

_UPGRADE = upgrade("/", {})

STEPS = {
    "connect": b"",
    "half a head": _UPGRADE[:40],
    "upgrade": _UPGRADE,
    "half a frame": _UPGRADE + masked("never whole")[:-4],
}
"""How far a client gets, and what it has sent by then."""

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: do not say goodbye
_AT_ONCE = 50
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Figures:
    """What a process holds."""

    sockets: int
    greenlets: int
    """Other than the idle ones, which wait to be used again."""
    descriptors: int
    resident_kib: int

    def holds_more_than(self, other: Figures) -> bool:
        """Whether anything of what must come back, to the last one, has not."""
        return (
            self.sockets > other.sockets
            or self.greenlets > other.greenlets
            or self.descriptors > other.descriptors
        )


def figures(server: WebSocketServer) -> Figures:
    """What this process, in which ``server`` runs, holds now."""
    gc.collect()
    workers = server.endpoint.workers
    process = psutil.Process()
    return Figures(
        sockets=len(server.sockets),
        greenlets=sum(isinstance(each, greenlet) for each in gc.get_objects())
        - workers.idle,
        descriptors=process.num_fds(),
        resident_kib=process.memory_info().rss // 1024,
    )


def cycles(server: WebSocketServer, count: int, step: str) -> None:
    """Connect ``count`` times, get as far as ``step``, and break the connection."""
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    data = STEPS[step]

    def cycle() -> None:
        with gevent.socket.socket() as sock:
            sock.connect(address)  # create_connection would ask a thread for it
            sock.sendall(data)
            if len(data) >= len(_UPGRADE):
                assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
            sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_LINGER, _RESET)

    for start in range(0, count, _AT_ONCE):
        some = [gevent.spawn(cycle) for _ in range(min(_AT_ONCE, count - start))]
        gevent.joinall(some, raise_error=True)


def settled(server: WebSocketServer, start: Figures) -> Figures:
    """The figures once they are back at the start; or as they are, after some patience.

    What a killed connection held goes in the turns of the loop that follow.
    """
    until = monotonic() + _PATIENCE_S
    while (now := figures(server)).holds_more_than(start) and monotonic() < until:
        gevent.sleep(0.02)
    return now


def run(quick: bool) -> Iterator[Result]:
    count = 1000 if quick else 10_000

    def echo(ws: WebSocket) -> None:
        for message in ws:
            ws.send(message)

    with WebSocketServer(("127.0.0.1", 0), echo) as server:
        start = figures(server)
        for step in STEPS:
            cycles(server, 200, step)  # what is made once, is made
            before = settled(server, start)
            cycles(server, count, step)
            after = settled(server, start)
            for name, unit, bar in (
                ("sockets", "", 0),
                ("greenlets", "", 0),
                ("descriptors", "", 0),
                ("resident_kib", "KiB", 2048),
            ):
                had, has = getattr(before, name), getattr(after, name)
                thing = "resident memory" if unit else name
                what = f"{thing} left of {count:,} clients that got to: {step}"
                note = f"{had:,} before, {has:,} after"
                yield Result("leak", what, has - had, unit, at_most=bar, note=note)


if __name__ == "__main__":
    main(run)
