"""A crowd is written to a slice at a time, and still everybody hears all, in order."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from time import perf_counter

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.websocket import Message, Multicast
from gateway.websocket import turn as turn_module
from gateway.websocket.frames import DEFLATED, PLAIN, Encoding
from gateway.websocket.turn import Turn
from tests.support import eventually
from tests.websocket.pipes import MakeReader, Reader, frames

_CROWD = 100


class Ear:
    """A reader whose pieces can be looked at: an outbox without a socket."""

    encoding: Encoding = PLAIN
    owner_id = 0
    stalled = False

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def take(self, frames: bytes, key: Hashable = None) -> None:
        self.pieces.append(frames)

    def write(self, frames: bytes) -> None:
        _work()
        self.pieces.append(frames)

    @property
    def heard(self) -> bytes:
        return b"".join(self.pieces)


def _work() -> None:
    until = perf_counter() + 0.00002
    while perf_counter() < until:
        pass


@pytest.fixture(autouse=True)
def short_slices() -> Iterator[None]:
    """In each, some sixteen of a crowd are written to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn_module, "_SLICE_S", 0.0003)
        yield


def crowd_of(
    *last: Reader, first: Sequence[Reader] = ()
) -> tuple[Multicast, list[Ear]]:
    """A crowd, and those of its members who are ears."""
    room, ears = Multicast(), [Ear() for _ in range(_CROWD)]
    for reader in first:
        room.add(reader.outbox)
    for ear in ears:
        room.add(ear)
    for reader in last:
        room.add(reader.outbox)
    return room, ears


def finish() -> None:
    """Until all is written."""
    turn = Turn.current()
    eventually(lambda: not turn._large and not turn._log and not turn._scheduled)


def test_who_is_written_to_later_gets_more_at_once() -> None:
    room, ears = crowd_of()
    room.send(Message("1"))
    gevent.sleep(0)
    assert 0 < sum(map(bool, (ear.pieces for ear in ears))) < _CROWD
    room.send(Message("2"))
    room.send(Message("3"))
    finish()
    assert {ear.heard for ear in ears} == {frames("1", "2", "3")}
    assert ears[0].pieces == [frames("1"), frames("2", "3")]
    assert ears[-1].pieces == [frames("1", "2", "3")]
    assert ears[-1].pieces[0] is ears[-2].pieces[0]


def test_each_encoding_has_its_frames() -> None:
    room, ears = crowd_of()
    deflated = [Ear() for _ in range(_CROWD)]
    for ear in deflated:
        ear.encoding = DEFLATED
        room.add(ear)
    messages = [Message(letter * 200) for letter in "ab"]
    room.send(messages[0])
    gevent.sleep(0)
    room.send(messages[1])
    finish()
    for some, encoding in ((ears, PLAIN), (deflated, DEFLATED)):
        expected = b"".join(message.encode(encoding) for message in messages)
        assert {ear.heard for ear in some} == {expected}


def test_copies_are_counted() -> None:
    turn = Turn.current()
    before = turn.messages_out
    room, _ = crowd_of()
    room.send(Message("1"))
    gevent.sleep(0)
    room.send(Message("2"))
    finish()
    assert turn.messages_out - before == 2 * _CROWD


def test_what_is_sent_to_one_alone_comes_behind(make_reader: MakeReader) -> None:
    reader = make_reader()
    room, ears = crowd_of(reader)
    room.send(Message("1"))
    gevent.sleep(0)
    assert reader.received == b""
    reader.outbox.put(Message("2"))
    room.send(Message("3"))
    finish()
    assert reader.received == frames("1", "2", "3")
    assert {ear.heard for ear in ears} == {frames("1", "3")}


def test_what_is_queued_comes_before(make_reader: MakeReader) -> None:
    readers = [make_reader() for _ in range(_CROWD)]
    room, _ = crowd_of(first=readers)
    for reader in readers:
        reader.outbox.put(Message("1"))
    room.send(Message("2"))
    finish()
    assert {reader.received for reader in readers} == {frames("1", "2")}


def test_who_leaves_has_heard_all_until_then(make_reader: MakeReader) -> None:
    reader, late = make_reader(), make_reader()
    room, ears = crowd_of(reader)
    room.send(Message("1"))
    gevent.sleep(0)
    room.discard(reader.outbox)
    room.add(late.outbox)
    room.send(Message("2"))
    finish()
    assert reader.received == frames("1")
    assert late.received == frames("2")
    assert {ear.heard for ear in ears} == {frames("1", "2")}


