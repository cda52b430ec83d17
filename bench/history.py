"""What it costs that nothing is lost: publishing, fan-out, and a crowd that comes back.

All with Redis, which shares the load's core. What is compared is measured in turns, A B
A B, so that both have the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from time import monotonic, perf_counter

from bench.broker import broker, serve
from bench.case import Result, main
from bench.dialects import CABLE, EXTENDED, Dialect
from bench.progress import Incomplete
from bench.resuming import Crew, Reader
from bench.turns import in_turns, ratios, side
from gateway.broadcaster import Broadcaster
from gateway.cable.history import Retention, Retentions
from tests.support.redis import RedisServer

_NONE = Retentions(Retention(messages=0))
_USUAL = Retentions(Retention())

_PUBLISHING_BAR = 2.0
_FAN_OUT_BAR = 1.1
_STORM_BAR_S = 5.0
_RETURNING = 2000
_MISSED = 50
_ROOMS = 20
_OPENING = 50
_PATIENCE_S = 60.0

_SESSIONS = "return #redis.call('KEYS', '*session:*')"
"""When all are kept, nothing is left to do for those who went."""


def publishing_us(redis: RedisServer, count: int, turns: int) -> list[list[float]]:
    """Microseconds of a round trip in each turn: a plain PUBLISH, one with history."""

    def trip_us(retentions: Retentions) -> float:
        times = []
        with Broadcaster.from_url(redis.url, retentions=retentions) as speaker:
            speaker.broadcast("room", {"number": -1})  # connects
            for number in range(count):
                began = perf_counter()
                speaker.broadcast("room", {"number": number})
                times.append((perf_counter() - began) * 1e6)
        return median(times)

    return in_turns(turns, partial(trip_us, _NONE), partial(trip_us, _USUAL))


def fan_out(
    redis: RedisServer, dialect: Dialect, sockets: int, rounds: int, turns: int
) -> list[list[float]]:
    """CPU µs of a delivered message in each turn: with history, and without."""
    with (
        side(
            serve(redis, history="0", channel_prefix="plain"), dialect, sockets
        ) as one,
        side(
            serve(redis, history="100", channel_prefix="kept"), dialect, sockets
        ) as two,
    ):
        measures = [partial(each.fan_out, rounds, 4) for each in (two, one)]
        in_turns(1, *measures)  # warm
        return [[cost.cpu_us for cost in costs] for costs in in_turns(turns, *measures)]


def storm_s(redis: RedisServer, sockets: int, *, by_sid: bool) -> float:
    """CPU seconds of the worker until all who come back have what they missed."""
    redis.ask("FLUSHALL")
    readers = [Reader(number % _ROOMS, by_sid) for number in range(sockets)]
    with (
        serve(redis) as server,
        Crew(server.port) as crew,
        Broadcaster.from_url(redis.url) as speaker,
    ):
        crew.settle(readers, _OPENING)
        _publish(speaker, range(1, 2))
        until = monotonic() + _PATIENCE_S
        while any(reader.tally.received < 1 for reader in readers):
            crew.turn(0.1)
            if monotonic() > until:
                raise Incomplete("the first message does not come")
        for reader in readers:
            crew.abort(reader)
        while (kept := redis.ask("EVAL", _SESSIONS, 0)) < sockets:
            if monotonic() > until:
                raise Incomplete(f"{kept} of {sockets} lost sessions are kept")
        _publish(speaker, range(2, 2 + _MISSED))
        before = server.cpu_s()
        crew.settle(readers, sockets)
        spent = server.cpu_s() - before
    whole = [1 + _MISSED, 1 + _MISSED, 0, 0, 0, 0, 0, 0]
    wrong = [reader.tally for reader in readers if reader.tally.row() != whole]
    if wrong:
        raise Incomplete(f"{len(wrong)} of {sockets} got something else: {wrong[0]}")
    if any(reader.restored != by_sid for reader in readers):
        raise Incomplete("a session was not restored")
    return spent


def _publish(speaker: Broadcaster, numbers: range) -> None:
    for number in numbers:
        for room in range(_ROOMS):
            speaker.broadcast(f"chat_{room}", {"n": number})


def run(quick: bool) -> Iterator[Result]:
    with broker() as redis:
        plain, kept = publishing_us(redis, 500, 2 if quick else 10)
        yield Result.of("history", "a publish, plain PUBLISH", plain, "µs")
        yield Result.of("history", "a publish with history", kept, "µs")
        yield Result.of(
            *("history", "publish with history / plain", ratios(kept, plain), "×"),
            at_most=_PUBLISHING_BAR,
        )
        sockets, rounds, turns = (500, 200, 4) if quick else (1000, 500, 8)
        for what, dialect in (("plain", CABLE), ("extended", EXTENDED)):
            kept, plain = fan_out(redis, dialect, sockets, rounds, turns)
            yield Result.of(
                *("history", f"fan-out with history / without, {what} protocol"),
                *(ratios(kept, plain), "×"),
                at_most=_FAN_OUT_BAR,
                note=f"{median(kept):.2f} and {median(plain):.2f} CPU µs a message, "
                f"{sockets:,} sockets",
            )
        for how, by_sid in (("by subscribing", False), ("by sid", True)):
            spent = storm_s(redis, _RETURNING, by_sid=by_sid)
            what = f"{_RETURNING:,} come back at once {how}, {_MISSED} messages missed"
            yield Result("history", what, spent, "CPU s", at_most=_STORM_BAR_S)


if __name__ == "__main__":
    main(run)
