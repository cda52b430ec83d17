"""A client's action and its answer: how many round trips in a CPU second?

A hundred sockets, each with one message in flight.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench import peers
from bench.case import Result, main
from bench.dialects import ECHO
from bench.processes import gateway
from bench.turns import in_turns, ratios, side

_SOCKETS = 100
_FLASK_SOCKETIO = "Flask-SocketIO"
_FLASK_SOCKETIO_BAR = 7.0
_PEERS = (
    *(_FLASK_SOCKETIO, "Node ws", "python-websockets", "picows"),
    *("uWebSockets (app.run)", "uWebSockets (blocking)"),
)

_ACTION_CABLE_US = 231.0
"""Of Action Cable 6.1 on Puma, in another run on another machine of this kind."""
_ACTION_CABLE_BAR = 4.0


def run(quick: bool) -> Iterator[Result]:
    turns, seconds = (3, 0.5) if quick else (5, 2.0)
    all_ours: list[float] = []
    with side(gateway(), ECHO, _SOCKETS) as us:
        for name in _PEERS[:2] if quick else _PEERS:
            peer = peers.start(name, "echo")
            if peer is None:
                continue
            with side(peer, peers.DIALECTS[name], _SOCKETS) as them:
                measures = [partial(each.echo_us, seconds) for each in (us, them)]
                in_turns(1, *measures)  # warm
                ours, theirs = in_turns(turns, *measures)
            all_ours += ours
            yield Result.of("inbound", f"{name}, echo", theirs, "CPU µs a round trip")
            yield Result.of(
                *("inbound", f"round trips, ours / {name}"),
                *(ratios(theirs, ours), "×"),
                at_least=_FLASK_SOCKETIO_BAR if name == _FLASK_SOCKETIO else None,
            )
        all_ours = all_ours or [us.echo_us(seconds) for _ in range(turns)]
    yield Result.of("inbound", "ours, echo", all_ours, "CPU µs a round trip")
    yield Result.of(
        *("inbound", "round trips, ours / Action Cable"),
        *([_ACTION_CABLE_US / each for each in all_ours], "×"),
        at_least=_ACTION_CABLE_BAR,
        note=f"its {_ACTION_CABLE_US:g} µs are from another run: it is not here",
    )


if __name__ == "__main__":
    main(run)
