"""The hub mends what the broker loses on the way, and says what cannot be mended."""

from __future__ import annotations

import contextlib
from typing import Any

import gevent
import pytest
from gevent import Greenlet, GreenletExit

from gateway.cable.history import HistoryLost, Position
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from tests.cable.conftest import Healing, Wire, identify


def offsets(wire: Wire) -> list[Any]:
    """The messages' offsets, and the types of other frames, since the last time."""
    return [frame.get("offset") or frame["type"] for frame in wire.take()]


def said(wire: Wire) -> list[Any]:
    """The messages since the last time."""
    return [frame["message"] for frame in wire.take() if "message" in frame]


def test_a_gap_is_read_back_before_anything_newer(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2, 3)
    healing.broker.say("s", 4, 5)
    assert offsets(reader) == [1]
    healing.settle()
    assert offsets(reader) == [2, 3, 4, 5]
    assert healing.hub.healed == 4  # 4 and 5 were kept by then, too
    healing.broker.say("s", 6)
    assert offsets(reader) == [6]
    assert healing.hub.lost == healing.hub.refused == 0


def test_a_message_that_comes_twice_is_told_once(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1, 2)
    recall = healing.broker.recall("s")
    assert recall is not None
    for publication in recall.kept:
        healing.broker.deliver("s", publication)
    assert offsets(reader) == [1, 2]


def test_what_is_not_kept_any_longer_is_said_to_be_lost() -> None:
    """What is kept is told all the same: it is new to all who listen."""
    healing = Healing(kept=3)
    reader, plain = healing.reader(), healing.reader(extended=False)
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2, 3, 4, 5)
    healing.broker.say("s", 6)
    healing.settle()
    assert offsets(reader) == [1, "reject_history", 4, 5, 6]
    healing.broker.say("s", 7)
    assert offsets(reader) == [7]
    assert (healing.hub.lost, healing.hub.refused) == (1, 1)
    assert said(plain) == [1, 4, 5, 6, 7]


def test_a_store_that_has_lost_everything(healing: Healing) -> None:
    """The first messages of a new life are nobody's duplicates."""
    reader, plain = healing.reader(), healing.reader(extended=False)
    healing.broker.say("s", 1, 2)
    healing.broker.flush("s")
    healing.broker.lose("s", 3)
    healing.broker.say("s", 4)
    healing.settle()
    assert offsets(reader) == [1, 2, "reject_history", 1, 2]
    healing.broker.say("s", 5)
    assert offsets(reader) == [3]  # the third of a new life
    assert said(plain) == [1, 2, 3, 4, 5]


def test_a_store_that_has_gone_back_begins_another_life(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1, 2, 3)
    before = healing.stream.position
    healing.broker.go_back("s", 2)
    healing.hub.resume(["s"])
    after = healing.stream.position
    assert before is not None
    assert after is not None
    assert before.epoch != after.epoch
    healing.settle()
    assert offsets(reader) == [1, 2, 3, "reject_history"]
    healing.broker.say("s", 4)
    assert offsets(reader) == [1]


@pytest.mark.parametrize("more", [1, 2, 3, 4])
def test_a_store_that_has_gone_back_and_caught_up(healing: Healing, more: int) -> None:
    """It gives the same offsets to other messages, as if nothing had been."""
    reader, plain = healing.reader(), healing.reader(extended=False)
    healing.broker.say("s", 1, 2, 3)
    before = healing.stream.position
    assert before is not None
    healing.broker.go_back("s", 2)
    healing.broker.lose("s", *range(10, 10 + more))
    healing.hub.resume(["s"])
    healing.settle()
    healing.broker.say("s", 99)
    assert said(plain) == [1, 2, 3, *range(10, 10 + more), 99]
    frames = reader.take()
    assert [frame.get("offset") for frame in frames[:4]] == [1, 2, 3, None]
    assert frames[3]["type"] == "reject_history"
    assert (frames[-1]["message"], frames[-1]["offset"]) == (99, 1)
    assert frames[-1]["epoch"] != before.epoch
    assert healing.hub.lost == 1


@pytest.mark.parametrize("more", [1, 2, 3])
def test_a_store_that_has_gone_back_is_heard_before_anybody_says_so(
    healing: Healing, more: int
) -> None:
    """What comes under an offset that was another message's is not a duplicate."""
    plain = healing.reader(extended=False)
    healing.broker.say("s", 1, 2, 3)
    healing.broker.go_back("s", 2)
    healing.broker.say("s", *range(10, 10 + more))
    healing.settle()
    healing.hub.resume(["s"])
    healing.settle()
    assert said(plain) == [1, 2, 3, *range(10, 10 + more)]
    assert healing.hub.lost == 1


