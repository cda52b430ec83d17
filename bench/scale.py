"""Cost against size: what must stay flat while other things grow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

from bench import peers
from bench.case import Result, main
from bench.dialects import CABLE, Dialect, cable, perform
from bench.load import Crowd
from bench.processes import gateway
from bench.turns import Side, in_turns, ratios, side

_BAR = 1.3
_FEW, _MANY = 1000, 15_000
_STREAMS = 10_000
_WINDOW = 4

_GONE_BAR_BYTES = 20
_WARM_ROOMS = 40_000
"""After so many the server's caches are full, and its heap has found its size."""
_BRIEFLY_S = 0.02
_AT_ONCE = 100


def run(quick: bool) -> Iterator[Result]:
    turns = 2 if quick else 5
    yield from _subscribers(turns, beside_floor=not quick)
    yield from _streams(turns)
    past = 10_000 if quick else 100_000
    yield from _past(turns, past)
    yield from _gone(past)


def _growth(
    small: Side, large: Side, turns: int, cost_us: Callable[[Side], float]
) -> list[float]:
    """How much more a message costs where there is more, in each turn."""
    measures = [partial(cost_us, each) for each in (large, small)]
    in_turns(1, *measures)  # warm
    return ratios(*in_turns(turns, *measures))


def _subscribers(turns: int, *, beside_floor: bool) -> Iterator[Result]:
    def cost_us(side: Side) -> float:
        rounds = max(12, 150_000 // len(side.crowd.sockets))
        return side.fan_out(rounds, _WINDOW).cpu_us

    what = f"CPU a message, {_MANY:,} / {_FEW:,} subscribers, {_WINDOW} in flight"
    with (
        side(gateway(), CABLE, _FEW) as few,
        side(gateway(), CABLE, _MANY) as many,
    ):
        growth = _growth(few, many, turns, cost_us)
    yield Result.of("scale", what, growth, "×", at_most=_BAR)
    if not beside_floor:
        return
    dialect = peers.DIALECTS["floor"]
    if (peer := peers.start("floor", "fanout")) is None:
        return
    with side(peer, dialect, _FEW) as few:
        other = peers.start("floor", "fanout")
        assert other is not None
        with side(other, dialect, _MANY) as many:
            growth = _growth(few, many, turns, cost_us)
    yield Result.of("scale", f"the floor's: {what}", growth, "×")


def _streams(turns: int) -> Iterator[Result]:
    def cost_us(side: Side) -> float:
        publish = _publisher(side.crowd.dialect)
        return side.fan_out(_STREAMS, _WINDOW, publish).cpu_us

    with (
        side(gateway(), cable("ManyChannel", "publish_to", streams=1), 1) as one,
        side(gateway(), cable("ManyChannel", "publish_to", streams=_STREAMS), 1) as all,
    ):
        growth = _growth(one, all, turns, cost_us)
    what = f"CPU a message, {_STREAMS:,} / 1 streams, one after the other"
    yield Result.of("scale", what, growth, "×", at_most=_BAR)


def _publisher(dialect: Dialect) -> Callable[[str], str]:
    """Publishes to one of the client's streams after the other."""
    identifier = json.loads(dialect.hello)["identifier"]
    numbers = cycle(range(json.loads(identifier)["streams"]))
    return lambda text: perform(
        identifier, "publish_to", stream=next(numbers), message=text
    )


# What is gone.


def _past(turns: int, past: int) -> Iterator[Result]:
    """Rooms that were subscribed to, published to and left; history as it is."""

    def cost_us(side: Side) -> float:
        return side.fan_out(5000, _WINDOW).cpu_us

    with side(gateway(), CABLE, 1) as fresh, side(gateway(), CABLE, 1) as worn:
        come_and_go(fresh.crowd, range(1))
        come_and_go(worn.crowd, range(past))
        growth = _growth(fresh, worn, turns, cost_us)
        streams = worn.server.get("/figures")["streams"]
    what = f"CPU a message, after {past:,} / 1 past subscriptions, each published once"
    yield Result.of("scale", what, growth, "×", at_most=_BAR)
    yield Result("scale", "streams that are still known", streams, "", at_most=1)


def _gone(past: int) -> Iterator[Result]:
    """Rooms whose history is over, too: it is kept briefly here."""
    server = gateway(history_ttl=f"{_BRIEFLY_S}")
    with side(server, CABLE, 1) as worn:
        come_and_go(worn.crowd, range(_WARM_ROOMS))
        before_kb = worn.server.resident_kb()
        come_and_go(worn.crowd, range(_WARM_ROOMS, _WARM_ROOMS + past))
        grown_kb = worn.server.resident_kb() - before_kb
    yield Result(
        *("scale", f"what a past subscription leaves behind, {past:,} of them"),
        *(grown_kb * 1024 / past, "bytes"),
        at_most=_GONE_BAR_BYTES,
    )


def come_and_go(crowd: Crowd, rooms: range) -> None:
    """Subscribe to each room, publish to it and leave it, many at a time."""
    (fd,) = crowd.sockets
    for first in range(rooms.start, rooms.stop, _AT_ONCE):
        some = rooms[first - rooms.start :][:_AT_ONCE]
        room = partial(json.dumps, separators=(",", ":"))
        identifiers = [room({"channel": "ChatChannel", "room_id": -n}) for n in some]
        for identifier in identifiers:
            crowd.say(json.dumps({"command": "subscribe", "identifier": identifier}))
        crowd.hear(fd, len(some))
        for identifier in identifiers:
            crowd.say(perform(identifier, "speak", message="for whoever is here"))
        crowd.hear(fd, len(some))
        for identifier in identifiers:
            crowd.say(json.dumps({"command": "unsubscribe", "identifier": identifier}))


if __name__ == "__main__":
    main(run)
