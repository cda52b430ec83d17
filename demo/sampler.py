"""Broadcasts this process's own figures four times a second, for the dashboard."""

from __future__ import annotations

import logging
import os
from time import monotonic, process_time, time

import gevent
import psutil
from flask import Flask

from gateway import Gateway
from gateway.errors import PubSubError
from gateway.server import CableServer

__all__ = ["Sampler"]

logger = logging.getLogger("demo")

_PERIOD_S = 0.25


class Sampler:
    """Samples from the app's first request until its server stops, in a greenlet.

    Each message is ``{pid: {"time": Unix seconds, "sockets": n, "messages": per second,
    in and out, "cpu": percent of a core, "memory": bytes}}``: those of all processes
    can be merged into one.
    """

    def __init__(self, app: Flask, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._failing = False
        app.before_request(self._start)

    def _start(self) -> None:
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        memory = psutil.Process().memory_info
        with self._app.app_context():
            server = self._gateway.server
        then, cpu, messages = monotonic(), process_time(), 0
        while True:
            gevent.sleep(_PERIOD_S)
            if server not in server.running:
                return  # what is used after its end begins anew
            figures = server.statistics()
            before, then = then, monotonic()
            cpu_before, cpu = cpu, process_time()
            messages_before = messages
            messages = figures.messages_in + figures.messages_out
            sample = {
                "time": time(),
                "sockets": figures.sockets,
                "messages": (messages - messages_before) / (then - before),
                "cpu": 100 * (cpu - cpu_before) / (then - before),
                "memory": memory().rss,
            }
            self._tell(server, {str(os.getpid()): sample})

    def _tell(self, server: CableServer, samples: dict[str, dict[str, float]]) -> None:
        """Broadcast samples; of an outage of the broker log the beginning."""
        try:
            server.broadcast("dashboard", samples)
        except PubSubError as exc:
            if not self._failing:
                logger.warning("the dashboard stands still: %s", exc)
            self._failing = True
        else:
            self._failing = False
