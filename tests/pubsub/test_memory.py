"""The adapter for one process."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
from gevent import get_hub, getcurrent

from gateway.cable.history import Position, Recall, Retention, Retentions
from gateway.cable.publication import Publication
from gateway.pubsub import memory
from gateway.pubsub.memory import MemoryPubSub
from tests.pubsub.contract import Contract
from tests.support import eventually


class TestMemory(Contract):
    def make(self, retentions: Retentions | None = None) -> MemoryPubSub:
        return MemoryPubSub(retentions)


def test_what_a_thread_publishes_is_delivered_by_the_loop() -> None:
    pubsub, where = MemoryPubSub(), []
    pubsub.start(lambda stream, message: where.append(getcurrent()), lambda _: None)
    pubsub.subscribe("s")
    thread = threading.Thread(target=pubsub.publish, args=("s", Publication(b"1")))
    thread.start()
    eventually(lambda: where)
    assert where == [get_hub()]
    thread.join()


def test_threads_that_publish_at_once_share_no_offset(quick_switches: None) -> None:
    pubsub = MemoryPubSub(Retentions(Retention(messages=10_000)))

    def publish() -> None:
        for _ in range(1000):
            pubsub.publish("s", Publication(b"1"))

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        pubsub.recall("s")  # nor does reading trip over those who write
    recall = pubsub.recall("s")
    assert recall is not None
    assert [each.offset for each in recall.kept] == list(range(1, 8001))


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads are interrupted as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_things_that_are_over_go_though_nobody_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_CLEARING_S", 0.0)
    pubsub = MemoryPubSub()
    pubsub.keep("over", b"1", 0.01)

    def only_what_lasts() -> bool:
        pubsub.keep("lasts", b"2", 60)
        return pubsub._things.keys() == {"lasts"}

    eventually(only_what_lasts)


def kept_s(seconds: float) -> MemoryPubSub:
    """An adapter that keeps messages for so long."""
    return MemoryPubSub(Retentions(Retention(seconds=seconds)))


def position(pubsub: MemoryPubSub, stream: str) -> Position:
    recall = pubsub.recall(stream)
    assert recall is not None
    return recall.position


def use_until(pubsub: MemoryPubSub, is_over: Callable[[], bool]) -> None:
    """Publish to another stream until something is over."""

    def use() -> bool:
        for _ in range(100):
            pubsub.publish("another", Publication(b"1"))
        return is_over()

    eventually(use)


@pytest.mark.slow
def test_streams_that_were_only_looked_at_leave_nothing_behind() -> None:
    pubsub = kept_s(0.01)
    for number in range(1000):
        name = f"stream_{number}"
        pubsub.subscribe(name)
        pubsub.recall(name)
        pubsub.unsubscribe(name)
    use_until(pubsub, lambda: pubsub._rings.keys() == {"another"})
    use_until(pubsub, lambda: not pubsub._places)
    assert list(pubsub._in_turn) == ["another"]
    assert pubsub._used.keys() == {"another"}


def test_a_stream_keeps_its_place_for_longer_than_its_messages() -> None:
    pubsub = kept_s(0.02)
    pubsub.publish("s", Publication(b"1"))
    place = position(pubsub, "s")
    use_until(pubsub, lambda: "s" not in pubsub._rings)
    assert pubsub.recall("s") == Recall(place, [])
    pubsub.publish("s", Publication(b"2"))
    assert position(pubsub, "s") == place._replace(offset=2)
    use_until(pubsub, lambda: "s" not in pubsub._rings and "s" not in pubsub._places)
    assert position(pubsub, "s").epoch != place.epoch


def test_a_stream_that_nobody_listens_to_any_longer_is_not_over_yet() -> None:
    """Who was on it may come back, however quiet it was."""
    pubsub = MemoryPubSub()
    pubsub.subscribe("s")
    place = position(pubsub, "s")
    pubsub._used["s"] = 0.0  # long ago
    pubsub.unsubscribe("s")
    for number in range(5000):
        pubsub.publish(f"stream_{number % 100}", Publication(b"1"))
    assert position(pubsub, "s") == place


def test_a_stream_that_is_listened_to_is_never_over() -> None:
    pubsub = kept_s(0.01)
    pubsub.subscribe("s")
    pubsub.publish("s", Publication(b"1"))
    place = position(pubsub, "s")
    use_until(pubsub, lambda: not len(pubsub._rings["s"]))  # its message is
    assert pubsub.recall("s") == Recall(place, [])


def test_a_life_that_ends_begins_anew_at_once() -> None:
    pubsub = MemoryPubSub()
    pubsub.publish("s", Publication(b"1"))
    epoch = position(pubsub, "s").epoch
    pubsub.renew("s", "another epoch")
    pubsub.renew("never seen", epoch)
    assert position(pubsub, "s") == Position(epoch, 1)
    pubsub.renew("s", epoch)
    assert position(pubsub, "s").offset == 0


def test_looking_at_many_streams_forgets_none_that_is_in_use() -> None:
    pubsub = MemoryPubSub()
    pubsub.subscribe("heard")
    heard = pubsub.recall("heard")
    pubsub.publish("written", Publication(b"1"))
    for number in range(5000):
        pubsub.recall(f"stream_{number}")
    assert pubsub.recall("heard") == heard
    written = pubsub.recall("written")
    assert written is not None
    assert [each.message for each in written.kept] == [b"1"]


class Name(str):
    """The name of a stream of which it is known whether it is forgotten."""


@pytest.mark.parametrize("patterns", [{}, {"s1": Retention(0), "s2": Retention(7)}])
def test_without_patterns_no_names_are_remembered(
    patterns: dict[str, Retention],
) -> None:
    retentions = Retentions(Retention(), patterns)
    for name in ("s1", "s2", "s3"):
        expected = patterns.get(name, Retention())
        named = Name(name)
        trace = weakref.ref(named)
        assert retentions.of(named) == expected
        del named
        assert trace() is None
