"""A client on twenty streams, each published in the same turn: one ``send``."""

from __future__ import annotations

from collections.abc import Iterator

from bench.case import Result, main
from bench.dialects import cable
from bench.load import Crowd
from bench.processes import gateway

_STREAMS = 20


def run(quick: bool) -> Iterator[Result]:
    turns = 50 if quick else 500
    dialect = cable("ManyChannel", "publish", streams=_STREAMS)
    with gateway() as server, Crowd(server.port, dialect) as crowd:
        crowd.open(1)
        before = server.get("/figures")["writes"]
        for _ in range(turns):
            crowd.ask(dialect.publish, answers=_STREAMS)
        writes = server.get("/figures")["writes"] - before
        yield Result(
            "turn",
            f"{_STREAMS} streams published at once to one client",
            writes / turns,
            "sends a turn",
            at_most=1,
        )


if __name__ == "__main__":
    main(run)
