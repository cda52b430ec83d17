"""A fan-out to fifteen thousand: how long does the loop serve nobody else?

A timer in the server wants to run every millisecond; how late it comes is how long any
other socket would have waited. With one stream, and with several that are published in
the same turn to the same clients.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.case import Result, main
from bench.dialects import CABLE, cable
from bench.load import Crowd
from bench.processes import gateway
from bench.progress import messages

_SOCKETS = 15_000
_STREAMS = 5
_BAR_MS = 20.0
_PATIENCE_S = 60.0


def one_stream_ms(sockets: int, rounds: int, window: int) -> float:
    """The longest wait while messages go to all."""
    with gateway() as server, Crowd(server.port, CABLE) as crowd:
        crowd.open(sockets)
        crowd.fan_out(2)  # warm
        server.get("/lag/start")
        crowd.fan_out(rounds, window)
        return float(server.get("/figures")["longest_lag_s"]) * 1e3


def several_streams_ms(sockets: int, rounds: int) -> float:
    """The longest wait while a message of each stream goes to all, in one turn."""
    dialect = cable("ManyChannel", "publish", streams=_STREAMS)
    with gateway() as server, Crowd(server.port, dialect) as crowd:
        crowd.open(sockets)
        for number in range(rounds):
            if number == 1:  # the first was to warm up
                server.get("/lag/start")
            crowd.say(dialect.publish)
            crowd.listen(_PATIENCE_S, lambda heard: len(messages(heard)) >= _STREAMS)
        return float(server.get("/figures")["longest_lag_s"]) * 1e3


def run(quick: bool) -> Iterator[Result]:
    unit = "ms, the longest of all"
    for window in (1,) if quick else (1, 4):
        yield Result(
            *("stall", f"{_SOCKETS:,} sockets, {window} in flight"),
            *(one_stream_ms(_SOCKETS, 10 if quick else 50, window), unit),
            at_most=_BAR_MS,
        )
    yield Result(
        *("stall", f"{_SOCKETS:,} sockets, {_STREAMS} streams published in one turn"),
        *(several_streams_ms(_SOCKETS, 5 if quick else 20), unit),
        at_most=_BAR_MS,
    )


if __name__ == "__main__":
    main(run)
