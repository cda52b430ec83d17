"""Figures for Prometheus, of all worker processes together.

Nothing is counted here: once a second each process copies what it has counted anyway.
With ``PROMETHEUS_MULTIPROC_DIR`` set (``gateway.serving`` sees to it) the copies lie in
files that every worker can read, so that whichever is asked tells of all.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    generate_latest,
    multiprocess,
)

from gateway.clock import LoopTimer

if TYPE_CHECKING:
    from gateway.server import CableServer

__all__ = ["CONTENT_TYPE", "Meter", "exposition"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_PERIOD_S = 1.0
_PAGE_BYTES = resource.getpagesize()

_registry = CollectorRegistry()


def _gauge(name: str, meaning: str, mode: str = "livesum") -> Gauge:
    return Gauge(
        f"gateway_{name}",
        meaning,
        registry=_registry,
        multiprocess_mode=mode,  # type: ignore[arg-type]  # a Literal there
    )


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"gateway_{name}", meaning, labels, registry=_registry)


_sockets = _gauge("sockets", "Open sockets, and event streams.")
_streams = _gauge("streams", "Streams that somebody listens to, summed over processes.")
_opened = _counter("sockets_opened", "Sockets opened.")
_closed = _counter("sockets_closed", "Sockets closed, by reason.", "reason")
_refused = _counter("sockets_refused", "Sockets not let in, by limit.", "limit")
_messages_in = _counter("messages_in", "Messages received.")
_messages_out = _counter("messages_out", "Messages sent, times their readers.")
_bytes_out = _counter("bytes_out", "Bytes sent.")
_conflated = _counter(
    "conflated", "Messages that newer ones took the place of, times their readers."
)
_ignored = _counter("commands_ignored", "Commands that could not be carried out.")
_healed = _counter("healed", "Messages read back after the broker lost them.")
_lost = _counter("gaps_lost", "Gaps that could not be read back.")
_replayed = _counter("replayed", "Messages told to clients that were away.")
_history_rejected = _counter("history_rejected", "Clients not told what they missed.")
_redis_up = _gauge("redis_up", "Whether the broker answers every process.", "livemin")
_redis_lag = _gauge("redis_lag", "Seconds the broker took to answer.", "livemax")
_redis_reconnects = _counter("redis_reconnects", "Connections to the broker remade.")
_queued = _gauge("redis_queued", "Messages kept until the broker is back.")
_draining = _gauge("draining", "Processes that are stopping.")
_cpu = _counter("process_cpu_seconds", "CPU time, user and system.")
_memory = _gauge("process_resident_bytes", "Resident memory.")


class Meter:
    """Copies a server's figures once a second, in the hub."""

    def __init__(self, server: CableServer) -> None:
        self._server = server
        self._before: dict[object, float] = {}
        self.copy()
        self._timer = LoopTimer(_PERIOD_S, self.copy, repeat=True)

    def copy(self) -> None:
        """Tell Prometheus what there is to tell."""
        figures, health = self._server.statistics(), self._server.pubsub.health()
        _sockets.set(figures.sockets)
        _streams.set(figures.streams)
        _redis_up.set(health.up)
        _redis_lag.set(health.lag_s)
        _queued.set(health.queued)
        _draining.set(self._server.draining)
        _memory.set(_resident_bytes())
        self._grown(_opened, figures.opened)
        self._grown(_messages_in, figures.messages_in)
        self._grown(_messages_out, figures.messages_out)
        self._grown(_bytes_out, figures.bytes_out)
        self._grown(_conflated, figures.conflated)
        self._grown(_ignored, figures.ignored)
        self._grown(_healed, figures.healed)
        self._grown(_lost, figures.lost)
        self._grown(_replayed, figures.replayed)
        self._grown(_history_rejected, figures.history_rejected)
        self._grown(_redis_reconnects, health.reconnects)
        self._grown(_cpu, sum(os.times()[:2]))
        for reason, number in figures.closed.items():
            self._grown(_closed.labels(reason), number)
        for limit, number in figures.refused.items():
            self._grown(_refused.labels(limit), number)

    def stop(self) -> None:
        """Stop copying, after a last time."""
        self.copy()
        self._timer.cancel()

    def _grown(self, counter: Counter, total: float) -> None:
        counter.inc(max(0.0, total - self._before.get(counter, 0.0)))
        self._before[counter] = total


def exposition() -> bytes:
    """The figures of all processes, in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(_registry)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)
    return generate_latest(together)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * _PAGE_BYTES
