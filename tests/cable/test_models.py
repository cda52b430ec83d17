"""History and presence do what simple models say, in whatever order it happens."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from gateway.cable.channel import Channel, action
from gateway.cable.presence import LINGER_S, PresenceSet
from gateway.cable.publication import Publication
from tests.cable.conftest import Client, Healing, identify

KEPT = 6
STREAMS = ("s", "t")
ID = identify("Chat")


class Chat(Channel):
    def subscribed(self) -> None:
        for stream in STREAMS:
            self.stream_from(stream)

    @action
    def pause(self) -> None:
        self.pause_streams()

    @action
    def resume(self) -> None:
        self.resume_streams()


class Inner(Channel):
    def subscribed(self) -> None:
        self.heard: list[int] = []
        self.stream_from("s", self.heard.append)


class Reader:
    """Hears the numbers 1, 2, 3 … on each stream: none twice, none in disorder."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.forewarned: set[str] = set()
        """Streams of which it was told that it misses something."""
        self.skipped = 0
        """Numbers that are missing without a word."""

    def hears(self, stream: str, number: int) -> None:
        before = self.last.get(stream, number - 1)
        assert number > before, "twice, or in disorder"
        if stream not in self.forewarned:
            self.skipped += number - before - 1
        self.last[stream] = number


class Person(Reader):
    """A client of the extended protocol: minds that nothing is missing."""

    def __init__(self, healing: Healing) -> None:
        super().__init__()
        self._healing = healing
        self._places: dict[str, Any] = {}
        self._saved: dict[str, list[str]] = {}
        self.paused = False
        self.missed = 0
        self.client: Client | None = None

    def come(self, *, restored: bool = False, since: float | None = None) -> None:
        self.missed = 0
        self.client = Client(self._healing.hub, {"Chat": Chat})
        self.client.wire.extended = True
        history: dict[str, Any] = {"streams": self._places}
        if since is not None:
            history["since"] = since
        if restored and self._saved:
            assert self.client.subscriptions.restore(self._saved) == [ID]
            self.client.subscriptions.expect()
            command = "history"
        else:
            command = "subscribe"
        self.hear(self.client.say(command=command, identifier=ID, history=history))

    def go(self) -> None:
        assert self.client is not None
        self._saved = self.client.subscriptions.streams
        self.client.subscriptions.close(lingering=True)
        self.client = None
        self.paused = False

    def pause(self) -> None:
        assert self.client is not None
        self.hear(self.client.perform(ID, action="pause"))
        self.paused = True

    def resume(self) -> None:
        """What came meanwhile it does not miss."""
        assert self.client is not None
        self.forewarned |= {*STREAMS}
        self.paused = False
        self.missed = 0
        self.hear(self.client.perform(ID, action="resume"))

    def listen(self) -> None:
        if self.client is not None:
            self.client.wire.ring()  # what has to be asked again
            self.hear(self.client.wire.take())

    def hear(self, frames: list[Any]) -> None:
        for frame in frames:
            kind = frame.get("type")
            if kind == "reject_history":
                self.forewarned |= {*STREAMS}
            elif kind == "confirm_subscription":
                for stream, place in frame["streams"].items():
                    self._places.setdefault(stream, place)
            elif kind is None:
                stream, number = frame["message"]
                self.hears(stream, number)
                if "offset" in frame:  # else its life is over: more may be missing
                    self.forewarned.discard(stream)
                    place = {"epoch": frame["epoch"], "offset": frame["offset"]}
                    self._places[frame["stream_id"]] = place


class Bystander(Reader):
    """A client of the plain protocol, and a channel that listens for itself."""

    def __init__(self, healing: Healing) -> None:
        super().__init__()
        self._client = Client(healing.hub, {"Chat": Chat, "Inner": Inner})
        for channel in ("Chat", "Inner"):
            self._client.subscribe(channel)
        inner = identify("Inner")
        self._inner = self._client.subscriptions._by_identifier[inner].channel
        self.inner = Reader()

    def listen(self) -> None:
        self._client.wire.run_jobs()
        for frame in self._client.wire.take():
            self.hears(*frame["message"])
        assert isinstance(self._inner, Inner)
        while self._inner.heard:
            self.inner.hears(*self._inner.heard.pop(0))


