"""Compressed JSON of a kilobyte to a thousand: what it costs, what it saves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from bench.case import Result, main
from bench.dialects import CABLE
from bench.processes import gateway
from bench.turns import in_turns, ratios, side

_SOCKETS = 1000
_ROWS = [
    {
        "symbol": f"SYM{n}",
        "price": 100 + n * 7.31,
        "change": n * 0.13 - 0.5,
        "volume": 1000 * n + n * n * 17,
    }
    for n in range(14)
]
_CPU_BAR = 1.2
_BYTES_BAR = 0.4


def _publish(text: str) -> str:
    message = json.dumps({"action": "speak", "message": {"id": text, "rows": _ROWS}})
    command = json.loads(CABLE.publish)
    return json.dumps({**command, "data": message})


def run(quick: bool) -> Iterator[Result]:
    turns, rounds = (3, 50) if quick else (5, 300)
    with (
        side(gateway(), CABLE, _SOCKETS) as plain_side,
        side(gateway(), CABLE, _SOCKETS, deflate=True) as deflated_side,
    ):
        for window in (4,) if quick else (1, 4):
            measures = [
                partial(each.fan_out, rounds, window, _publish)
                for each in (plain_side, deflated_side)
            ]
            in_turns(1, *measures)  # warm
            plain, deflated = in_turns(turns, *measures)
            what = f"{_SOCKETS:,} sockets, {window} in flight"
            plain_us = [cost.cpu_us for cost in plain]
            deflated_us = [cost.cpu_us for cost in deflated]
            unit = "CPU µs a message"
            yield Result.of("deflate", f"plain, {what}", plain_us, unit)
            yield Result.of("deflate", f"deflated, {what}", deflated_us, unit)
            yield Result.of(
                *("deflate", f"CPU, deflated / plain, {what}"),
                *(ratios(deflated_us, plain_us), "×"),
                at_most=_CPU_BAR,
            )
            size = plain[-1].wire_bytes
            yield Result("deflate", f"plain frame, {what}", size, "bytes")
            yield Result(
                *("deflate", f"bytes, deflated / plain, {what}"),
                *(deflated[-1].wire_bytes / size, "×"),
                at_most=_BYTES_BAR,
            )


if __name__ == "__main__":
    main(run)
