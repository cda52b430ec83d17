"""What requests for events ask for."""

from __future__ import annotations

import msgspec
import pytest

from gateway.cable.history import Position
from gateway.errors import CommandError
from gateway.events.asking import in_body, in_query

LINE = b'{"command":"subscribe","identifier":"%b"}\n'


def test_a_channel_and_its_parameters() -> None:
    asked = in_query({"channel": "Room", "room": "1", "raw": "0"})
    (command,) = asked.commands
    assert command.command == "subscribe"
    params = msgspec.json.decode(command.identifier)
    assert params == {"channel": "Room", "room": "1"}
    assert command.history is None
    assert not asked.whole
    assert not asked.raw


@pytest.mark.parametrize("yes", ["1", "t", "true", "y"])
def test_an_identifier_stays_as_it_is(yes: str) -> None:
    asked = in_query({"identifier": '{ "channel": "Room" }', "raw": yes})
    assert asked.commands[0].identifier == '{ "channel": "Room" }'
    assert asked.raw


def test_the_past_from_a_place_or_since_a_time() -> None:
    asked = in_query({"identifier": "i", "history_since": "17.5"}, "3/e/a")
    assert asked.reached == {"i": {"a": Position("e", 3)}}
    assert asked.commands[0].history == {
        "since": 17.5,
        "streams": {"a": {"epoch": "e", "offset": 3}},
    }


@pytest.mark.parametrize(
    "since", ["", "²", "-1", "nan", "inf", "soon", "1e9", "9" * 400, "9" * 5000]
)
def test_a_time_that_is_none(since: str) -> None:
    with pytest.raises(CommandError, match="history_since is '.*send Unix") as refused:
        in_query({"channel": "Room", "history_since": since})
    assert len(str(refused.value)) < 200


def test_lines_of_commands() -> None:
    body = LINE % b"i" + b"\r\n" + LINE % b"j" + LINE % b"i"
    asked = in_body(body, {}, "3/e/a,4/e/b")
    assert [command.identifier for command in asked.commands] == ["i", "j"]
    assert asked.reached["j"] == {"b": Position("e", 4)}
    assert asked.whole


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "there is none"),
        (b"\n\n", "there is none"),
        (b"coffee", "line 1: not a command"),
        (LINE % b"i" + b"\xff", "line 2: "),
        (
            LINE % b"i" + b'{"command":"whisper"}',
            "line 2: 'whisper' is not 'subscribe'",
        ),
    ],
)
def test_lines_that_are_none(body: bytes, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        in_body(body, {})
