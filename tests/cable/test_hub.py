"""Streams are opened by their first user, and closed by the last."""

from __future__ import annotations

import pytest

from gateway.cable.history import Retention, Retentions
from gateway.cable.hub import Hub
from gateway.errors import PubSubError
from tests.cable.conftest import Audience, Clock, Wire, enveloped, identify, say

ID = identify("C")
ENVELOPE = enveloped("C")


class Backend:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    def subscribe(self, stream: str) -> None:
        self.asked.append(f"+{stream}")
        if self.broken:
            raise PubSubError("no broker")

    def unsubscribe(self, stream: str) -> None:
        self.asked.append(f"-{stream}")

    def recall(self, stream: str) -> None:
        return None


def test_first_in_subscribes_and_last_out_unsubscribes() -> None:
    backend = Backend()
    hub = Hub(backend, Audience, Clock(), Retentions(Retention()), lambda job: job())
    one, two = hub.open("s"), hub.open("s")
    assert one is two
    hub.release(one)
    assert backend.asked == ["+s", "+s"]  # the second must know that it is live, too
    hub.release(two)
    assert backend.asked == ["+s", "+s", "-s"]
    assert hub.streams == {}


def test_a_stream_that_cannot_be_opened_leaves_nothing_behind() -> None:
    backend = Backend()
    backend.broken = True
    hub = Hub(backend, Audience, Clock(), Retentions(Retention()), lambda job: job())
    with pytest.raises(PubSubError):
        hub.open("s")
    assert hub.streams == {}
    assert backend.asked == ["+s", "-s"]


def test_one_reader_under_two_identifiers_hears_twice(hub: Hub) -> None:
    stream, wire = hub.open("s"), Wire()
    stream.plain.join(ENVELOPE, wire)
    stream.plain.join(enveloped("C", room=1), wire)
    say(hub, "s", b"1")
    assert [m["identifier"] for m in wire.sent] == [ID, identify("C", room=1)]


def test_who_leaves_hears_no_more(hub: Hub) -> None:
    stream, wire = hub.open("s"), Wire()
    stream.plain.join(ENVELOPE, wire)
    stream.plain.leave(ENVELOPE, wire)
    say(hub, "s", b"1")
    assert wire.sent == []


def test_a_stream_nobody_listens_to(hub: Hub) -> None:
    say(hub, "nobody", b"1")
    assert hub.streams == {}
