"""Greenlets for sockets that speak; idle ones wait here for the next that does.

A parked socket has no greenlet. When it has received something, its job runs in a
greenlet of this pool, where the program's code may wait (for a database, say). Going
from the loop into an idle greenlet and back takes 1.4 µs; starting a new one takes 46.

Each job begins in an empty ``contextvars.Context``, so nobody finds there what another
socket's job has left. What it leaves in a ``gevent.local`` stays with the greenlet: a
program that keeps its place in the code (a handler) gets one that is not used again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any

import gevent
from gevent import Greenlet, get_hub, getcurrent

__all__ = ["Workers"]

logger = logging.getLogger("gateway.websocket")

Job = tuple[Callable[..., object], tuple[object, ...]]

_MAX_IDLE = 64
"""More idle greenlets than this are ended: each holds a stack of some KB."""

_LAST_WORDS_S = 1.0
"""How long a job that is killed has for what it does at the end."""


class Workers:
    """Runs jobs, each in a greenlet of its own for as long as it lasts.

    >>> workers = Workers()
    >>> workers.run(print, "in a greenlet")
    >>> workers.stop(timeout=1)
    in a greenlet
    """

    def __init__(self) -> None:
        self._hub = get_hub()
        self._idle: list[Greenlet[..., None]] = []
        self._all: set[Greenlet[..., None]] = set()
        self._stopping = False

    @property
    def busy(self) -> int:
        """How many jobs are running."""
        return len(self._all) - len(self._idle)

    @property
    def idle(self) -> int:
        """How many greenlets wait for the next job."""
        return len(self._idle)

    def run(self, job: Callable[..., object], *args: object) -> None:
        """Run ``job(*args)`` soon: whoever calls this is not interrupted by it."""
        if self._idle:
            self._hub.loop.run_callback(self._idle.pop().switch, (job, args))
        else:
            self._start(self._work, job, args)

    def run_now(self, job: Callable[..., object], *args: object) -> None:
        """Run ``job(*args)`` until it first waits, if a greenlet is idle; else soon.

        For the hub, and there only for who is done with all that the job may change.
        """
        if self._idle:
            self._idle.pop().switch((job, args))
        else:
            self.run(job, *args)

    def spawn(self, job: Callable[..., object], *args: object) -> None:
        """Run ``job(*args)`` soon, in a new greenlet that does nothing else."""
        self._start(self._work_once, job, args)

    def stop(self, timeout: float | None = None) -> None:
        """Wait for running jobs, kill those that last longer, end all greenlets.

        ``timeout`` is in seconds, None for as long as it takes. The job that calls
        this, if one does, is left alone: it ends when it returns.
        """
        self._stopping = True
        idle, self._idle = self._idle, []
        for worker in idle:
            self._hub.loop.run_callback(worker.switch, None)
        others = [worker for worker in self._all if worker is not getcurrent()]
        gevent.joinall(others, timeout=timeout)
        gevent.killall(others, timeout=_LAST_WORDS_S)

    def _start(
        self,
        work: Callable[[list[Job]], None],
        job: Callable[..., object],
        args: tuple[object, ...],
    ) -> None:
        # In a list, to be taken out: a greenlet keeps its arguments for life.
        worker = Greenlet(work, [(job, args)])
        self._all.add(worker)
        worker.start()

    def _work(self, first: list[Job]) -> None:
        me: Any = getcurrent()
        task: Job | None = first.pop()
        try:
            while task is not None:
                _do(me, *task)
                if self._stopping or len(self._idle) >= _MAX_IDLE:
                    return
                del task  # do not keep the last socket alive
                self._idle.append(me)
                task = self._hub.switch()
        finally:
            self._all.discard(me)

    def _work_once(self, only: list[Job]) -> None:
        me: Any = getcurrent()
        try:
            _do(me, *only.pop())
        finally:
            self._all.discard(me)


def _do(me: Any, job: Callable[..., object], args: tuple[object, ...]) -> None:
    me.gr_context = Context()
    try:
        job(*args)
    except Exception:
        logger.exception("a socket's callback failed: %r", job)
