"""What breaks around the gateway, done to real processes: who is back, and how soon.

Each fault strikes four workers (two, if quick) under many sockets, to which twenty
messages a second are published all the time. Afterwards every client must be connected
and a broadcast reach all of them; the time until then counts from the end of the fault,
or from its beginning where nobody ends it. Where clients are sent away it is the
longest time that one of them was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

import gevent
from gevent.pool import Pool
from redis.crc import key_slot

from bench.case import Result, main
from gateway import Consumer
from tests.support import eventually
from tests.support.live import LiveServer
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer

__all__ = ["FAULTS", "Fault", "Scene"]

_KEY = "a key"
_NAME = "redis.test"
_PASSWORD = "right"
_LONGEST_S = 60.0
_BEAT_S = 0.05
"""How often something is published."""


class Broker(Protocol):
    """Redis, however it is set up."""

    @property
    def url(self) -> str: ...

    def stop(self) -> None: ...


class Renamed:
    """A server that is known by a name, and another where the name will point to."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "address"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("127.0.0.1")
        self.old = RedisServer(folder / "old")
        self.new = RedisServer(folder / "new", bind="127.0.0.2", port=self.old.port)

    @property
    def url(self) -> str:
        return f"redis://{_NAME}:{self.old.port}/0"

    def stop(self) -> None:
        self.old.stop()
        self.new.stop()


