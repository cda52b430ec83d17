"""Dealing messages out: whatever happens to one reader, the others get theirs."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import gevent
import pytest

from gateway.websocket import Message, Multicast
from gateway.websocket.frames import DEFLATED, PLAIN, Encoding
from gateway.websocket.turn import Turn
from tests.support import eventually
from tests.websocket.pipes import MakeReader, Reader, frames


class Member:
    """A reader that keeps all it is given."""

    def __init__(self, owner_id: str = "", encoding: Encoding = PLAIN) -> None:
        self.owner_id = owner_id
        self.encoding = encoding
        self.stalled = False
        self.taken: list[tuple[bytes, Hashable]] = []

    def take(self, frames: bytes, key: Hashable = None) -> None:
        self.taken.append((frames, key))

    @property
    def received(self) -> bytes:
        return b"".join(frames for frames, _ in self.taken)


def room_of(*members: Member) -> Multicast:
    room = Multicast()
    for member in members:
        room.add(member)
    return room


# Who gets what


def test_each_encoding_is_made_once() -> None:
    plain, deflated = Member(), Member(encoding=DEFLATED)
    room = room_of(plain, Member(), deflated)
    assert len(room) == 3
    message = Message("often " * 100)
    room.send(message)
    gevent.sleep(0)
    assert plain.received == message.encode(PLAIN)
    assert deflated.received == message.encode(DEFLATED)
    assert plain.received != deflated.received


def test_who_leaves_hears_no_more() -> None:
    member, other = Member(), Member(encoding=DEFLATED)
    room = room_of(member, other)
    room.send(Message("1"))
    room.discard(member)
    room.discard(member)
    room.discard(other)
    room.send(Message("2"))
    gevent.sleep(0)
    assert member.received == frames("1")
    assert len(room) == 0


def test_one_of_two_leaves() -> None:
    member, other = Member(), Member()
    room = room_of(member, other)
    room.discard(member)
    room.send(Message("1"))
    gevent.sleep(0)
    assert (member.received, other.received) == (b"", frames("1"))


def test_a_text_for_all_but_one() -> None:
    ann, bob = Member("ann"), Member("bob")
    room = room_of(ann, bob)
    room.send_text(b"first")
    room.send_text(b"from ann", exclude="ann")
    room.send_text(b"last")
    gevent.sleep(0)
    assert ann.received == frames("first", "last")
    assert bob.received == frames("first", "from ann", "last")


def test_a_slow_reader_gets_the_newest_instead() -> None:
    quick, slow = Member(), Member()
    slow.stalled = True
    room = room_of(quick, slow)
    room.send_text(b"change", newest=b"state")
    assert quick.taken == [(frames("change"), None)]
    assert slow.taken == [(frames("state"), room)]


def test_readers_are_counted() -> None:
    turn = Turn.current()
    before = turn.messages_out
    room = room_of(Member("ann"), Member("bob"), Member(encoding=DEFLATED))
    room.send(Message("1"))
    room.send(Message("2"))
    room.send_text(b"3", exclude="ann")
    gevent.sleep(0)
    assert turn.messages_out - before == 3 * 2 + 2


# Whatever happens to one of them


class Leaver(Reader):
    """What is done about it when it is too slow: it leaves its room at once."""

    room: Multicast

    def reader_too_slow(self) -> None:
        super().reader_too_slow()
        self.room.discard(self.outbox)


@pytest.fixture
def deaf(make_reader: MakeReader) -> Leaver:
    """A reader in a room, that reads nothing."""
    reader = make_reader(Leaver, max_outgoing_bytes=100)
    assert isinstance(reader, Leaver)
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    assert reader.outbox.stalled
    reader.room = Multicast()
    reader.room.add(reader.outbox)
    return reader


@pytest.mark.parametrize(
    "send",
    [
        lambda room, text: room.send(Message(text)),
        lambda room, text: room.send_text(text.encode(), exclude="nobody"),
    ],
)
def test_a_reader_that_is_too_slow_costs_the_others_nothing(
    deaf: Leaver, make_reader: MakeReader, send: Callable[[Multicast, str], None]
) -> None:
    """All of it in one turn: those behind it, and those in the next room."""
    other = make_reader()
    next_room = Multicast()
    deaf.room.add(other.outbox)
    next_room.add(other.outbox)
    text = "x" * 200
    send(deaf.room, text)
    next_room.send(Message("next"))
    eventually(lambda: deaf.said == ["too slow"])
    assert other.received == frames(text, "next")
    assert len(deaf.room) == 1


def test_readers_are_judged_when_all_have_got_theirs(deaf: Leaver) -> None:
    deaf.room.send(Message("x" * 200))
    Turn.current().settle()
    assert deaf.said == []
    eventually(lambda: deaf.said == ["too slow"])
