"""Readers in groups, and frames made once for each group."""

from __future__ import annotations

from gateway.cable.feeds import PLAIN, Feed, Terms
from gateway.cable.publication import Publication
from tests.cable.conftest import Audience, Wire, enveloped, identify

ENVELOPE = enveloped("C")


def test_a_feed_passes_everything_on() -> None:
    feed, wire = Feed("s", Audience), Wire()
    feed.join(ENVELOPE, wire)
    for number in range(5):
        feed.deliver(Publication(b"%d" % number))
    assert [frame["message"] for frame in wire.sent] == [0, 1, 2, 3, 4]


def test_terms_say_whether_all_is_passed_on() -> None:
    assert PLAIN.is_plain
    assert not Terms(10, "latest").is_plain


def test_who_wants_to_know_its_place_is_told() -> None:
    feed, plain, extended = Feed("s", Audience), Wire(), Wire()
    feed.join(ENVELOPE, plain)
    feed.join(ENVELOPE._replace(extended=True), extended)
    feed.deliver(Publication(b"1", epoch="e", offset=7))
    assert plain.sent == [{"identifier": identify("C"), "message": 1}]
    place = {"stream_id": "s", "epoch": "e", "offset": 7}
    assert extended.sent == [{**plain.sent[0], **place}]


def test_one_is_left_out() -> None:
    feed, one, two = Feed("s", Audience), Wire(), Wire()
    for wire in (one, two):
        feed.join(ENVELOPE, wire)
    feed.deliver(Publication(b"1", exclude=one.id))
    assert (len(one.sent), len(two.sent)) == (0, 1)


def test_groups_may_come_and_go_while_a_message_is_given_out() -> None:
    """Whoever is told may leave in that moment, and take others along."""
    feed, second = Feed("s", Audience), Wire()
    other = enveloped("C", n=2)

    class Leaver(Wire):
        def send_text(self, payload: bytes) -> None:
            super().send_text(payload)
            feed.leave(ENVELOPE, self)
            feed.join(enveloped("C", n=3), Wire())

    first = Leaver()
    feed.join(ENVELOPE, first)
    feed.join(other, second)
    feed.deliver(Publication(b"1"))
    feed.tell(lambda identifier: b"2")
    assert len(first.sent) == 1
    assert [frame["message"] for frame in second.sent] == [1]


def test_what_is_told_beside_messages() -> None:
    feed, plain, extended, follower = Feed("s", Audience), Wire(), Wire(), Wire()
    feed.join(ENVELOPE, plain)
    feed.join(ENVELOPE._replace(extended=True), extended)
    feed.join(ENVELOPE._replace(extended=True, presence=True), follower)
    assert feed.tell(lambda identifier: b"1") == 2
    assert feed.tell(lambda identifier: b"2", presence=True) == 1
    assert (plain.sent, extended.sent, follower.sent) == ([], [1], [1, 2])
    feed.leave(ENVELOPE, follower)  # it is not in that group
    feed.leave(enveloped("D"), follower)  # nor is there this one
    assert len(feed.groups) == 3
