"""Order, coalescing, back-pressure and fairness, on a transport that records."""

from __future__ import annotations

from time import perf_counter

import gevent
import pytest

from gateway.websocket import Message, Multicast
from gateway.websocket.outbox import Turn
from tests.support import eventually
from tests.websocket.pipes import MakeReader, Pipe, Reader, frames


@pytest.fixture
def reader(make_reader: MakeReader) -> Reader:
    return make_reader()


def test_one_write_per_turn(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.put_control(b"\x89\x00")
    reader.outbox.put(Message("b"))
    assert reader.pipe.sent == []
    gevent.sleep(0)
    assert reader.pipe.sent == [frames("a") + b"\x89\x00" + frames("b")]


def test_a_client_on_twenty_streams_gets_one_write(reader: Reader) -> None:
    streams = [Multicast() for _ in range(20)]
    for number, stream in enumerate(streams):
        stream.add(reader.outbox)
        stream.send(Message(str(number)))
    gevent.sleep(0)
    assert reader.pipe.sent == [frames(*map(str, range(20)))]


def test_order_across_streams_and_direct_messages(reader: Reader) -> None:
    one, two = Multicast(), Multicast()
    one.add(reader.outbox)
    two.add(reader.outbox)
    one.send(Message("1"))
    two.send(Message("2"))
    reader.outbox.put(Message("3"))
    one.send(Message("4"))
    one.send(Message("5"))
    gevent.sleep(0)
    assert reader.received == frames("1", "2", "3", "4", "5")


def test_a_member_gets_what_is_sent_while_it_is_one(reader: Reader) -> None:
    room = Multicast()
    room.send(Message("before"))
    room.add(reader.outbox)
    room.send(Message("within"))
    room.discard(reader.outbox)
    room.send(Message("after"))
    gevent.sleep(0)
    assert reader.received == frames("within")
    assert len(room) == 0


def test_readers_of_a_stream_share_one_joined_piece_of_bytes(
    make_reader: MakeReader,
) -> None:
    readers = [make_reader() for _ in range(3)]
    room = Multicast()
    for each in readers:
        room.add(each.outbox)
    room.send(Message("a"))
    room.send(Message("b"))
    Turn.current().settle()
    pieces = {id(each.outbox._queue[0]) for each in readers}
    assert len(pieces) == 1
    gevent.sleep(0)
    assert [each.received for each in readers] == [frames("a", "b")] * 3


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


def test_discarding_what_was_not_offered_yet(reader: Reader) -> None:
    reader.outbox.put(Message("dropped"))
    reader.outbox.discard_unsent()
    gevent.sleep(0)
    assert reader.received == b""


def test_nothing_follows_a_seal(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.seal()
    reader.outbox.put(Message("b"))
    gevent.sleep(0)
    assert reader.received == frames("a")


def test_notification_when_all_is_written(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == ["emptied"]
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == ["emptied"] * 2


def test_notification_behind_a_backlog(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("a"))
    reader.outbox.notify_when_empty()
    gevent.sleep(0)
    assert reader.said == []
    reader.pipe.room = None
    eventually(lambda: reader.said == ["emptied"])


def test_a_broken_connection(reader: Reader) -> None:
    reader.pipe.error = BrokenPipeError("gone")
    reader.outbox.put(Message("a"))
    gevent.sleep(0)
    assert reader.said == ["failed: gone"]


def test_a_connection_that_breaks_with_a_backlog(reader: Reader) -> None:
    reader.pipe.room = 0
    reader.outbox.put(Message("a"))
    gevent.sleep(0)
    reader.pipe.error = ConnectionResetError("reset")
    eventually(lambda: reader.said[:1] == ["failed: reset"])


def test_a_closed_outbox_takes_nothing(reader: Reader) -> None:
    reader.outbox.put(Message("a"))
    reader.outbox.close()
    reader.outbox.put(Message("b"))
    gevent.sleep(0)
    assert reader.received == b""


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


def test_a_small_batch_overtakes_a_large_one(make_reader: MakeReader) -> None:
    """While many readers are written to in slices, an echo does not wait for them."""
    crowd, single = [make_reader() for _ in range(300)], make_reader()
    room = Multicast()
    log: list[str] = []
    for each in crowd:
        room.add(each.outbox)
        each.pipe.send = lambda data: _slowly(log, "crowd", len(data))  # type: ignore
    single.pipe.send = lambda data: _slowly(log, "single", len(data))  # type: ignore
    room.send(Message("to all"))
    gevent.sleep(0)  # the first slice is over
    assert len(log) < 300
    single.outbox.put(Message("echo"))
    eventually(lambda: len(log) == 301)
    assert log.index("single") < 250


def _slowly(log: list[str], who: str, size: int) -> int:
    until = perf_counter() + 0.0002
    while perf_counter() < until:
        pass
    log.append(who)
    return size


def test_other_sockets_are_served_between_the_slices_of_a_large_batch(
    make_reader: MakeReader,
) -> None:
    """Whoever has sent us something is heard, and timers run."""
    crowd, other = [make_reader() for _ in range(300)], Pipe()
    room = Multicast()
    log: list[str] = []
    for each in crowd:
        room.add(each.outbox)
        each.pipe.send = lambda data: _slowly(log, "crowd", len(data))  # type: ignore
    watcher = gevent.get_hub().loop.io(other.fileno(), 1)
    watcher.start(lambda: (watcher.stop(), log.append("heard")))
    other.far.send(b"hello")
    room.send(Message("to all"))
    eventually(lambda: len(log) == 301)
    watcher.close()
    other.close()
    assert log.index("heard") < 250


def test_counters(reader: Reader) -> None:
    turn = Turn.current()
    before = turn.messages_out, turn.writes
    room = Multicast()
    room.add(reader.outbox)
    room.send(Message("a"))
    room.send(Message("b"))
    gevent.sleep(0)
    assert (turn.messages_out - before[0], turn.writes - before[1]) == (2, 1)
