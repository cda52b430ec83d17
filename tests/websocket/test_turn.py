"""Order, coalescing and fairness, on a transport that records."""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter

import gevent

from gateway.websocket import Message, Multicast
from gateway.websocket.frames import PLAIN
from gateway.websocket.turn import Turn
from tests.support import eventually
from tests.websocket.pipes import MakeReader, Pipe, Reader, frames


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
    pieces = {id(each.outbox._queue) for each in readers}
    assert len(pieces) == 1
    gevent.sleep(0)
    assert [each.received for each in readers] == [frames("a", "b")] * 3


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


class Ponderous:
    """Takes its time to take what is dealt out to it."""

    encoding = PLAIN
    owner_id = 0
    stalled = False

    def take(self, frames: bytes, key: Hashable = None) -> None:
        _slowly([], "taken", 0)


def test_other_sockets_are_served_when_much_has_been_dealt_out(
    make_reader: MakeReader,
) -> None:
    """Before the first is written to."""
    crowd, other = [make_reader() for _ in range(100)], Pipe()
    room, second = Multicast(), Multicast()  # of two, none goes round
    log: list[str] = []
    for each in crowd:
        room.add(each.outbox)
        room.add(Ponderous())
        each.pipe.send = lambda data: _slowly(log, "crowd", len(data))  # type: ignore
    watcher = gevent.get_hub().loop.io(other.fileno(), 1)
    watcher.start(lambda: (watcher.stop(), log.append("heard")))
    other.far.send(b"hello")
    room.send(Message("to all"))
    second.send(Message("to nobody"))
    eventually(lambda: len(log) == 101)
    watcher.close()
    other.close()
    assert log[0] == "heard"


def test_counters(reader: Reader) -> None:
    turn = Turn.current()
    before = turn.messages_out, turn.writes
    room = Multicast()
    room.add(reader.outbox)
    room.send(Message("a"))
    room.send(Message("b"))
    gevent.sleep(0)
    assert (turn.messages_out - before[0], turn.writes - before[1]) == (2, 1)
