"""One timer, many members, no bursts."""

from __future__ import annotations

import pytest

from gateway.websocket.heartbeat import Wheel
from tests.support import eventually


def test_every_slot_beats_once_per_interval_in_turn() -> None:
    beats: list[list[str]] = []
    wheel = Wheel[list[str]](0.4, list, beats.append)
    slots = list(wheel.slots)
    assert len(slots) == 3
    wheel.start()
    wheel.start()
    eventually(lambda: len(beats) >= 6)
    wheel.stop()
    assert [id(slot) for slot in beats[:3]] == [id(slot) for slot in beats[3:6]]
    assert {id(slot) for slot in beats[:3]} == {id(slot) for slot in slots}


@pytest.mark.parametrize(
    ("interval_s", "slots"), [(0.01, 1), (3.0, 24), (32.0, 256), (3600.0, 256)]
)
def test_there_are_so_many_slots(interval_s: float, slots: int) -> None:
    """No more than are of use: each costs memory and a tick."""
    wheel = Wheel[list[int]](interval_s, list, lambda slot: None)
    assert len(list(wheel.slots)) == slots
    assert wheel._tick_s * slots == pytest.approx(interval_s)
    wheel.stop()


def test_members_are_dealt_evenly() -> None:
    wheel = Wheel[list[int]](1.0, list, lambda slot: None)
    for number in range(80):
        wheel.next_slot().append(number)
    assert {len(slot) for slot in wheel.slots} == {10}
    wheel.stop()


def turn(check_after_s: float, ticks: int) -> tuple[list[str], dict[int, int]]:
    """A wheel of eight slots that says what it does, in order, by the slots' numbers.

    Also where it checked each slot: so many ticks after it beat.
    """
    log: list[str] = []
    lags: dict[int, int] = {}
    beaten_at: dict[int, int] = {}

    def beat(slot: list[int]) -> None:
        log.append(f"beat {slot[0]}")
        beaten_at[slot[0]] = sum(entry.startswith("beat") for entry in log)

    def check(slot: list[int]) -> None:
        log.append(f"check {slot[0]}")
        now = sum(entry.startswith("beat") for entry in log) + 1  # it comes first
        lags[slot[0]] = now - beaten_at[slot[0]]

    wheel = Wheel[list[int]](1.0, list, beat, check, check_after_s)
    for number, slot in enumerate(wheel.slots):
        slot.append(number)
    for _ in range(ticks):
        wheel._tick()
    wheel.stop()
    return log, lags


@pytest.mark.parametrize(
    ("check_after_s", "lag"),
    [(0.0, 1), (0.125, 1), (0.25, 2), (0.5, 4), (0.875, 7), (1.0, 8), (20.0, 8)],
)
def test_each_slot_is_checked_so_long_after_it_beat(
    check_after_s: float, lag: int
) -> None:
    log, lags = turn(check_after_s, ticks=24)
    assert lags == dict.fromkeys(range(8), lag)
    assert not any(entry.startswith("check") for entry in log[:lag])


def test_a_slot_is_checked_before_it_beats_again() -> None:
    log, _ = turn(1.0, ticks=10)
    assert log[-2:] == ["check 2", "beat 2"]


def test_a_wheel_that_turns_checks_what_it_beat() -> None:
    log: list[tuple[str, int]] = []
    wheel = Wheel[list[str]](
        0.25,
        list,
        lambda slot: log.append(("beat", id(slot))),
        lambda slot: log.append(("check", id(slot))),
        0.125,
    )
    wheel.start()
    eventually(lambda: len(log) >= 9)
    wheel.stop()
    beats = [slot for what, slot in log if what == "beat"]
    checks = [slot for what, slot in log if what == "check"]
    assert len(set(beats)) == 2
    assert checks[:4] == beats[:4]