def test_what_came_of_a_life_that_ended_meanwhile_is_told(healing: Healing) -> None:
    """It is told without a place, and does not make us ask for ever."""
    reader, plain = healing.reader(), healing.reader(extended=False)
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.say("s", 3)  # shows the gap; before it is read back,
    healing.broker.flush("s")
    healing.settle()
    frames = reader.take()
    assert [frame.get("type") for frame in frames] == [None, "reject_history", None]
    assert frames[2] == {"identifier": identify("C"), "message": 3}
    assert healing.broker.recalled == 2  # once when it was opened
    healing.broker.say("s", 4)
    assert offsets(reader) == [1]
    assert said(plain) == [1, 3, 4]


def test_an_offset_that_the_store_does_not_know_of_shows_that_it_has_gone_back(
    healing: Healing,
) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1)
    position = healing.stream.position
    assert position is not None
    healing.broker.deliver("s", Publication(b"0", epoch=position.epoch, offset=9))
    healing.settle()
    healing.broker.say("s", 2)
    frames = reader.take()
    assert [frame.get("message") for frame in frames] == [1, None, 0, 2]
    assert [frame.get("offset") for frame in frames] == [1, None, None, 1]


def test_a_store_that_goes_back_while_it_is_asked(healing: Healing) -> None:
    plain = healing.reader(extended=False)
    healing.broker.say("s", 1, 2, 3)
    healing.broker.go_back("s", 1)

    def published_before_its_life_was_ended() -> None:
        healing.broker.say("s", 4)

    healing.broker.while_asked = [published_before_its_life_was_ended]
    healing.hub.resume(["s"])
    healing.settle()
    assert said(plain) == [1, 2, 3, 4]


def test_what_comes_while_the_store_is_asked_waits_for_the_answer(
    healing: Healing,
) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.say("s", 3)
    healing.broker.while_asked = [lambda: healing.broker.say("s", 4, 5)]
    healing.settle()
    assert offsets(reader) == [1, 2, 3, 4, 5]


