"""What an event's id says, and where that leaves its reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cable.history import Position
from gateway.errors import CommandError
from gateway.events.places import Places, read, written

HERE, NOW = Position("e", 3), Position("e", 7)


def as_header(text: str) -> str:
    """Bytes of a header, as WSGI gives them to the application."""
    return text.encode().decode("latin-1")


def test_one_stream_looks_as_anycables_does() -> None:
    places = Places({"room": {"chat_1": Position("Kq", 8)}})
    assert str(places) == "8/Kq/chat_1"


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
positions = st.builds(Position, names, st.integers(0, 10**18 - 1))


@given(
    st.dictionaries(
        st.sampled_from(["one", "two", "three"]),
        st.dictionaries(names, positions, max_size=3),
        min_size=1,
    )
)
def test_what_is_written_can_be_read(
    reached: dict[str, dict[str, Position]],
) -> None:
    text = str(Places(reached))
    assert text.isascii()
    assert text.isprintable()
    assert read(text, reached) == reached


def test_a_name_that_was_not_quoted_is_read_all_the_same() -> None:
    header = as_header("1/e/küche")
    assert read(header, ["room"]) == {"room": {"küche": Position("e", 1)}}


@pytest.mark.parametrize(
    "header",
    [
        "²/e/room",
        "-1/e/room",
        "9" * 5000 + "/e/room",
        "1/e/",
        "1/e",
        "one",
        "1/e/a two",
        "1/e/a,1/e/b",
    ],
)
def test_what_we_have_not_written_is_refused(header: str) -> None:
    with pytest.raises(CommandError, match="Last-Event-ID is '") as refused:
        read(as_header(header), ["room"])
    assert len(str(refused.value)) < 250


def test_a_message_moves_one_stream() -> None:
    places = Places({"room": {"a": HERE, "b": HERE}})
    places.advance(None, "room", {"a": written("a", NOW)})
    assert str(places) == "7/e/a 3/e/b"


def test_a_confirmation_says_where_all_streams_are() -> None:
    places = Places({"room": {}, "other": {}})
    standing = {name: written(name, NOW) for name in "ab"}
    places.advance("confirm_subscription", "room", standing)
    assert str(places) == "7/e/a 7/e/b,"


def test_who_is_behind_has_come_as_far_as_it_was_told() -> None:
    places = Places({"room": {"a": HERE}}, behind=["room"])
    standing = {name: written(name, NOW) for name in "ab"}
    places.advance("confirm_subscription", "room", standing)
    assert str(places) == "3/e/a"
    places.advance(None, "room", {"a": written("a", Position("e", 4))})
    assert str(places) == "4/e/a"
    places.advance("confirm_history", "room", {})
    assert str(places) == "4/e/a 7/e/b"


def test_who_cannot_be_told_begins_anew() -> None:
    places = Places({"room": {"gone": HERE}}, behind=["room"])
    places.advance("confirm_subscription", "room", {"a": written("a", NOW)})
    assert str(places) == "3/e/gone"
    places.advance("reject_history", "room", {})
    assert str(places) == "7/e/a"


def test_a_gap_found_later_moves_nobody() -> None:
    places = Places({"room": {"a": HERE}})
    places.advance("reject_history", "room", {})
    places.advance("disconnect", "", {})
    assert str(places) == "3/e/a"
