"""A hundred of a thousand readers stop reading: do the others notice?

And what waits for readers that stop, but want no more than a stream's newest value.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from bench.case import Result, main
from bench.dialects import CABLE, cable, mark, perform
from bench.load import Crowd, Incomplete
from bench.processes import Server, gateway
from bench.turns import in_turns, ratios
from bench.wire import wire_bytes

_READERS = 900
_STALLED = 100
_LATENCY_BAR = 1.1
_HELD_BAR_KB = 1024
_MESSAGE_BYTES = 16_000
_SMALL_BUFFER = 4096
_CHUNK = 20
_CHUNKS = 20  # six megabytes to each: more than its limit and the kernel's buffers
_PATIENCE_S = 30.0

_CONFLATED = 10
_VALUES = 500  # eight megabytes to each
_RATE = 250
_VALUES_BAR = 2


class Outcome(NamedTuple):
    """What became of those who read, and of those who did not."""

    p99_ms: float
    held_kb: float
    """Resident memory that each stalled reader took, at most."""


def _publish(text: str) -> str:
    return CABLE.publish.replace("%s", text + "x" * _MESSAGE_BYTES)


def measure(stalled: int) -> Outcome:
    """The latency of those who read, beside so many that stop."""
    latencies_s: list[float] = []
    with gateway() as server, Crowd(server.port, CABLE) as crowd:
        readers = crowd.open(_READERS)
        crowd.ignore(crowd.open(stalled, receive_buffer=_SMALL_BUFFER))
        before_kb = most_kb = server.resident_kb()
        for _ in range(_CHUNKS):
            chunk = crowd.fan_out(_CHUNK, publish=_publish, readers=readers)
            latencies_s += chunk.latencies_s
            most_kb = max(most_kb, server.resident_kb())
        _wait_until_gone(server, stalled)
    p99_s = sorted(latencies_s)[int(0.99 * len(latencies_s))]
    return Outcome(p99_s * 1e3, (most_kb - before_kb) / max(1, stalled))


def _wait_until_gone(server: Server, stalled: int) -> None:
    """They are given the time of a closing handshake, then cut off."""
    until = time.monotonic() + _PATIENCE_S
    while server.get("/figures")["closed"].get("too_slow", 0) < stalled:
        if time.monotonic() > until:
            raise Incomplete("a stalled reader was not closed for too_slow")
        time.sleep(0.2)


def conflated_values() -> float:
    """How many values of a conflated stream wait for a reader that stalls, at most.

    When they read again, the newest value must be the last that they hear.
    """
    dialect = cable("QuotesChannel", "flood", max_rate=2 * _RATE)
    identifier = json.loads(dialect.hello)["identifier"]
    newest = mark(_VALUES - 1).encode()

    def is_newest(heard: list[bytes]) -> bool:
        return any(newest in each for each in heard[-2:])

    with gateway() as server, Crowd(server.port, dialect) as crowd:
        (reader,) = crowd.open(1)
        stalled = crowd.open(_CONFLATED, receive_buffer=_SMALL_BUFFER)
        crowd.ignore(stalled)
        flood = {"times": _VALUES, "rate": _RATE, "padding": _MESSAGE_BYTES}
        crowd.say(perform(identifier, "flood", **flood))
        heard = crowd.listen(_PATIENCE_S, is_newest, readers=[reader])
        figures = server.get("/figures")
        crowd.heed(stalled)
        crowd.listen(_PATIENCE_S, is_newest, readers=stalled)
        if not figures["conflated"]:
            raise Incomplete("nobody stalled: the kernel has taken all")
        if server.get("/figures")["closed"]:
            raise Incomplete("a reader that wants the newest value only was cut off")
        waiting: int = figures["most_waiting_bytes"]
        return waiting / max(map(wire_bytes, heard[reader]))


def run(quick: bool) -> Iterator[Result]:
    without, beside = in_turns(
        1 if quick else 5, partial(measure, 0), partial(measure, _STALLED)
    )
    without_ms = [each.p99_ms for each in without]
    beside_ms = [each.p99_ms for each in beside]
    yield Result.of("stalled", f"p99 of {_READERS} readers", without_ms, "ms")
    yield Result.of("stalled", f"beside {_STALLED} stalled", beside_ms, "ms")
    yield Result.of(
        *("stalled", "p99, beside stalled ones / without"),
        *(ratios(beside_ms, without_ms), "×"),
        at_most=_LATENCY_BAR,
        note="all stalled ones went with too_slow",
    )
    held_kb = max(each.held_kb for each in beside)
    yield Result(
        *("stalled", "held by a stalled reader", held_kb, "KB"), at_most=_HELD_BAR_KB
    )
    yield Result(
        *("stalled", "waiting for a stalled reader of a conflated stream"),
        *(conflated_values(), "values"),
        at_most=_VALUES_BAR,
        note="the newest, behind one that is half sent; none was cut off",
    )


if __name__ == "__main__":
    main(run)
