"""Conflation: how fast, which values, and that the last one always arrives."""

from __future__ import annotations

import logging
from math import floor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cable.conflation import NOTHING, ConflatingFeed, Merged
from gateway.cable.feeds import Conflate, Terms
from gateway.cable.publication import Publication
from tests.cable.conftest import Audience, Clock, Wire, enveloped

ENVELOPE = enveloped("C")


class Reader(Wire):
    """A wire that knows when it was told something."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.times: list[float] = []

    def send_text(self, payload: bytes) -> None:
        super().send_text(payload)
        self.times.append(self.clock.time)

    @property
    def messages(self) -> list[Any]:
        return [frame["message"] for frame in self.sent]


class Source:
    """Says values to a feed, as a stream does."""

    def __init__(self, clock: Clock, terms: Terms, *past: bytes) -> None:
        self.clock = clock
        self.conflated = 0
        self.merged = Merged(past) if terms.conflate == "merge" else None
        self.feed = ConflatingFeed(
            *("s", Audience, terms, clock, self._count),
            latest=past[-1] if past else None,
            merged=self.merged,
        )

    def _count(self, number: int) -> None:
        self.conflated += number

    def say(self, *values: object) -> None:
        for value in values:
            message = msgspec.json.encode(value)
            change = NOTHING if self.merged is None else self.merged.add(message)
            self.feed.update(message, change)

    def reader(self) -> Reader:
        """Somebody who wants what comes."""
        reader = Reader(self.clock)
        self.feed.join(ENVELOPE, reader)
        return reader

    def newcomer(self) -> Reader:
        """Somebody who is told the value of now first."""
        reader = Reader(self.clock)
        frame = self.feed.newest(ENVELOPE)
        assert frame is not None
        reader.send_text(frame)
        self.feed.join_told(ENVELOPE, reader)
        return reader


# How fast.


def test_ten_a_second_and_the_last_one_arrives(clock: Clock) -> None:
    source = Source(clock, Terms(10, "latest"))
    reader = source.reader()
    for number in range(1000):
        source.say(number)
        clock.advance(0.001)
    assert reader.messages[0] == 0
    assert 10 <= len(reader.sent) <= 11
    clock.advance(0.1)
    assert reader.messages[-1] == 999
    clock.advance(5)
    assert len(reader.sent) <= 11
    assert source.conflated == 1000 - len(reader.sent)


def test_a_fraction_of_the_rate_does_not_count(clock: Clock) -> None:
    """At 2.5 a second there may be 2 in any second, and never 3."""
    source = Source(clock, Terms(2.5, "latest"))
    reader = source.reader()
    for number in range(990):
        source.say(number)
        clock.advance(0.001)
    assert len(reader.sent) == 2


def test_less_than_one_a_second(clock: Clock) -> None:
    source = Source(clock, Terms(0.5, "latest"))
    reader = source.reader()
    source.say(1, 2)
    clock.advance(1.9)
    assert reader.messages == [1]
    clock.advance(0.1)
    assert reader.messages == [1, 2]


def test_without_a_rate_only_slow_readers_miss_anything(clock: Clock) -> None:
    source = Source(clock, Terms(None, "latest"))
    reader = source.reader()
    source.say(*range(5))
    newcomer = source.newcomer()
    source.say(5)
    assert reader.messages == [0, 1, 2, 3, 4, 5]
    assert newcomer.messages == [4, 5]


def test_a_timer_that_is_early_waits_on(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    reader = source.reader()
    source.say(1, 2)
    (_, action, _), *_ = clock.due
    clock.due.clear()
    clock.time += 0.9999
    action()
    assert reader.messages == [1]
    clock.advance(0.001)
    assert reader.messages == [1, 2]


def test_a_closed_feed_says_no_more(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    reader = source.reader()
    source.feed.close()  # nothing is due
    source.say(1, 2)
    source.feed.close()
    clock.advance(5)
    assert reader.messages == [1]


# Which values.


def test_frames_count_the_updates_they_stand_for(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    readers = [source.reader(), source.reader()]
    source.say(*range(4))
    clock.advance(1)
    for reader in readers:
        assert [frame["updates"] for frame in reader.sent] == [1, 4]
    assert source.conflated == 2 * 2


def test_merging_joins_objects_key_by_key(clock: Clock) -> None:
    source = Source(clock, Terms(1, "merge"))
    reader = source.reader()
    source.say({"cpu": 1, "users": {"a": 1}})
    source.say({"cpu": 2}, {"memory": 5}, {"cpu": 3, "users": {"b": 2}})
    clock.advance(1)
    assert reader.messages == [
        {"cpu": 1, "users": {"a": 1}},
        {"cpu": 3, "memory": 5, "users": {"b": 2}},  # changes only, as Object.assign
    ]
    source.say({"cpu": 4})
    clock.advance(1)
    assert reader.messages[-1] == {"cpu": 4}


def test_merging_what_is_no_object_replaces_it(clock: Clock) -> None:
    source = Source(clock, Terms(1, "merge"))
    reader = source.reader()
    source.say({"a": 1}, {"b": 2}, 7, [1])
    clock.advance(1)
    assert reader.messages == [{"a": 1}, [1]]


def test_merged_messages() -> None:
    merged = Merged([])
    assert merged.json is None
    merged.add(b"null")
    assert merged.json == b"null"
    assert Merged([b'{"a":1}', b'{"b":2}', b'{"a":3}']).json == b'{"a":3,"b":2}'


@pytest.mark.parametrize("message", [b"no JSON", b"\xff", b"[" * 100_000])
def test_what_is_not_json_cannot_be_merged(
    clock: Clock, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(clock, Terms(1, "merge"), b'{"a":1}')
    reader = source.reader()
    with caplog.at_level(logging.WARNING):
        assert source.merged is not None
        source.feed.update(message, source.merged.add(message))
    assert "not JSON" in caplog.text
    assert reader.sent == []
    assert source.feed.value == b'{"a":1}'


def test_a_reader_who_lags_gets_the_whole_state(clock: Clock) -> None:
    """Then it does not matter which changes it has missed."""
    source = Source(clock, Terms(10, "merge"))
    reader = source.reader()
    source.say({"a": 1, "b": 1})
    clock.advance(1)
    reader.lags = True
    source.say({"a": 2})
    assert reader.messages == [{"a": 1, "b": 1}, {"a": 2, "b": 1}]


def test_whispers_are_no_values(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    reader = source.reader()
    source.say(1)
    newcomer = source.newcomer()
    whisper = Publication(b'"psst"', exclude=reader.id, transient=True)
    source.feed.deliver(whisper)
    assert reader.messages == [1]
    assert newcomer.messages == [1, "psst"]
    assert source.feed.value == b"1"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b'{"a":1}', {"n": 1, "a": 1}),
        (b' {"a":1}', {"a": 1}),  # whoever writes so can count for themselves
        (b"{ }", {"n": 1}),
        (b'{"n":"own"}', {"n": "own"}),
        (b"[1]", [1]),
    ],
)
def test_objects_may_carry_the_number(
    clock: Clock, message: bytes, told: object
) -> None:
    source = Source(clock, Terms(1, "latest", counted_as="n"))
    reader = source.reader()
    source.feed.update(message, NOTHING)
    assert reader.messages == [told]


def test_merged_objects_carry_it_too(clock: Clock) -> None:
    source = Source(clock, Terms(1, "merge", counted_as="n"))
    reader, slow = source.reader(), source.reader()
    slow.lags = True
    source.say({"a": 1}, {"b": 1}, {"b": 2})
    clock.advance(1)
    assert reader.messages == [{"n": 1, "a": 1}, {"n": 3, "b": 2}]
    assert slow.messages == [{"n": 1, "a": 1}, {"n": 3, "a": 1, "b": 2}]
    assert source.newcomer().messages == [{"n": 3, "a": 1, "b": 2}]


# Newcomers.


def test_newcomers_are_told_the_value_of_now(clock: Clock) -> None:
    source = Source(clock, Terms(1, "merge"), b'{"a":1}')
    source.say({"b": 2})
    source.say({"c": 3})
    assert source.newcomer().sent[0]["message"] == {"a": 1, "b": 2, "c": 3}
    assert source.feed.updates == 2
    assert Source(clock, Terms(1, "merge")).feed.newest(ENVELOPE) is None


def test_newcomers_have_had_their_frame_of_this_period(clock: Clock) -> None:
    source = Source(clock, Terms(1, "merge"))
    reader = source.reader()
    source.say({"n": 1}, {"n": 2})
    clock.advance(0.9)
    newcomer = source.newcomer()
    clock.advance(0.1)
    assert reader.messages == [{"n": 1}, {"n": 2}]
    assert newcomer.messages == [{"n": 2}]  # once, and not again
    source.say({"n": 3})
    clock.advance(1)
    assert newcomer.messages == [{"n": 2}, {"n": 3}]


def test_newcomers_are_told_in_the_next_what_they_were_not_in_this(
    clock: Clock,
) -> None:
    source = Source(clock, Terms(1, "merge"))
    reader = source.reader()
    source.say({"n": 1}, {"n": 2})
    clock.advance(0.9)
    newcomer = source.newcomer()
    source.say({"a": 1}, {"b": 1})
    clock.advance(0.1)
    assert newcomer.messages == [{"n": 2}]
    conflated = source.conflated
    clock.advance(1)
    assert newcomer.messages == [{"n": 2}, {"n": 2, "a": 1, "b": 1}]
    assert source.conflated == conflated + 1
    assert len(reader.sent) == 2  # it has no need to be told twice
    source.say({"n": 5})
    clock.advance(1)
    assert newcomer.messages[2:] == reader.messages[2:] == [{"n": 5}]


def test_newcomers_are_told_beside_values_what_all_are(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    source.say(1)
    newcomer = Reader(clock)
    source.feed.join_told(ENVELOPE._replace(extended=True), newcomer)
    assert source.feed.tell(lambda identifier: b'{"message":"beside"}') == 1
    assert newcomer.messages == ["beside"]
    source.feed.leave(ENVELOPE._replace(extended=True), newcomer)
    source.say(2)
    clock.advance(5)
    assert newcomer.messages == ["beside"]


def test_how_much_a_reader_knows(clock: Clock) -> None:
    source = Source(clock, Terms(1, "latest"))
    reader = source.reader()
    source.say(1, 2, 3)
    newcomer = source.newcomer()
    assert source.feed.knows(ENVELOPE, reader) == 1
    assert source.feed.knows(ENVELOPE, newcomer) == 3


# Whatever the traffic.

gaps = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.04, 0.3, 1.5]), max_size=60)
rates = st.sampled_from([1.0, 2.5, 3.0, 10.0])
ways = st.sampled_from(["latest", "merge"])


def never_over(rate: float, times: list[float]) -> bool:
    """Whether there are never more in any second."""
    return all(
        sum(start <= t < start + 1 - 1e-9 for t in times) <= rate for start in times
    )


@given(gaps, rates, ways)
def test_whatever_the_traffic(
    gaps: list[float], rate: float, conflate: Conflate
) -> None:
    """Never over the rate in any second; the last value within one period; in order."""
    clock = Clock()
    source = Source(clock, Terms(rate, conflate))
    reader = source.reader()
    for number, gap in enumerate(gaps):
        source.say({"n": number})
        clock.advance(gap)
    quiet_since = clock.time
    clock.advance(10)
    assert never_over(rate, reader.times)
    said = [message["n"] for message in reader.messages]
    assert said == sorted(set(said))
    if gaps:
        assert said[-1] == len(gaps) - 1
        assert reader.times[-1] <= quiet_since + 1 / floor(rate) + 1e-6


@given(gaps, st.lists(st.integers(0, 59), max_size=5), rates, ways)
def test_whoever_comes_meanwhile(
    gaps: list[float], comings: list[int], rate: float, conflate: Conflate
) -> None:
    """The same for newcomers, who may have to wait for one period more."""
    clock = Clock()
    source = Source(clock, Terms(rate, conflate), b'{"n":-1}')
    first, newcomers = source.reader(), []
    for number, gap in enumerate(gaps):
        newcomers += [source.newcomer() for _ in range(comings.count(number))]
        source.say({"n": number})
        clock.advance(gap)
    quiet_since = clock.time
    clock.advance(10)
    for reader in (first, *newcomers):
        assert never_over(rate, reader.times)
        said = [message["n"] for message in reader.messages]
        assert said == sorted(set(said))
        if gaps:
            assert said[-1] == len(gaps) - 1
            periods = 1 if reader is first else 2
            latest = quiet_since + periods / floor(rate) + 1e-6
            assert reader.times[-1] <= latest
