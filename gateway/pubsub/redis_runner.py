"""How Redis is asked for more than publishing: one thing, or the same for many streams.

What is asked for many streams takes few round trips, and is never done at the cost of
others: neither of other streams, if Redis cannot do it for one or a node is away, nor
of other commands, which Redis does in between.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple

import gevent
import redis
from gevent.pool import Group
from redis.exceptions import AskError, NoScriptError

from gateway.errors import PubSubError
from gateway.pubsub.redis_publisher import RedisPublisher
from gateway.pubsub.redis_servers import FAILURES

__all__ = ["Call", "RedisRunner"]

logger = logging.getLogger("gateway.pubsub")

_AT_ONCE = 100
"""So many calls for many streams are sent together."""

_ELSEWHERE = (NoScriptError, AskError)
"""Answers of a node that was started anew, or that no longer has the stream."""


class Call(NamedTuple):
    """One run of a script, for one stream."""

    stream: str
    keys: list[bytes]
    arguments: list[Any]


class RedisRunner:
    """Asks Redis, each time for at most ``timeout_s``."""

    def __init__(self, publisher: RedisPublisher, timeout_s: float) -> None:
        self._publisher = publisher
        self._timeout_s = timeout_s
        self._scripts: dict[str, Any] = {}

    def ask(self, command: Callable[[Any], Any]) -> Any:
        """Ask what ``command(client)`` asks; twice if the connection broke meanwhile.

        Raises:
            PubSubError: it does not answer, or says no.
        """
        where, turns = self._publisher.servers, self._publisher.turns
        late = PubSubError(f"{where} did not answer in {self._timeout_s} s")
        deadline = monotonic() + self._timeout_s
        # Waiting for the turn has its own end: a Timeout in a lock may break it.
        if not turns.take(self._timeout_s):
            raise late
        try:
            with gevent.Timeout(max(deadline - monotonic(), 0), late):
                try:
                    return command(self._publisher.client)
                except redis.ConnectionError:  # it may have died while it was idle
                    return command(self._publisher.client)
        except FAILURES as exc:
            raise PubSubError(f"{where} did not answer: {exc}") from exc
        finally:
            turns.give_back()

    def run(self, script: str, keys: list[bytes], arguments: list[Any]) -> Any:
        """Run a script; returns its answer. Raises as :meth:`ask`."""
        return self.ask(lambda client: self._script(script)(keys, arguments))

    def run_all(
        self, script: str, calls: Iterable[Call], failure: str
    ) -> list[tuple[Call, Any]]:
        """Run a script for many streams.

        Returns the calls that did not fail, with their answers. Of the others it is
        logged what ``failure`` they are to the reader.
        """
        answered: list[tuple[Call, Any]] = []
        failures: list[tuple[Call, Exception]] = []
        nodes = Group()
        for node, some in self._by_node(calls, failures).items():  # one may hang
            nodes.spawn(self._run_on, node, script, some, answered, failures)
        try:
            nodes.join()
        finally:
            nodes.kill()
        if failures:
            call, why = failures[0]
            logger.warning(
                "%s: %d streams, such as %r: %s",
                *(failure, len(failures), call.stream, why),
            )
        return answered

    def _by_node(
        self, calls: Iterable[Call], failures: list[tuple[Call, Exception]]
    ) -> dict[str, list[Call]]:
        by_node: defaultdict[str, list[Call]] = defaultdict(list)
        for call in calls:
            channel = self._publisher.keys(call.stream).channel
            try:
                by_node[self._publisher.servers.place(channel)].append(call)
            except FAILURES as exc:
                failures.append((call, exc))
        return by_node

    def _run_on(
        self,
        node: str,
        script: str,
        calls: list[Call],
        answered: list[tuple[Call, Any]],
        failures: list[tuple[Call, Exception]],
    ) -> None:
        for start in range(0, len(calls), _AT_ONCE):
            some = calls[start : start + _AT_ONCE]
            try:
                answers = self._run_some(node, script, some)
            except PubSubError as exc:  # it would not answer the rest either
                failures += [(call, exc) for call in calls[start:]]
                return
            for call, answer in zip(some, answers, strict=True):
                if isinstance(answer, Exception):
                    failures.append((call, answer))
                else:
                    answered.append((call, answer))

    def _run_some(self, node: str, script: str, calls: list[Call]) -> list[Any]:
        def command(client: Any) -> list[Any]:
            pipeline = self._publisher.client_of(node).pipeline(transaction=False)
            sha = self._script(script).sha
            for _, keys, arguments in calls:
                pipeline.evalsha(sha, len(keys), *keys, *arguments)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            return answers

        return [
            self._run_anew(script, call) if isinstance(answer, _ELSEWHERE) else answer
            for call, answer in zip(calls, self.ask(command), strict=True)
        ]

    def _run_anew(self, script: str, call: Call) -> Any:
        _, keys, arguments = call
        try:
            return self.ask(
                lambda client: client.eval(script, len(keys), *keys, *arguments)
            )
        except PubSubError as exc:
            return exc

    def _script(self, script: str) -> Any:
        known = self._scripts.get(script)
        if known is None:
            known = self._publisher.client.register_script(script)
            self._scripts[script] = known
        return known
