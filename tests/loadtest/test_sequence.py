"""Whatever a network does to a stream, the counts of it add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.sequence import Sequence


@given(st.lists(st.integers(1, 30)))
def test_every_message_is_counted_once(heard: list[int]) -> None:
    sequence = Sequence(1)
    verdicts = [sequence.hear(number) for number in heard]
    distinct = len(set(heard))
    assert sequence.received == distinct
    assert verdicts.count("duplicated") == len(heard) - distinct
    assert sequence.missing_until(30) == 30 - distinct


@given(st.permutations(range(1, 12)))
def test_what_comes_behind_a_later_one_is_reordered(heard: list[int]) -> None:
    sequence = Sequence(1)
    verdicts = [sequence.hear(number) for number in heard]
    late = [n for at, n in enumerate(heard) if max(heard[: at + 1]) > n]
    assert verdicts.count("reordered") == len(late)
    assert sequence.missing_until(11) == 0