class Histories(RuleBasedStateMachine):
    """Readers of two streams, on a broker that fails in every way it can."""

    streams = st.sampled_from(STREAMS)
    persons = st.integers(0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.healing = Healing(KEPT)
        self.broker = self.healing.broker
        self.said = dict.fromkeys(STREAMS, 0)
        self.people = [Person(self.healing) for _ in range(3)]
        for person in self.people:
            person.come()
        self.bystander = Bystander(self.healing)
        self.harmless = True

    def numbers(self, stream: str, count: int) -> list[str]:
        """The next messages of a stream."""
        first = self.said[stream] + 1
        self.said[stream] += count
        return [f'["{stream}",{n}]' for n in range(first, first + count)]

    @rule(stream=streams, count=st.integers(1, KEPT + 2))
    def publish(self, stream: str, count: int) -> None:
        self.broker.say(stream, *self.numbers(stream, count))
        for person in self.people:
            person.missed += count if person.client is None or person.paused else 0
            self.harmless &= person.missed <= KEPT

    @rule(stream=streams, count=st.integers(1, KEPT + 2))
    def lose(self, stream: str, count: int) -> None:
        self.broker.lose(stream, *self.numbers(stream, count))
        self.harmless = False

    @rule(stream=streams, back=st.integers(0, KEPT))
    def deliver_again(self, stream: str, back: int) -> None:
        for publication in self.broker.kept(stream)[-back:]:
            self.healing.hub.deliver(stream, publication)

    @rule(stream=streams)
    def flush(self, stream: str) -> None:
        self.broker.flush(stream)
        self.harmless = False

    @precondition(lambda self: not self.broker.away)
    @rule(stream=streams, count=st.integers(1, KEPT), more=st.integers(0, KEPT))
    def go_back(self, stream: str, count: int, more: int) -> None:
        """And be published to before its listeners are back.

        What nobody but the store had heard is nobody's loss: so all is heard first. And
        if no message were kept that contradicts those before, nobody could know.
        """
        self.healing.hub.resume([stream])
        self.settle(3.0)
        offset = self.broker.position(stream).offset
        self.broker.go_back(stream, min(count, offset))
        self.broker.lose(stream, *self.numbers(stream, more))
        self.healing.hub.resume([stream])  # its connections broke, too
        self.harmless = False

    @rule(stream=streams, count=st.integers(1, 3))
    def publish_while_asked(self, stream: str, count: int) -> None:
        self.broker.while_asked.append(
            lambda: self.broker.say(stream, *self.numbers(stream, count))
        )
        self.harmless = False

    @rule()
    def cut_the_broker(self) -> None:
        self.healing.hub.resume([*STREAMS])

    @rule(away=st.booleans())
    def leave_the_broker(self, away: bool) -> None:
        """Who comes meanwhile is to come again, so nobody does."""
        self.broker.away = away
        self.harmless = False

    @rule(seconds=st.sampled_from([0.05, 0.5, 3.0]))
    def settle(self, seconds: float) -> None:
        self.healing.settle()
        self.healing.clock.advance(seconds)
        self.healing.settle()

    @rule(stream=streams)
    def whisper(self, stream: str) -> None:
        self.broker.publish("other", Publication(b"1"))

    @rule(who=persons)
    def cut(self, who: int) -> None:
        if self.people[who].client is not None:
            self.people[who].go()

    @rule(who=persons, restored=st.booleans(), since=st.sampled_from([None, 1, 2**40]))
    def come_back(self, who: int, restored: bool, since: float | None) -> None:
        if self.people[who].client is None and not self.broker.away:
            self.people[who].come(restored=restored, since=since)

    @rule(who=persons)
    def pause_or_resume(self, who: int) -> None:
        person = self.people[who]
        if person.client is not None:
            (person.resume if person.paused else person.pause)()

    @precondition(lambda self: self.harmless)
    @invariant()
    def nobody_misses_what_is_there(self) -> None:
        self.listen()
        assert self.bystander.skipped == self.bystander.inner.skipped == 0
        assert self.healing.hub.refused == 0

    @invariant()
    def listen(self) -> None:
        self.bystander.listen()
        for person in self.people:
            person.listen()
            assert person.skipped == 0, "lost without a word"

    def teardown(self) -> None:
        """In the end all are where the streams are."""
        self.broker.away = False
        self.broker.while_asked.clear()
        for _ in range(3):
            self.settle(3.0)
            for stream in STREAMS:
                self.broker.say(stream, *self.numbers(stream, 1))
            self.settle(3.0)
            self.listen()
        for person in self.people:
            if person.client is not None and not person.paused:
                assert person.last == self.said
                assert not person.forewarned
        assert self.bystander.last == self.said
        assert self.bystander.inner.last == {"s": self.said["s"]}
        assert self.bystander.skipped == 0 or self.healing.hub.lost


class Presences(RuleBasedStateMachine):
    """A set of sessions, each of one member, until it leaves or is not heard of."""

    members = st.sampled_from(["ann", "bob", "cay"])
    sessions = st.sampled_from(["1", "2", "3", "4"])

    def __init__(self) -> None:
        super().__init__()
        self.set = PresenceSet()
        self.now = 0.0
        self.model: dict[str, tuple[str, float]] = {}  # session: member, until
        self.seen: set[str] = set()  # who is present, as the events tell

    @rule(member=members, session=sessions, about=st.integers())
    def join(self, member: str, session: str, about: int) -> None:
        self.hear(*self.set.join(member, session, about, self.now))
        self.model[session] = (member, self.now + LINGER_S)
        assert self.set.members[member] == about

    @rule(session=sessions)
    def leave(self, session: str) -> None:
        self.hear(self.set.leave(session))
        self.model.pop(session, None)

    @rule(session=sessions)
    def touch(self, session: str) -> None:
        self.set.touch(session, self.now)
        if session in self.model:
            self.model[session] = (self.model[session][0], self.now + LINGER_S)

    @rule(seconds=st.floats(0.1, LINGER_S))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.hear(*self.set.expire(self.now))
        for session, (_, until) in list(self.model.items()):
            if until <= self.now:
                del self.model[session]

    def hear(self, *events: bytes | None) -> None:
        for event in filter(None, events):
            told = msgspec.json.decode(event)
            if told["type"] == "join":
                assert told["id"] not in self.seen
                self.seen.add(told["id"])
            else:
                self.seen.remove(told["id"])

    @invariant()
    def all_agree(self) -> None:
        present = {member for member, _ in self.model.values()}
        assert set(self.set.members) == self.seen == present


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, database=None
)
TestPresences = Presences.TestCase
TestPresences.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, database=None
)