def test_a_new_life_that_begins_while_the_store_is_asked(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.say("s", 3)

    def begin() -> None:
        healing.broker.flush("s")
        healing.broker.say("s", 4)

    healing.broker.while_asked = [begin]
    healing.settle()
    assert offsets(reader) == [1, 2, 3, "reject_history", 1]


def test_it_asks_until_the_broker_is_back(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.away = True
    healing.hub.resume(["s"])
    healing.settle()
    healing.clock.advance(10)
    healing.settle()
    assert offsets(reader) == [1]
    healing.broker.away = False
    healing.clock.advance(1)
    healing.settle()
    assert offsets(reader) == [2]


def test_a_stream_that_nobody_reads_any_longer_is_not_asked_for(
    healing: Healing,
) -> None:
    healing.reader()
    healing.broker.away = True
    healing.hub.resume(["s"])
    healing.hub.release(healing.hub.streams["s"])
    healing.broker.away = False
    healing.clock.advance(1)
    healing.settle()
    assert healing.broker.recalled == 1


def spawn_readers(healing: Healing, number: int = 3) -> list[Greenlet[[], Wire]]:
    """They open the stream; returns as soon as they wait."""
    readers = [gevent.spawn(healing.reader) for _ in range(number)]
    gevent.sleep()
    return readers


def test_a_stream_that_many_open_at_once_is_read_for_all_of_them_once(
    healing: Healing,
) -> None:
    readers: list[Greenlet[[], Wire]] = []

    def meanwhile() -> None:
        readers.extend(spawn_readers(healing))
        healing.broker.say("s", 1, 2)

    healing.broker.while_asked = [meanwhile]
    first = healing.reader()
    wires = [first, *(reader.get() for reader in readers)]
    assert healing.broker.recalled == 1
    assert healing.stream.position is not None
    assert healing.stream.position.offset == 2
    healing.broker.say("s", 3)
    assert [offsets(wire) for wire in wires] == [[3]] * 4
    assert healing.hub.lost == 0


def test_who_waits_for_the_first_reading_fails_with_it(healing: Healing) -> None:
    readers: list[Greenlet[[], Wire]] = []
    healing.broker.broken["s"] = PubSubError("it does not answer")
    healing.broker.while_asked = [lambda: readers.extend(spawn_readers(healing))]
    with pytest.raises(PubSubError, match="does not answer"):
        healing.reader()
    for reader in readers:
        with pytest.raises(PubSubError, match="does not answer"):
            reader.get()
    assert healing.broker.recalled == 1
    assert healing.hub.streams == {}
    del healing.broker.broken["s"]
    healing.reader()


def test_another_reads_on_for_one_who_leaves_while_it_reads(healing: Healing) -> None:
    readers: list[Greenlet[[], Wire]] = []

    def leave() -> None:
        readers.extend(spawn_readers(healing))
        raise GreenletExit

    healing.broker.while_asked = [leave]
    with pytest.raises(GreenletExit):
        healing.reader()
    wires = [reader.get() for reader in readers]
    healing.broker.say("s", 1)
    assert [offsets(wire) for wire in wires] == [[1]] * 3
    assert healing.broker.recalled == 2


def catch_up(healing: Healing, position: Position) -> None:
    """As for somebody who has just come."""
    healing.clock.advance(1)
    healing.hub.catch_up(healing.stream, position, healing.clock.now())


def test_who_has_been_further_elsewhere_waits_for_us_to_catch_up(
    healing: Healing,
) -> None:
    reader = healing.reader()
    healing.broker.lose("s", 1, 2, 3)
    there = healing.broker.position("s")
    catch_up(healing, there)
    assert offsets(reader) == [1, 2, 3]
    assert healing.stream.missed(there) == []


def test_while_somebody_reads_the_past_others_come_again(healing: Healing) -> None:
    healing.reader()
    healing.broker.lose("s", 1)
    there = healing.broker.position("s")
    errors: list[PubSubError] = []

    def meanwhile() -> None:
        with pytest.raises(PubSubError, match="being read") as error:
            catch_up(healing, there)
        errors.append(error.value)

    healing.broker.while_asked = [meanwhile]
    catch_up(healing, there)
    assert errors
    assert healing.stream.position == there


def test_a_gap_that_is_found_meanwhile_is_read_back_first(healing: Healing) -> None:
    """Then what we were answered may be older than the gap."""
    reader = healing.reader()
    healing.broker.lose("s", 1)
    there = healing.broker.position("s")

    def cut() -> None:
        healing.broker.lose("s", 2)
        healing.hub.resume(["s"])

    healing.broker.while_asked = [cut]
    catch_up(healing, there)
    assert offsets(reader) == [1, 2]


def test_catching_up_without_a_broker_goes_on_later(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.lose("s", 1)
    there = healing.broker.position("s")
    healing.broker.away = True
    for _ in range(2):
        with pytest.raises(PubSubError):
            catch_up(healing, there)
    healing.broker.away = False
    healing.clock.advance(5)
    assert len(healing.due) == 1  # however many have asked
    healing.settle()
    assert offsets(reader) == [1]


def test_an_offset_of_the_future_is_lost(healing: Healing) -> None:
    healing.reader()
    healing.broker.say("s", 1)
    epoch, offset = healing.broker.position("s")
    future = Position(epoch, offset + 10**18)
    catch_up(healing, future)
    with pytest.raises(HistoryLost, match="not come yet"):
        healing.stream.missed(future)


def test_places_that_nobody_gave_out_make_us_ask_seldom(healing: Healing) -> None:
    healing.reader()
    before = healing.broker.recalled
    for _ in range(100):
        healing.clock.advance(0.01)
        with contextlib.suppress(PubSubError):
            now = healing.clock.now()
            healing.hub.catch_up(healing.stream, Position("never", 1), now)
    assert healing.broker.recalled - before <= 11  # in a second
    asked_at = healing.clock.now()
    healing.clock.advance(1)
    catch_up(healing, Position("never", 1))
    # Whoever asked before that needs no other answer.
    healing.hub.catch_up(healing.stream, Position("never", 1), asked_at)


def test_events_that_are_not_kept_wait_in_line_too(healing: Healing) -> None:
    reader = healing.reader()
    healing.broker.lose("s", 1)
    healing.broker.say("s", 2)
    healing.broker.publish("s", Publication(b'"whispered"', transient=True))
    healing.settle()
    assert said(reader) == [1, 2, "whispered"]


def test_a_stream_without_history_has_no_gaps() -> None:
    healing = Healing(kept=0)
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.say("s", 3)
    healing.hub.resume(["s"])
    assert said(reader) == [1, 3]
    assert healing.stream.since(0.0) == []
    assert healing.stream.start is None
    with pytest.raises(HistoryLost, match="no history"):
        healing.stream.missed(Position("e", 1))


def test_an_offset_where_none_is_kept_here_is_passed_on() -> None:
    """Another program may think that the stream has a history."""
    healing = Healing(kept=0)
    reader = healing.reader()
    healing.broker.deliver("s", Publication(b"1", epoch="e", offset=7))
    assert offsets(reader) == [7]


# When it cannot be read.


def lag(healing: Healing, *streams: str) -> list[Wire]:
    """Readers of some streams, each with a gap that has been noticed."""
    readers = [healing.reader(stream) for stream in streams]
    for stream in streams:
        healing.broker.lose(stream, 1)
        healing.broker.say(stream, 2)
    return readers


def wait(healing: Healing, seconds: float) -> None:
    """Let time pass, in small steps, and what is due happen."""
    for _ in range(round(seconds * 20)):
        healing.clock.advance(0.05)
        healing.settle()


def test_many_gaps_are_read_back_one_after_the_other(healing: Healing) -> None:
    readers = lag(healing, "s", "t", "u")
    assert len(healing.due) == 1
    healing.settle()
    assert [said(reader) for reader in readers] == [[1, 2]] * 3


def test_while_the_broker_is_away_it_is_asked_more_and_more_seldom(
    healing: Healing,
) -> None:
    """However many streams wait: it is the same broker."""
    names = [f"s{n}" for n in range(100)]
    readers = lag(healing, *names)
    healing.broker.away = True
    before = healing.broker.asked
    healing.settle()
    wait(healing, 60)
    assert 25 < healing.broker.asked - before < 40
    healing.broker.away = False
    healing.hub.resume(names)  # that it is back is heard at once
    assert [said(reader) for reader in readers] == [[1, 2]] * 100
    asked = healing.broker.asked
    wait(healing, 10)
    assert healing.broker.asked == asked
    healing.broker.away = True
    healing.hub.resume(["s0"])
    wait(healing, 0.5)  # the next time it is asked soon again
    assert healing.broker.asked == asked + 2


def test_one_that_cannot_be_read_does_not_keep_others_from_it(
    healing: Healing, caplog: pytest.LogCaptureFixture
) -> None:
    odd, other = lag(healing, "odd", "other")
    healing.broker.broken = {"odd": ValueError("on purpose")}
    healing.settle()
    wait(healing, 1)
    assert "on purpose" in caplog.text
    assert (said(odd), said(other)) == ([], [1, 2])
    healing.broker.broken = {}
    wait(healing, 5)
    assert said(odd) == [1, 2]


def test_more_than_is_kept_is_not_waited_for(healing: Healing) -> None:
    """By then what was missed is gone. The past begins anew with what has come."""
    reader, plain = healing.reader(), healing.reader(extended=False)
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.broken = {"s": ValueError("on purpose")}
    healing.broker.say("s", 3)
    healing.broker.publish("s", Publication(b'"whispered"', transient=True))
    healing.broker.say("s", *range(4, 104))
    healing.settle()
    assert said(plain) == [1, 3, "whispered", *range(4, 104)]
    frames = reader.take()
    assert frames[1]["type"] == "reject_history"
    assert [frame.get("offset") for frame in frames[2:5]] == [3, None, 4]
    assert (healing.hub.lost, healing.hub.refused) == (1, 1)
    assert healing.stream.position == healing.broker.position("s")
    epoch, _ = healing.broker.position("s")
    assert len(healing.stream.missed(Position(epoch, 50))) == 53
    with pytest.raises(HistoryLost, match="not kept"):
        healing.stream.missed(Position(epoch, 1))
    healing.broker.broken = {}
    wait(healing, 5)
    healing.broker.say("s", 104)
    assert said(plain) == [104]


def test_what_came_meanwhile_is_told_though_it_is_not_kept() -> None:
    healing = Healing(kept=3)
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.say("s", *range(3, 9))
    healing.settle()
    assert offsets(reader) == [1, "reject_history", *range(3, 9)]


def test_each_gap_is_told_where_it_is() -> None:
    healing = Healing(kept=3)
    reader = healing.reader()
    healing.broker.lose("s", 1)
    healing.broker.say("s", 2)
    healing.broker.lose("s", *range(3, 9))
    healing.settle()
    told = ["reject_history", 2, "reject_history", 6, 7, 8]
    assert offsets(reader) == told
    assert healing.hub.lost == 2


def test_what_came_meanwhile_may_be_all_there_was() -> None:
    """Nothing was lost when the connection broke, and then came more than is kept."""
    healing = Healing(kept=3)
    reader = healing.reader()
    healing.broker.say("s", 1)
    healing.broker.away = True
    healing.hub.resume(["s"])
    healing.broker.say("s", *range(2, 20))
    healing.broker.away = False
    wait(healing, 5)
    assert offsets(reader) == [*range(1, 20)]
    healing.broker.away = True
    healing.hub.resume(["s"])
    healing.broker.say("s", *range(20, 140))  # so much that it is not waited for
    assert offsets(reader) == [*range(20, 140)]
    assert healing.hub.lost == 0


def test_another_life_while_it_cannot_be_read(healing: Healing) -> None:
    plain = healing.reader(extended=False)
    healing.broker.say("s", 1)
    healing.broker.lose("s", 2)
    healing.broker.broken = {"s": ValueError("on purpose")}
    healing.broker.say("s", 3)
    healing.broker.deliver("s", healing.broker.kept("s")[0])  # comes twice
    healing.broker.flush("s")
    healing.broker.say("s", *range(4, 103))
    assert said(plain) == [1, 3, *range(4, 103)]
    assert healing.stream.position == healing.broker.position("s")


def test_more_may_come_before_a_stream_is_open(healing: Healing) -> None:
    def storm() -> None:
        healing.broker.say("s", *range(200))

    healing.broker.while_asked = [storm]
    reader = healing.reader()
    healing.broker.say("s", 200)
    assert said(reader) == [200]
    assert healing.hub.lost == 0


def test_a_gap_before_a_stream_is_open(healing: Healing) -> None:
    """The connection to the broker breaks before its answer is here."""

    def cut() -> None:
        healing.broker.lose("s", 1)
        healing.hub.resume(["s"])

    healing.broker.while_asked = [cut]
    healing.reader()
    assert healing.stream.position == healing.broker.position("s")


def test_a_gap_while_a_life_is_ended(healing: Healing) -> None:
    """The answer for the new life may be older than the gap, too."""
    plain = healing.reader(extended=False)
    healing.broker.say("s", 1, 2)
    healing.broker.go_back("s", 1)

    def cut() -> None:
        healing.broker.lose("s", 3)
        healing.hub.resume(["s"])

    healing.broker.while_asked = [lambda: None, cut]
    healing.hub.resume(["s"])
    healing.settle()
    assert said(plain) == [1, 2, 3]


def test_gaps_that_are_found_while_a_retry_waits_for_its_turn(
    healing: Healing,
) -> None:
    readers = lag(healing, "s")
    healing.broker.away = True
    healing.settle()
    healing.broker.away = False
    healing.clock.advance(1)
    readers += lag(healing, "t")
    assert len(healing.due) == 1
    healing.settle()
    assert [said(reader) for reader in readers] == [[1, 2]] * 2


def test_a_retry_that_is_due_while_the_past_is_read(healing: Healing) -> None:
    readers = lag(healing, "s", "t")
    healing.broker.away = True
    healing.settle()
    healing.broker.away = False
    healing.broker.while_asked = [lambda: healing.clock.advance(1)]
    healing.hub.resume(["s"])
    assert healing.due == []
    assert [said(reader) for reader in readers] == [[1, 2]] * 2


def test_a_stream_that_cannot_be_read_is_not_open(healing: Healing) -> None:
    healing.broker.broken = {"s": ValueError("on purpose")}
    with pytest.raises(ValueError, match="on purpose"):
        healing.hub.open("s")
    assert healing.hub.streams == {}


def test_who_comes_and_goes_meanwhile_is_told_in_line(healing: Healing) -> None:
    reader = healing.reader(presence=True)
    event = Publication(b'{"type":"leave","id":"a"}', transient=True, presence=True)
    healing.broker.lose("s", 1)
    healing.broker.say("s", 2)
    healing.broker.publish("s", event)
    healing.settle()
    assert offsets(reader) == [1, 2, "presence"]
    healing.broker.lose("s", 3)
    healing.broker.broken = {"s": ValueError("on purpose")}
    healing.broker.say("s", 4)
    healing.broker.publish("s", event)
    healing.broker.say("s", *range(100))
    assert offsets(reader)[:3] == ["reject_history", 4, "presence"]


# Who is not to hear it.


def test_who_is_left_out_is_left_out_of_what_is_read_back(healing: Healing) -> None:
    reader, other = healing.reader(), healing.reader()
    healing.broker.publish("s", Publication(b"1", exclude=reader.id))
    healing.broker.deaf = True
    healing.broker.publish("s", Publication(b"2", exclude=reader.id))
    healing.broker.deaf = False
    healing.broker.say("s", 3)
    healing.settle()
    assert (said(reader), said(other)) == ([3], [1, 2, 3])


def test_audiences_know_connections_by_other_names() -> None:
    healing = Healing(name_here=lambda name: f"wire-{name}")
    reader, other = healing.reader(), healing.reader()
    name = reader.id.removeprefix("wire-")
    healing.broker.publish("s", Publication(b"1", exclude=name))
    assert (said(reader), said(other)) == ([], [1])
    assert [each.exclude for each in healing.stream.since(0.0)] == [name]