class Scene:
    """A broker, workers, and clients that have all heard something."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        *,
        workers: int,
        sockets: int,
        hang_s: float = 0.0,
        away_s: float = 0.0,
        drain_s: float = 1.0,
    ) -> None:
        self.broker = broker
        self.hang_s = hang_s
        self.away_s = away_s
        self.accepted: set[int] = set()
        self.heard: list[list[int]] = [[] for _ in range(sockets)]
        self.absences_s: list[float] = []
        """How long clients were away, each time that one was."""
        self._number = 0
        self._due = 0
        """Everybody has heard something that was published after this one."""
        self.server = LiveServer(
            folder,
            *("bench.faults_app:app", "--workers", str(workers)),
            GATEWAY_ADAPTER="redis",
            GATEWAY_URL=broker.url,
            GATEWAY_PUBLISH_TIMEOUT="1",
            GATEWAY_BROADCAST_KEY=_KEY,
            GATEWAY_HISTORY="10000",
            GATEWAY_DRAIN_SECONDS=str(drain_s),
            GATEWAY_MAX_OUTGOING_BYTES=str(2**26),
            FAULT_NAME=_NAME,
            FAULT_ADDRESS=str(folder / "redis" / "address"),
        )
        self.consumers: list[Consumer] = []
        try:
            eventually(lambda: len(self.server.workers) == workers, 30)
            self._open(sockets)
            self.recovery()
        except BaseException:
            self.stop()
            raise

    @property
    def connected(self) -> int:
        """How many clients are."""
        return sum(consumer.connected for consumer in self.consumers)

    @property
    def lost(self) -> int:
        """Of what must have come by now, the most that any client has not heard."""
        due = {number for number in self.accepted if number <= self._due}
        return max(len(due - set(heard)) for heard in self.heard)

    @property
    def repeated(self) -> int:
        """The most that any client has heard twice."""
        return max(len(heard) - len(set(heard)) for heard in self.heard)

    def publish(self) -> bool:
        """Broadcast the next number; whether that was accepted."""
        self._number += 1
        number = self._number
        post = {"stream": "news", "data": str(number)}
        try:
            status, _ = self.server.post("/cable/broadcast", post, _KEY)
        except (OSError, HTTPException):
            return False
        if status == 201:
            self.accepted.add(number)
        return status == 201

    def recovery(self) -> float:
        """Seconds until a broadcast of now reaches everybody, who is then connected."""
        began, first = monotonic(), self._number
        while min(heard[-1] if heard else 0 for heard in self.heard) <= first:
            waited = monotonic() - began
            assert waited < _LONGEST_S, (
                f"after {waited:.0f} s {self.connected} clients are connected, and "
                f"{sum(h[-1:] > [first] for h in self.heard)} hear of {first}"
            )
            self.publish()
            gevent.sleep(_BEAT_S)
        took = monotonic() - began
        self._due = first
        eventually(lambda: self.connected == len(self.consumers))
        return took

    @contextmanager
    def traffic(self, beat_s: float = _BEAT_S) -> Iterator[None]:
        """Every ``beat_s`` something is published, whether the last was taken or not.

        Afterwards all has come that was on its way.
        """
        speakers = Pool(100)

        def speak() -> None:
            while True:
                speakers.spawn(self.publish)
                gevent.sleep(beat_s)

        speaking = gevent.spawn(speak)
        try:
            yield
        finally:
            speaking.kill()
            speakers.join()
        self.recovery()

    def suffer(self, fault: Fault) -> float:
        """Let it strike, in traffic; the seconds until all are back."""
        with self.traffic():
            before = len(self.accepted)
            eventually(lambda: len(self.accepted) >= before + 10)
            self.absences_s.clear()
            fault.strike(self)
            took = self.recovery()
        return max(self.absences_s, default=took) if fault.sends_away else took

    def stop(self) -> None:
        for consumer in self.consumers:
            consumer.close()
        self.server.stop()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _open(self, sockets: int) -> None:
        def open_one(number: int) -> None:
            consumer = Consumer(f"ws://127.0.0.1:{self.server.port}/cable")
            self.consumers.append(consumer)
            hear = self.heard[number].append
            left: list[float] = []

            def back(again: bool) -> None:
                if left:
                    self.absences_s.append(monotonic() - left.pop())

            subscription = consumer.subscribe(
                "NewsChannel",
                received=lambda said: hear(said) if isinstance(said, int) else None,
                connected=back,
                disconnected=lambda will_return: left.append(monotonic()),
            )
            subscription.wait_confirmed(_LONGEST_S)

        opening = Pool(50)
        for number in range(sockets):
            opening.spawn(open_one, number)
        opening.join(raise_error=True)


# The faults.


def kill_a_worker(scene: Scene) -> None:
    scene.server.workers[0].kill()


def redis_restarts(scene: Scene) -> None:
    redis = _one(scene)
    redis.kill()
    eventually(lambda: not scene.publish())
    redis.start()


def redis_is_long_away(scene: Scene) -> None:
    """Long enough for more than a hundred attempts to reach it, in the full run."""
    redis = _one(scene)
    redis.kill()
    gevent.sleep(scene.away_s)
    redis.start()


def redis_comes_and_goes(scene: Scene) -> None:
    redis = _one(scene)
    for _ in range(5):
        redis.kill()
        eventually(lambda: not scene.publish())
        redis.start()
        eventually(scene.publish)


def redis_hangs(scene: Scene) -> None:
    redis = _one(scene)
    redis.pause()
    gevent.sleep(scene.hang_s)
    redis.resume()


def redis_cuts_us_off(scene: Scene) -> None:
    assert _one(scene).ask("CLIENT", "KILL", "TYPE", "pubsub") > 0


def output_buffer_overflows(scene: Scene) -> None:
    redis = _one(scene)
    limit = "client-output-buffer-limit"
    redis.ask("CONFIG", "SET", limit, "pubsub 200kb 0 0")
    text = "local text = '\"' .. string.rep('x', 10000) .. '\"' "
    flood = "for i = 1, 500 do redis.call('PUBLISH', 'news', text) end"
    redis.ask("EVAL", text + flood, 0)


def password_is_wrong(scene: Scene) -> None:
    redis = _one(scene)
    redis.ask("CONFIG", "SET", "requirepass", "another")
    redis.password = "another"
    for kind in ("pubsub", "normal"):
        redis.ask("CLIENT", "KILL", "TYPE", kind)
    eventually(lambda: not scene.publish())
    redis.ask("CONFIG", "SET", "requirepass", _PASSWORD)
    redis.password = _PASSWORD


def sentinels_fail_over(scene: Scene) -> None:
    assert isinstance(scene.broker, RedisSentinels)
    scene.broker.master.kill()


def slot_migrates(scene: Scene) -> None:
    assert isinstance(scene.broker, RedisCluster)
    scene.broker.migrate(key_slot(b"news"))


def name_changes_its_address(scene: Scene) -> None:
    assert isinstance(scene.broker, Renamed)
    scene.broker.file.write_text("127.0.0.2")
    scene.broker.old.kill()


def worker_ends_in_a_storm(scene: Scene) -> None:
    worker = scene.server.workers[0]

    def storm() -> None:
        while worker.is_running():
            scene.publish()

    storms = [gevent.spawn(storm) for _ in range(4)]
    before = len(scene.accepted)
    eventually(lambda: len(scene.accepted) > before + 20)
    worker.terminate()
    gevent.joinall(storms, raise_error=True)


def all_workers_are_replaced(scene: Scene) -> None:
    old = {worker.pid for worker in scene.server.workers}
    scene.server.reload()
    eventually(lambda: not old & {w.pid for w in scene.server.workers}, 30)


class Fault(NamedTuple):
    """Something that breaks, and on which broker."""

    name: str
    strike: Callable[[Scene], None]
    broker: Callable[[Path], Broker]
    keeps: bool = True
    """Whether the broker still has what it had, so that nothing may be lost."""
    sends_away: bool = False
    """Whether what counts is how long clients were away."""


def _guarded(folder: Path) -> RedisServer:
    return RedisServer(folder, requirepass=_PASSWORD)


FAULTS = (
    Fault("kill -9 of a worker", kill_a_worker, RedisServer, sends_away=True),
    Fault("Redis is killed and restarted", redis_restarts, RedisServer, keeps=False),
    Fault("Redis is long away", redis_is_long_away, RedisServer, keeps=False),
    Fault("Redis comes and goes", redis_comes_and_goes, RedisServer, keeps=False),
    Fault("Redis is stopped (SIGSTOP)", redis_hangs, RedisServer),
    Fault("CLIENT KILL TYPE pubsub", redis_cuts_us_off, RedisServer),
    Fault("client-output-buffer-limit", output_buffer_overflows, RedisServer),
    Fault("failover by Sentinel", sentinels_fail_over, RedisSentinels, keeps=False),
    Fault("a cluster's slot migrates", slot_migrates, RedisCluster),
    Fault(
        *("SIGTERM in a storm of broadcasts", worker_ends_in_a_storm, RedisServer),
        sends_away=True,
    ),
    Fault(
        *("HUP: all workers are replaced", all_workers_are_replaced, RedisServer),
        sends_away=True,
    ),
    Fault("a wrong password", password_is_wrong, _guarded),
    Fault("a name changes its address", name_changes_its_address, Renamed, keeps=False),
)


def _one(scene: Scene) -> RedisServer:
    assert isinstance(scene.broker, RedisServer)
    return scene.broker


def run(quick: bool) -> Iterator[Result]:
    workers, sockets = (2, 200) if quick else (4, 2000)
    hang_s, away_s = (3.0, 5.0) if quick else (10.0, 120.0)
    for fault in FAULTS:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            broker = fault.broker(folder / "redis")
            stack.callback(broker.stop)
            scene = Scene(
                *(folder, broker),
                workers=workers,
                sockets=sockets,
                hang_s=hang_s,
                away_s=away_s,
            )
            stack.callback(scene.stop)
            took = scene.suffer(fault)
            yield Result(
                *("faults", fault.name, took, "s until all are back"),
                note=f"{workers} workers, {sockets} sockets, {len(scene.accepted)} "
                f"published, {scene.lost} lost, {scene.repeated} repeated",
            )


if __name__ == "__main__":
    main(run)
