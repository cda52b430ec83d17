"""What the followers of a stream were told of who is present, and what is corrected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gateway.cable import presence
from gateway.cable.roster import Roster

ANN_CAME, ANN_LEFT = presence.joined("ann", 1), presence.left("ann")


def asked(*members: str) -> Roster:
    """A roster that knows who is present, and has known it for a while."""
    roster = Roster()
    assert roster.is_due()
    roster.begin()
    assert roster.correct(dict.fromkeys(members)) == []
    assert not roster.is_due()
    return roster


def test_it_is_asked_soon_who_is_present(roster: Roster) -> None:
    assert roster.hear(ANN_CAME)
    assert roster.is_due()
    roster.begin()
    roster.give_up()
    assert roster.is_due()
    roster.begin()
    assert roster.correct({"ann": 1}) == []
    assert not roster.is_due()


def test_what_was_missed_is_told_some_time_after_the_gap() -> None:
    """Not at once: a broker that has lost its memory knows nobody then."""
    roster = asked("bob", "cay")
    roster.doubt()
    assert not roster.is_due()
    assert roster.is_due()
    roster.begin()
    assert roster.correct({"ann": 1, "bob": None}) == [presence.left("cay"), ANN_CAME]
    assert not roster.is_due()


def test_what_comes_while_it_is_asked_may_be_newer_than_the_answer() -> None:
    roster = asked("bob")
    roster.begin()
    assert roster.hear(ANN_CAME)
    assert roster.hear(presence.left("bob"))
    assert roster.correct({"bob": None}) == []
    roster.begin()
    assert roster.correct({"ann": 1}) == []


def test_what_everybody_knows_is_no_news() -> None:
    roster = asked("bob")
    assert not roster.hear(presence.joined("bob", None))
    assert not roster.hear(ANN_LEFT)
    assert roster.hear(ANN_CAME)
    assert not roster.hear(ANN_CAME)
    assert roster.hear(ANN_LEFT)


def test_just_after_the_first_answer_events_may_be_older_than_that(
    roster: Roster,
) -> None:
    """Those who follow have not been told that answer."""
    roster.begin()
    roster.correct({"ann": 1})
    assert roster.hear(ANN_CAME)
    roster.is_due()
    assert not roster.hear(ANN_CAME)


@pytest.fixture
def roster() -> Roster:
    return Roster()


class Followers(RuleBasedStateMachine):
    """Events come in order, some of them late or never; then the gap is corrected."""

    members = st.sampled_from(["ann", "bob", "cay"])

    def __init__(self) -> None:
        super().__init__()
        self.roster = asked()
        self.truth: dict[str, Any] = {}
        self.told: set[str] = set()
        self.on_the_way: list[bytes] = []
        self.answer: dict[str, Any] | None = None

    @rule(member=members)
    def come_or_go(self, member: str) -> None:
        if member in self.truth:
            del self.truth[member]
            self.on_the_way.append(presence.left(member))
        else:
            self.truth[member] = None
            self.on_the_way.append(presence.joined(member, None))

    @rule(count=st.integers(1, 3))
    def arrive(self, count: int) -> None:
        for event in self.on_the_way[:count]:
            if self.roster.hear(event):
                self.tell(event)
        del self.on_the_way[:count]

    @rule()
    def lose_what_is_on_the_way(self) -> None:
        self.on_the_way.clear()
        self.roster.doubt()

    @rule()
    def ask(self) -> None:
        if self.answer is None:
            self.roster.begin()
            self.answer = dict(self.truth)

    @rule()
    def be_answered(self) -> None:
        if self.answer is not None:
            for event in self.roster.correct(self.answer):
                self.tell(event)
            self.answer = None

    def tell(self, event: bytes) -> None:
        told = msgspec.json.decode(event)
        assert (told["id"] in self.told) == (told["type"] == "leave"), "told twice"
        self.told ^= {told["id"]}

    def teardown(self) -> None:
        self.be_answered()
        self.arrive(len(self.on_the_way))
        for _ in range(3):  # rounds
            if self.roster.is_due():
                self.ask()
                self.be_answered()
        assert self.told == set(self.truth)


TestFollowers = Followers.TestCase
TestFollowers.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, database=None
)
