"""What a slow reader costs, on a transport that takes what it is told to."""

from __future__ import annotations

import gevent

from gateway.websocket import Message, Multicast
from gateway.websocket.turn import Turn
from tests.support import eventually
from tests.websocket.pipes import MakeReader, Reader, frames


def test_what_the_kernel_does_not_take_follows_in_order(reader: Reader) -> None:
    reader.pipe.room = 3
    reader.outbox.put(Message("abcdef"))
    gevent.sleep(0)
    assert reader.outbox.stalled
    reader.outbox.put(Message("g"))
    reader.pipe.room = 2
    eventually(lambda: len(reader.received) == 5)
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("abcdef", "g")
    assert reader.outbox.waiting_bytes == 0


def test_too_many_unread_bytes(make_reader: MakeReader) -> None:
    reader = make_reader(max_outgoing_bytes=100)
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    for _ in range(1000):
        reader.outbox.put(Message("x"))
    assert reader.said == []  # not in the midst of it
    gevent.sleep(0)
    assert reader.said == ["too slow"]


def test_what_is_being_read_is_not_held_against_its_reader(
    make_reader: MakeReader,
) -> None:
    """A message may be larger than what may wait; so may what joins it on its way."""
    reader = make_reader(max_outgoing_bytes=100)
    reader.pipe.room = 1
    reader.outbox.put(Message("x" * 200))
    reader.outbox.put(Message("y" * 200))
    gevent.sleep(0)
    reader.outbox.put_control(b"\x89\x00")
    reader.outbox.put_pong(b"\x8a\x00")
    reader.outbox.put(Message("z" * 90))
    gevent.sleep(0)
    assert reader.said == []
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received.startswith(frames("x" * 200, "y" * 200))


def test_a_reader_who_has_caught_up_is_not_judged(make_reader: MakeReader) -> None:
    reader = make_reader(max_outgoing_bytes=100)
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    for _ in range(2):
        reader.outbox.put(Message("x" * 200))
        reader.outbox.discard_unsent()
        gevent.sleep(0)
        assert reader.said == []
    reader.outbox.put(Message("x" * 200))
    gevent.sleep(0)
    assert reader.said == ["too slow"]


def test_a_reader_who_has_left_is_not_judged(make_reader: MakeReader) -> None:
    reader = make_reader(max_outgoing_bytes=100)
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    reader.outbox.put(Message("x" * 200))
    reader.outbox.close()
    gevent.sleep(0)
    assert reader.said == []


def test_no_progress_for_too_long(make_reader: MakeReader) -> None:
    reader = make_reader(write_timeout_s=0.02)
    reader.pipe.room = 0
    reader.outbox.put(Message("x"))
    eventually(lambda: reader.said == ["too slow"])


def test_progress_gives_more_time(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("x" * 10))
    gevent.sleep(0)
    backlog = reader.outbox._backlog
    assert backlog is not None
    due = backlog._timer.at
    reader.pipe.room = 1
    eventually(lambda: len(reader.received) == 1)
    assert backlog._timer.at > due
    assert backlog._timer.active


def test_a_keyed_frame_is_replaced_in_its_place(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    reader.outbox.take(frames("old price"), "price")
    reader.outbox.take(frames("news"))
    reader.outbox.take(frames("new price"), "price")
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("head", "new price", "news")


def test_a_slow_reader_of_states_gets_the_newest(reader: Reader) -> None:
    room = Multicast()
    room.add(reader.outbox)
    reader.pipe.room = 0
    room.send_text(b"change 1", newest=b"state 1")
    gevent.sleep(0)
    before = Turn.current().conflated
    for number in range(2, 5):
        room.send_text(b"change %d" % number, newest=b"state %d" % number)
    assert Turn.current().conflated == before + 2
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("change 1", "state 4")


def test_only_the_newest_pong_waits_for_a_peer_who_does_not_read(
    make_reader: MakeReader,
) -> None:
    reader = make_reader(max_outgoing_bytes=1000)
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    before = Turn.current().conflated
    for number in range(1000):
        reader.outbox.put_pong(b"\x8a\x02%02d" % (number % 100))
    assert Turn.current().conflated == before  # no message was
    reader.outbox.put(Message("next"))
    assert reader.outbox.waiting_bytes == len(frames("head", "next")) + 4
    assert reader.said == []
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("head") + b"\x8a\x0299" + frames("next")


def test_discarding_keeps_a_half_written_frame_whole(reader: Reader) -> None:
    reader.pipe.room = 3
    reader.outbox.put(Message("half written"))
    gevent.sleep(0)
    reader.outbox.put(Message("dropped"))
    reader.outbox.discard_unsent()
    reader.outbox.put(Message("last"))
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("half written", "last")


def test_a_backlog_is_offered_in_chunks(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("head"))
    gevent.sleep(0)
    texts = [str(number) * 9000 for number in range(20)]
    for text in texts:
        reader.outbox.put(Message(text))
    reader.pipe.room = None
    eventually(lambda: not reader.outbox.stalled)
    assert reader.received == frames("head", *texts)
    assert max(map(len, reader.pipe.sent)) < 80_000
