"""One message to many: what does each delivered copy cost the server?

Ours makes an envelope per message and goes through channels and streams; the others
are handed the same bytes and send them to all. Each of them is measured in turns with
ours, both with their clients connected.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench import peers
from bench.case import Result, main
from bench.dialects import CABLE
from bench.processes import gateway
from bench.turns import Side, in_turns, ratios, side

_WINDOWS = (1, 4, 32)
_RIVALS = ("uWebSockets (app.run)", "uWebSockets (blocking)", "floor")
_OTHERS = ("picows", "Node ws", "python-websockets", "Flask-SocketIO")
_UWEBSOCKETS_BAR = 1.0
_FLOOR_BAR = 1.25

Costs = dict[int, list[float]]
"""CPU µs of a delivered message in each turn, by how many are in flight."""


def run(quick: bool) -> Iterator[Result]:
    turns, deliveries = (3, 50_000) if quick else (5, 250_000)
    for sockets in (1000,) if quick else (1000, 5000):
        all_ours: Costs = {window: [] for window in _WINDOWS}
        for name in _RIVALS if quick else _RIVALS + _OTHERS:
            with side(gateway(), CABLE, sockets) as us:
                peer = peers.start(name, "fanout")
                if peer is None:
                    continue
                with side(peer, peers.DIALECTS[name], sockets) as them:
                    share = 1 if name in _RIVALS else 5
                    ours, theirs = compare(us, them, turns, deliveries // share)
            for window in _WINDOWS:
                all_ours[window] += ours[window]
                yield _figure(name, sockets, window, theirs[window])
                yield _ratio(name, sockets, window, ours[window], theirs[window])
        for window, costs in all_ours.items():
            yield _figure("ours", sockets, window, costs)


def compare(us: Side, them: Side, turns: int, deliveries: int) -> tuple[Costs, Costs]:
    """What both cost, in turns."""
    ours: Costs = {}
    theirs: Costs = {}
    for window in _WINDOWS:
        measures = [partial(_cost_us, each, window, deliveries) for each in (us, them)]
        in_turns(1, *measures)  # warm
        ours[window], theirs[window] = in_turns(turns, *measures)
    return ours, theirs


def _cost_us(side: Side, window: int, deliveries: int) -> float:
    rounds = max(window, deliveries // len(side.crowd.sockets))
    return side.fan_out(rounds, window).cpu_us


def _what(name: str, sockets: int, window: int) -> str:
    return f"{name}, {sockets:,} sockets, {window} in flight"


def _figure(name: str, sockets: int, window: int, costs: list[float]) -> Result:
    return Result.of("fanout", _what(name, sockets, window), costs, "CPU µs a message")


def _ratio(
    name: str, sockets: int, window: int, ours: list[float], theirs: list[float]
) -> Result:
    bar = None
    if name == "uWebSockets (app.run)" and window > 1:
        bar = _UWEBSOCKETS_BAR
    elif name == "floor" and window == 1:
        bar = _FLOOR_BAR
    what = _what(f"ours / {name}", sockets, window)
    return Result.of("fanout", what, ratios(ours, theirs), "×", at_most=bar)


if __name__ == "__main__":
    main(run)
