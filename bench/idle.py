"""Fifteen thousand clients who say nothing, and their heartbeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bench.case import Result, main
from bench.dialects import CABLE
from bench.load import Crowd, Incomplete
from bench.processes import gateway

_SOCKETS = 15_000
_BAR_PERCENT = 10.0
_CABLE_PING_S = 3.0
_RFC_PING_S = 25.0


def busy_percent(sockets: int, seconds: float) -> float:
    """The server's share of a core; everybody must hear both kinds of pings."""
    server = gateway(
        ping_interval=f"{_CABLE_PING_S}", websocket_ping_interval=f"{_RFC_PING_S}"
    )
    with server, Crowd(server.port, CABLE) as crowd:
        crowd.open(sockets)
        crowd.listen(_CABLE_PING_S)
        pings, before = Counter(crowd.pings), server.cpu_s()
        heard = crowd.listen(seconds)
        spent = server.cpu_s() - before
    beats = seconds // _CABLE_PING_S - 1
    deaf = sum(len(messages) < beats for messages in heard.values())
    if deaf:
        raise Incomplete(f"{deaf} sockets got too few of the cable's pings")
    unasked = sum(crowd.pings[fd] - pings[fd] < seconds // _RFC_PING_S for fd in heard)
    if unasked:
        raise Incomplete(f"{unasked} sockets got too few pings of RFC 6455")
    return 100 * spent / seconds


def run(quick: bool) -> Iterator[Result]:
    seconds = _RFC_PING_S + 1 if quick else 2 * _RFC_PING_S + 1
    yield Result(
        *("idle", f"{_SOCKETS:,} sockets, pings of cable and RFC 6455"),
        *(busy_percent(_SOCKETS, seconds), "% of a core"),
        at_most=_BAR_PERCENT,
    )


if __name__ == "__main__":
    main(run)
