"""A bare echo: messages a CPU second beside gevent-websocket, and nothing quadratic.

A hundred sockets, each with one message in flight; then single large messages, whole
and in the smallest pieces.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

from bench.case import Result, main
from bench.processes import ROOT, Server, gateway, pin_load
from bench.turns import in_turns, ratios
from bench.wire import upgrade, wire_bytes

_SOCKETS = 100
_LARGEST = 2**23
_PATIENCE_S = 60.0
_TEXT, _BINARY, _FIN = 0x1, 0x2, 0x80
_MASK = b"\x1f\x2e\x3d\x4c"

_GEVENT_WEBSOCKET = ROOT / "bench" / "peers" / "gevent_websocket_server.py"
_NAME = "gevent-websocket" + (" with wsaccel" if find_spec("wsaccel") else "")
"""It checks UTF-8 a good deal faster with that; `make bench` installs it."""


def frame(first: int, payload: bytes) -> bytes:
    """A frame as clients send it, with a mask that changes every byte."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    key = int.from_bytes(_MASK * (size // 4 + 1)) >> 8 * (4 - size % 4)
    masked = int.from_bytes(payload) ^ key
    return head + _MASK + masked.to_bytes(size)


def fragments(number: int) -> bytes:
    """One text message in so many frames of one byte."""
    middle = frame(0x0, b"x") * (number - 2)
    return frame(_TEXT, b"x") + middle + frame(_FIN, b"x")


class Client:
    """A socket that speaks WebSocket; what it hears it only counts."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(upgrade("/echo", {}))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := self.sock.recv(1)):
                raise ConnectionError(f"no upgrade: {head!r}")
            head += byte
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(f"no upgrade: {head!r}")

    def trip(self, message: bytes, answer: int) -> None:
        """Send a message, and wait for an answer of so many bytes."""
        self.sock.sendall(message)
        buffer = memoryview(bytearray(2**20))
        while answer > 0:
            size = self.sock.recv_into(buffer)
            if not size:
                raise ConnectionError(f"closed, {answer} bytes before the end")
            answer -= size

    def close(self) -> None:
        self.sock.close()


def messages_per_cpu_s(server: Server, message: bytes, answer: int, s: float) -> float:
    """By :data:`_SOCKETS` sockets that each wait for their answer."""
    clients = [Client(server.port) for _ in range(_SOCKETS)]
    sockets = {client.sock.fileno(): client.sock for client in clients}
    poll = select.epoll()
    for fd in sockets:
        poll.register(fd, select.EPOLLIN)
    missing = dict.fromkeys(sockets, 0)
    spent, trips = 0.0, 0
    for until in (time.monotonic() + s / 4, time.monotonic() + s):  # warm, and measure
        before, trips = server.cpu_s(), 0
        for fd, sock in sockets.items():
            sock.sendall(message)
            missing[fd] = answer
        waiting = len(sockets)
        while waiting:
            for fd, _ in poll.poll(_PATIENCE_S):
                size = len(sockets[fd].recv(65536))
                if not size:
                    raise ConnectionError("the server has closed a socket")
                missing[fd] -= size
                if missing[fd] <= 0:
                    trips += 1
                    if time.monotonic() < until:
                        missing[fd] = answer
                        sockets[fd].sendall(message)
                    else:
                        waiting -= 1
        spent = server.cpu_s() - before
    poll.close()
    for client in clients:
        client.close()
    return trips / spent


def cost_us(server: Server, message: bytes, answer: int, s: float) -> float:
    """CPU time of one message and its answer, one after the other."""
    client = Client(server.port)
    client.trip(message, answer)
    before, trips, until = server.cpu_s(), 0, time.monotonic() + s
    while trips < 3 or time.monotonic() < until:
        client.trip(message, answer)
        trips += 1
    spent = server.cpu_s() - before
    client.close()
    return spent / trips * 1e6


def ours() -> Server:
    """The demo's ``/echo``: a route of a Flask app, a greenlet to each socket."""
    largest = str(_LARGEST)
    return gateway("wsgi:app", max_message_bytes=largest, max_outgoing_bytes=largest)


def theirs() -> Server:
    """gevent-websocket alone, without Flask."""
    return Server(sys.executable, str(_GEVENT_WEBSOCKET), "{port}")


def compare(quick: bool) -> Iterator[Result]:
    """Messages a CPU second, of both in turns."""
    turns, seconds = (2, 0.5) if quick else (5, 1.5)

    def rate(server: Server, message: bytes, answer: int) -> float:
        if answer < 2**16:
            return messages_per_cpu_s(server, message, answer, seconds)
        return 1e6 / cost_us(server, message, answer, seconds)

    with ours() as us, theirs() as them:
        for size, kind, bar in (
            (75, _TEXT, 1.5),
            (75, _BINARY, None),
            (5000, _TEXT, 20.0),
            (5000, _BINARY, None),
            (2**20, _BINARY, None),
        ):
            payload = bytes(65 + number % 26 for number in range(size))
            message, answer = frame(_FIN | kind, payload), wire_bytes(payload)
            rates, their_rates = in_turns(
                turns,
                partial(rate, us, message, answer),
                partial(rate, them, message, answer),
            )
            name = f"{size:,} B {'text' if kind == _TEXT else 'binary'}"
            unit = "messages a CPU second"
            yield Result.of("echo", f"{name}, ours", rates, unit)
            yield Result.of("echo", f"{name}, {_NAME}", their_rates, unit)
            what = f"{name}, ours / {_NAME}"
            yield Result.of("echo", what, ratios(rates, their_rates), "×", at_least=bar)


def grow(quick: bool) -> Iterator[Result]:
    """What a byte costs in ever larger messages, and a fragment in ever longer ones."""
    s = 0.3 if quick else 2.0
    with ours() as server:
        costs = []
        for size in (2**16, 2**18, 2**20, 2**22):
            payload = bytes(size)
            message, answer = frame(_FIN | _BINARY, payload), wire_bytes(payload)
            costs.append(cost_us(server, message, answer, s) / size * 1024)
            what = f"a KiB of a message of {size // 1024:,} KiB"
            yield Result("echo", what, costs[-1], "CPU µs")
        yield _growth("a KiB of 4 MiB / of 64 KiB", costs)
        costs = []
        for number in (1000, 10_000, 100_000):
            message, answer = fragments(number), wire_bytes(bytes(number))
            costs.append(cost_us(server, message, answer, s) / number)
            what = f"a fragment of {number:,}, one byte each"
            yield Result("echo", what, costs[-1], "CPU µs")
        yield _growth("a fragment of 100,000 / of 1,000", costs)


def _growth(what: str, costs: list[float]) -> Result:
    return Result("echo", what, costs[-1] / costs[0], "×", at_most=2)


def run(quick: bool) -> Iterator[Result]:
    pin_load()
    yield from compare(quick)
    yield from grow(quick)


if __name__ == "__main__":
    main(run)
