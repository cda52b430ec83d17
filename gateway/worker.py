"""The gunicorn worker: gevent's WSGI server with upgrades, and a polite end.

    gunicorn -k gateway.worker.GatewayWorker wsgi:app

Told to stop (SIGTERM, a reload, ``max_requests``), it is no longer ready, stops
accepting, and sends its clients elsewhere one after the other over ``drain_seconds``.
It waits for what still runs (requests, the clients' last callbacks) and for what waits
for the broker, then exits with 0. Told again, it hurries.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from time import monotonic, time
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import SHUT_RD
from gunicorn.workers.ggevent import GeventPyWSGIWorker, PyWSGIHandler, PyWSGIServer

from gateway import boot, logs
from gateway.errors import PubSubError
from gateway.server import CableServer
from gateway.websocket.upgrade import UpgradeHandler

__all__ = ["GatewayWorker"]

_LAST_S = 1.0
"""What is left of ``graceful_timeout``, or to who hurries, for the end itself."""

_SCARCE = 1 / 8
"""A worker that has less of its places left lets the others go first."""

_PAUSE_S = 0.005
_LONG_PAUSE_S = 0.2
"""For how long: the first when they become scarce, longer the fewer are left, the last
when none is, so that it must say no. One that is idle takes a client within a
millisecond; so none is full long before the others."""

_LOOK_S = 0.05
"""How often an ending worker looks whether something still runs."""


class Handler(UpgradeHandler, PyWSGIHandler):  # type: ignore[misc]  # have no types
    """Upgrades as the gateway does, the rest as gunicorn does."""

    server: Any
    socket: Any
    path: Any
    environ: Any
    has_answered = False

    def read_requestline(self) -> Any:
        self.server.resting.add(self)
        try:
            return super().read_requestline()
        finally:
            self.server.resting.discard(self)
            self.time_start = time()  # for the access log: rest is not its time

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        if self.server.worker.is_draining and not status.startswith("101"):
            kept = [pair for pair in headers if pair[0].lower() != "connection"]
            headers = [*kept, ("Connection", "close")]
        return super().start_response(status, headers, exc_info)

    def handle_one_response(self) -> None:
        super().handle_one_response()
        self.has_answered = True
        self.server.worker.answered()

    def log_request(self) -> None:
        if self.environ is not None:  # queries may hold tokens
            self.environ["RAW_URI"] = self.path.partition("?")[0]
        super().log_request()


class Server(PyWSGIServer):  # type: ignore[misc]  # has no types
    """gunicorn's, known to its worker."""

    worker: GatewayWorker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resting: set[Handler] = set()
        """Connections on which no request has begun yet."""

    def start(self) -> None:
        super().start()
        self.worker.servers.append(self)  # one that is not open cannot be closed

    def do_handle(self, *args: Any) -> None:
        """Serve a connection; leave the next to workers with more room, if need be."""
        super().do_handle(*args)
        pause = self.worker.pause_s
        if pause:
            self.stop_accepting()
            self._timer = self.loop.timer(pause)
            self._timer.start(self._start_accepting_if_started)

    def close_resting(self, *, fresh: bool) -> None:
        """Close those that wait for another request, or (``fresh``) for their first.

        One that is on its way and has reached the kernel is still answered.
        """
        for handler in list(self.resting):
            if handler.has_answered or fresh:
                with suppress(OSError):  # the client was faster
                    handler.socket.shutdown(SHUT_RD)


class GatewayWorker(GeventPyWSGIWorker):  # type: ignore[misc]  # has no types
    """Serves WebSockets, and lets go of them one by one."""

    wsgi_handler = Handler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.servers: list[Server] = []
        self._draining: gevent.Greenlet[..., None] | None = None
        self._deadline = 0.0
        self._hurried = Event()

    @property
    def server_class(self) -> Any:
        """A class of its own for this worker, so that its servers know it."""
        return type("Server", (Server,), {"worker": self})

    @property
    def pause_s(self) -> float:
        """How long others should be given to take the next client.

        All workers accept from one queue, and the kernel does not ask who is full.
        """
        if self.cfg.workers == 1:
            return 0.0
        room = min((s.endpoint.places.room for s in CableServer.running), default=1.0)
        if room > _SCARCE:
            return 0.0
        return min(_PAUSE_S * _SCARCE / room, _LONG_PAUSE_S) if room else _LONG_PAUSE_S

    @property
    def is_draining(self) -> bool:
        """Whether it was told to stop."""
        return self._draining is not None

    def load_wsgi(self) -> None:
        """Load the app, then see whether this process can serve it."""
        boot.raise_descriptors(self.log)
        super().load_wsgi()
        logs.join(self.log)
        boot.check_patches()
        for server in CableServer.running:
            boot.check(server, self.cfg, self.log)
            gevent.spawn(self._start, server)
        # What is loaded now stays; later collections need not look at it again. One of
        # the middle generation that looks at more than 50,000 objects holds up a
        # fan-out (docs/performance.md).
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 5, 200)

    def run(self) -> None:
        """Serve until told to stop and the last request is answered, then end."""
        super().run()
        self._end()

    def answered(self) -> None:
        """A request was answered; after ``max_requests`` of them the worker goes."""
        self.nr += 1
        if self.nr >= self.max_requests and self._draining is None:
            self.log.info("Draining after %d requests", self.nr)
            self.drain()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: drain, in a greenlet, for a signal handler must not wait."""
        gevent.spawn(self.drain)

    def drain(self) -> None:
        """Begin to stop; called again, hurry."""
        if self._draining is None:
            self._deadline = monotonic() + self.cfg.graceful_timeout - _LAST_S
            self._draining = gevent.spawn(self._drain)
        else:
            self._hurried.set()
            for server in CableServer.running:
                server.hurry()

    def _drain(self) -> None:
        servers = list(CableServer.running)
        for server in servers:
            server.draining = True
        self._hurried.wait(max((s.settings.shutdown_delay for s in servers), default=0))
        for listener in self.servers:
            listener.close()
            listener.close_resting(fresh=False)
        leaving = [gevent.spawn(server.drain) for server in servers]
        while any(leaving) and not self._hurried.wait(_LOOK_S):
            pass
        gevent.joinall(leaving, timeout=_LAST_S)
        for listener in self.servers:
            listener.close_resting(fresh=True)
        self.alive = False

    def _end(self) -> None:
        """Wait for what still runs, within what is left of ``graceful_timeout``."""
        servers = list(CableServer.running)
        for server in servers:  # sockets that opened while it drained
            server.endpoint.close_all()
        while any(map(_is_busy, servers)) and not self._hurried.wait(_LOOK_S):
            if monotonic() > self._deadline:
                self.log.warning("callbacks are cut off after graceful_timeout")
                break
            self.notify()
        for server in servers:
            server.stop()

    def _start(self, server: CableServer) -> None:
        """Reach for the broker before the first client comes; as long as it takes."""
        while self.alive:
            try:
                server.start()
            except PubSubError as exc:
                self.log.error("Not ready: %s", exc)
                gevent.sleep(1)
            else:
                return


def _is_busy(server: CableServer) -> bool:
    """Whether callbacks of its clients still run, or sockets say goodbye."""
    return bool(server.endpoint.sockets or server.endpoint.workers.busy)
