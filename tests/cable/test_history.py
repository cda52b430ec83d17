"""The recent past in a ring, and how much of each stream is kept."""

from __future__ import annotations

import pytest

from gateway.cable.history import (
    HistoryLost,
    Position,
    Retention,
    Retentions,
    Ring,
)
from gateway.cable.publication import Publication


def test_the_first_pattern_that_fits_says_how_much_is_kept() -> None:
    patterns = {"a*": Retention(1), "ab*": Retention(2), "c": Retention(0)}
    retentions = Retentions(Retention(9), patterns)
    kept = [retentions.of(name).messages for name in ("abc", "c", "cd")]
    assert kept == [1, 0, 9]
    assert not retentions.of("c").is_kept
    assert Retentions(Retention(9)).of("abc").is_kept


def publication(offset: int, *, epoch: str = "e", time: float = 0.0) -> Publication:
    return Publication(b"%d" % offset, epoch=epoch, offset=offset, time=time)


def ring(*times: float, messages: int = 3, seconds: float = 60.0) -> Ring:
    """A ring that has seen messages at these times."""
    made = Ring(Position("e", 0), Retention(messages, seconds))
    for offset, time in enumerate(times, 1):
        made.append(publication(offset, time=time))
    return made


def offsets(publications: list[Publication]) -> list[int]:
    return [each.offset for each in publications]


def test_what_came_behind_a_position() -> None:
    made = ring(1, 2, 3, 4)
    assert offsets(made.after(Position("e", 1), 4)) == [2, 3, 4]
    assert offsets(made.after(Position("e", 3), 4)) == [4]
    assert made.after(Position("e", 4), 4) == []
    assert (len(made), made.position) == (3, ("e", 4))


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (Position("e", 0), "behind offset 0 is not kept"),
        (Position("e", 5), "offset 5 has not come yet"),
        (Position("over", 4), "epoch 'over' is over"),
    ],
)
def test_what_cannot_be_given_whole(position: Position, why: str) -> None:
    with pytest.raises(HistoryLost, match=why):
        ring(1, 2, 3, 4).after(position, 4)


def test_messages_expire() -> None:
    made = ring(1, 2, 50)
    assert offsets(made.since(0, 50)) == [1, 2, 3]
    assert offsets(made.all(61.5)) == [2, 3]
    with pytest.raises(HistoryLost, match="not kept"):
        made.after(Position("e", 1), 70)
    assert offsets(made.after(Position("e", 2), 70)) == [3]
    assert made.all(1000) == []
    assert made.after(Position("e", 3), 1000) == []  # nothing was missed
    assert made.last is None


def test_what_came_since_a_time() -> None:
    made = ring(1, 2, 3)
    assert offsets(made.since(2, 3)) == [2, 3]
    assert made.since(4, 3) == []
    assert made.last is not None
    assert made.last.offset == 3


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    """What came behind a message came later, whatever its time says."""
    assert offsets(ring(10, 20, 5).since(15, 20)) == [2, 3]


def test_whether_a_message_is_known() -> None:
    made = ring(1, 2, 3, 4)
    assert made.has(publication(4, time=4))
    assert made.has(publication(2, time=2))
    assert made.has(publication(1, time=99))  # it is not kept: only its place is known
    assert not made.has(publication(5, time=5))
    assert not made.has(publication(4, epoch="over", time=4))
    assert not made.has(publication(3, time=99))  # another under the same offset
    assert offsets(list(made)) == [2, 3, 4]


def test_whether_nothing_is_missing_up_to_a_place() -> None:
    made = ring(1, 2)
    assert made.is_followed_by([publication(3)], Position("e", 3))
    assert made.is_followed_by([], Position("e", 2))
    assert not made.is_followed_by([publication(4)], Position("e", 4))
    assert not made.is_followed_by([publication(3)], Position("over", 3))
