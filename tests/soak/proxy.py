"""A TCP proxy that cuts its connections at random: a process of its own.

python -m tests.soak.proxy PORT MEAN_S, told ``hold`` and ``release`` on its input:
between the two nobody is let in, and whoever was in is thrown out.
"""

from __future__ import annotations

import random
import struct
import sys
from contextlib import suppress

import gevent
from gevent import socket
from gevent.fileobject import FileObject
from gevent.server import StreamServer

_RESET = struct.pack("ii", 1, 0)  # closing sends RST, as a lost network does at best


class Proxy:
    """Passes bytes on to ``port``, for ``mean_s`` on average."""

    def __init__(self, port: int, mean_s: float) -> None:
        self._port = port
        self._mean_s = mean_s
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._held = False
        self.cut = 0
        self.server = StreamServer(("127.0.0.1", 0), self._serve, backlog=4096)
        self.server.start()

    def hold(self) -> None:
        """Throw all out, and let nobody in."""
        self._held = True
        for pair in list(self._pairs):
            self._cut(pair)

    def release(self) -> None:
        """Let them in again."""
        self._held = False

    def _serve(self, client: socket.socket, address: object) -> None:
        if self._held:
            _reset(client)
            return
        try:
            target = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            client.close()
            return
        pair = (client, target)
        self._pairs.add(pair)
        life_s = random.expovariate(1 / self._mean_s)
        timer = gevent.spawn_later(life_s, self._cut, pair)
        ways = [gevent.spawn(_pass_on, *pair), gevent.spawn(_pass_on, *pair[::-1])]
        gevent.joinall(ways, count=1)
        gevent.killall([*ways, timer], block=False)
        self._pairs.discard(pair)
        client.close()
        target.close()

    def _cut(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self.cut += 1
        for end in pair:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def main(port: str, mean_s: str) -> None:
    """Serve until the input ends."""
    proxy = Proxy(int(port), float(mean_s))
    print(proxy.server.server_port, flush=True)
    for line in FileObject(sys.stdin.buffer, "rb"):
        getattr(proxy, line.decode().strip())()
        print(proxy.cut, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
