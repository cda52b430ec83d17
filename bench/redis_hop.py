"""The way through Redis: from a program that broadcasts to a socket of a worker.

A process of its own publishes with ``Broadcaster``, or Redis itself floods; the frame
is awaited on a socket of the gateway. Redis shares the load's core.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import psutil

from bench.broker import broker, serve
from bench.case import Result, main
from bench.dialects import CABLE, cable
from bench.load import Crowd
from bench.turns import in_turns
from gateway.broadcaster import Broadcaster
from tests.support.redis import RedisServer

_FLOOD = """
for i = ARGV[1], ARGV[2] do
  redis.call('PUBLISH', 'many_' .. (i % ARGV[3]), '{"price":' .. i .. '}')
end
"""
_PIECE = 5000
_STREAMS = 1000


def hops(redis: RedisServer, count: int) -> list[float]:
    """Milliseconds from before ``broadcast`` until the frame is here, ascending."""
    dialect = cable("ManyChannel", "publish", streams=1)
    took = []
    with (
        serve(redis) as server,
        Crowd(server.port, dialect) as crowd,
        Broadcaster.from_url(redis.url) as speaker,
    ):
        (fd,) = crowd.open(1)
        for number in range(count + 100):
            began = perf_counter()
            speaker.broadcast("many_0", {"number": number})
            crowd.hear(fd, 1)
            took.append((perf_counter() - began) * 1e3)
    return sorted(took[100:])


def intake(redis: RedisServer, messages: int) -> float:
    """Messages a second that one process takes from Redis, over many streams."""
    dialect = cable("ManyChannel", "publish", streams=_STREAMS)

    def flood() -> None:
        for first in range(0, messages, _PIECE):
            redis.ask("EVAL", _FLOOD, 0, first, first + _PIECE - 1, _STREAMS)

    with serve(redis) as server, Crowd(server.port, dialect) as crowd:
        (fd,) = crowd.open(1)
        thread = threading.Thread(target=flood)
        began = perf_counter()
        thread.start()
        heard = crowd.hear(fd, messages)
        took = perf_counter() - began
        thread.join()
    numbers = [json.loads(each)["message"]["price"] for each in heard]
    assert sorted(numbers) == list(range(messages)), "not each message, once"
    return messages / took


def cost(redis: RedisServer, workers: int, sockets: int, rounds: int) -> list[float]:
    """CPU microseconds of each worker, per message that all of them delivered."""
    with serve(redis, workers) as server, Crowd(server.port, CABLE) as crowd:
        crowd.open(sockets)
        crowd.fan_out(20, 4)
        processes = psutil.Process(server.process.pid).children()
        before = [_cpu_s(process.pid) for process in processes]
        delivered = crowd.fan_out(rounds, 4).messages
        spent = [
            _cpu_s(process.pid) - was
            for process, was in zip(processes, before, strict=True)
        ]
        return [each / delivered * 1e6 for each in spent]


def _cpu_s(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((t / "schedstat").read_text().split()[0]) for t in threads) / 1e9


def run(quick: bool) -> Iterator[Result]:
    count, messages, sockets = (500, 50_000, 500) if quick else (5000, 200_000, 1000)
    with broker() as redis:
        took = hops(redis, count)
        for part, bar in ((0.5, 1.0), (0.99, 5.0)):
            value = took[int(part * (len(took) - 1))]
            yield Result(
                *("redis_hop", f"idle hop, p{part * 100:g}", value, "ms"), at_most=bar
            )
        rate = intake(redis, messages)
        what = f"taken from Redis over {_STREAMS:,} streams by one process"
        yield Result("redis_hop", what, rate, "messages a second", at_least=15_000)
        ones, twos = in_turns(
            1 if quick else 3,
            partial(cost, redis, 1, sockets, 300),
            partial(cost, redis, 2, sockets, 300),
        )
        note = (
            "computed from CPU time: both workers shared one core. A delivery cost "
            f"{ones[-1][0]:.2f} µs in one worker, "
            f"{' + '.join(f'{each:.2f}' for each in twos[-1])} in two; so much faster "
            f"would two be with a core, and half of the {sockets:,} sockets, each"
        )
        yield Result.of(
            *("redis_hop", "fan-out of 2 workers / that of one"),
            [2 * one / sum(two) for (one,), two in zip(ones, twos, strict=True)],
            "×",
            at_least=1.8,
            note=note,
        )


if __name__ == "__main__":
    main(run)