def test_two_crowds_with_a_member_in_common(make_reader: MakeReader) -> None:
    reader = make_reader()
    one, ears = crowd_of(reader)
    two, others = crowd_of(reader)
    one.send(Message("1"))
    gevent.sleep(0)
    two.send(Message("2"))
    gevent.sleep(0)
    one.send(Message("3"))
    finish()
    assert reader.received == frames("1", "2", "3")
    assert {ear.heard for ear in ears} == {frames("1", "3")}
    assert {ear.heard for ear in others} == {frames("2")}


class Leaver(Reader):
    """It leaves as soon as it is known to be broken, and the others hear of it."""

    room: Multicast

    def write_failed(self, error: OSError) -> None:
        super().write_failed(error)
        self.outbox.close()
        self.room.send(Message("it goes"))
        self.room.discard(self.outbox)


def test_a_member_that_is_broken_costs_the_others_nothing() -> None:
    broken = Leaver()
    broken.pipe.error = ConnectionResetError("reset")
    room, ears = crowd_of(first=[broken])
    broken.room = room
    room.send(Message("1"))
    finish()
    broken.pipe.close()
    assert broken.said == ["failed: reset"]
    assert {ear.heard for ear in ears} == {frames("1", "it goes")}


def test_what_the_kernel_does_not_take_is_written_before_what_follows(
    make_reader: MakeReader,
) -> None:
    readers = [make_reader() for _ in range(_CROWD)]
    room, _ = crowd_of(first=readers)
    for reader in readers:
        reader.pipe.room = 5
    room.send(Message("first"))
    finish()
    assert all(reader.outbox.stalled for reader in readers)

    def before_the_loop_sees_that_there_is_room() -> None:
        for reader in readers:
            reader.pipe.room = None
        room.send(Message("second"))

    gevent.get_hub().loop.run_callback(before_the_loop_sees_that_there_is_room)
    eventually(lambda: not any(reader.outbox.stalled for reader in readers))
    finish()
    assert {reader.received for reader in readers} == {frames("first", "second")}


def test_nothing_follows_a_close_frame(make_reader: MakeReader) -> None:
    reader = make_reader()
    room, _ = crowd_of(reader)
    reader.outbox.put_control(b"\x88\x00")
    reader.outbox.seal()
    room.send(Message("too late"))
    finish()
    assert reader.received == b"\x88\x00"


class Buggy(Ear):
    """One that fails as nothing should."""

    def write(self, frames: bytes) -> None:
        raise RuntimeError("a bug")


class Unspeakable(Message):
    """One that cannot be framed."""

    def encode(self, encoding: Encoding) -> bytes:
        raise RuntimeError("a bug")


def test_a_bug_stops_neither_the_round_nor_those_to_come(
    make_reader: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *_: None)
    buggy, room = Buggy(), Multicast()
    room.add(buggy)
    ears = [Ear() for _ in range(_CROWD)]
    for ear in ears:
        room.add(ear)
    room.send(Message("1"))
    finish()
    room.discard(buggy)
    room.send(Unspeakable("2"))
    gevent.sleep(0)
    room.send(Message("3"))
    finish()
    assert {ear.heard for ear in ears[16:]} == {frames("1", "3")}


Steps = st.lists(
    st.sampled_from(("one", "two", "put", "join", "leave", "pass", "pass")),
    min_size=1,
    max_size=30,
)


@given(Steps)
def test_whatever_happens_everybody_hears_all_in_order(steps: list[str]) -> None:
    """``watched`` members come and go, and are spoken to; both crowds are theirs."""
    watched = [Reader() for _ in range(3)]
    one, ears = crowd_of(*watched)
    two, others = crowd_of(*watched)
    members = list(watched)
    expected: dict[Ear | Reader, list[str]] = {}
    for number, step in enumerate(steps):
        text = str(number)
        if step in ("one", "two"):
            room, theirs = (one, ears) if step == "one" else (two, others)
            room.send(Message(text))
            for each in (*theirs, *members):
                expected.setdefault(each, []).append(text)
        elif step == "put":
            watched[0].outbox.put(Message(text))
            expected.setdefault(watched[0], []).append(text)
        elif step == "join" and len(members) < len(watched):
            back = next(each for each in watched if each not in members)
            members.append(back)
            for room in (one, two):
                room.add(back.outbox)
        elif step == "leave" and members:
            gone = members.pop(0)
            for room in (one, two):
                room.discard(gone.outbox)
        elif step == "pass":
            gevent.sleep(0.00001)  # slices are a timer's
    finish()
    for ear in (*ears, *others):
        assert ear.heard == frames(*expected.get(ear, []))
    for reader in watched:
        reader.pipe.close()
        assert reader.received == frames(*expected.get(reader, []))
