"""``max_rate=10`` on a stream that is published a thousand times a second.

Its delivery must cost what ten broadcasts a second cost, and the newest value come
last. What publishing itself costs is measured with a single reader, and taken off; the
ratio with it is told, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import NamedTuple

from bench.case import Result, main
from bench.dialects import cable, mark, perform
from bench.load import Incomplete
from bench.processes import gateway
from bench.progress import messages
from bench.turns import Side, in_turns, ratios, side

_READERS = 1000
_MOST = 10
_PUBLISHED = 1000
_CPU_BAR = 1.3
_PATIENCE_S = 60.0
_SILENCE_S = 0.25
"""Longer than a message with the newest value may have to wait for its turn."""


class Flood(NamedTuple):
    """What became of a stream that was published for some seconds."""

    cpu_s: float
    rate: float
    """Most messages a second that any reader has heard."""


def readers(count: int, max_rate: int | None) -> AbstractContextManager[Side]:
    return side(gateway(), cable("QuotesChannel", "flood", max_rate=max_rate), count)


def flood(readers: Side, seconds: float, rate: int) -> Flood:
    """Publish so many a second; the newest must be the last that each reader hears."""
    server, crowd = readers.server, readers.crowd
    times = int(seconds * rate)
    newest = mark(times - 1).encode()
    identifier = json.loads(crowd.dialect.hello)["identifier"]
    before, began = server.cpu_s(), perf_counter()
    crowd.say(perform(identifier, "flood", times=times, rate=rate))
    heard = crowd.listen(
        _PATIENCE_S, enough=lambda heard: any(newest in each for each in heard[-2:])
    )  # behind it may come a heartbeat
    took_s = perf_counter() - began
    spent_s = server.cpu_s() - before
    if any(map(messages, crowd.listen(_SILENCE_S).values())):
        raise Incomplete("something came after the newest value")
    most = max(len(messages(came)) for came in heard.values())
    return Flood(spent_s, (most - 1) / took_s)


def run(quick: bool) -> Iterator[Result]:
    turns, seconds = (2, 1.0) if quick else (5, 4.0)
    with (
        readers(_READERS, _MOST) as throttled,
        readers(1, _MOST) as alone,
        readers(_READERS, None) as plain,
    ):
        throttled_floods, alone_floods, plain_floods = in_turns(
            turns,
            partial(flood, throttled, seconds, _PUBLISHED),
            partial(flood, alone, seconds, _PUBLISHED),
            partial(flood, plain, seconds, _MOST),
        )
    what = f"{_PUBLISHED:,} published a second, max_rate={_MOST}, {_READERS:,} sockets"
    yield Result(
        *("throttle", what, max(each.rate for each in throttled_floods)),
        "messages a second, the most of all",
        at_most=_MOST,
    )
    costs = [each.cpu_s for each in plain_floods]
    whole = [each.cpu_s for each in throttled_floods]
    publishing = [each.cpu_s for each in alone_floods]
    delivery = [both - one for both, one in zip(whole, publishing, strict=True)]
    beside = f"that of {_MOST} plain broadcasts a second"
    yield Result.of(
        *("throttle", f"CPU of delivery / {beside}", ratios(delivery, costs), "×"),
        at_most=_CPU_BAR,
    )
    yield Result.of(
        *("throttle", f"CPU, publishing included / {beside}"),
        *(ratios(whole, costs), "×"),
        note=f"the publisher's part, {_PUBLISHED:,} messages a second",
    )


if __name__ == "__main__":
    main(run)
