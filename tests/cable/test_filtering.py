"""Secrets do not reach the log."""

from __future__ import annotations

import pytest

from gateway.cable.filtering import FILTERED, cut, filtered, shown

NAMES = ("passw", "token")


def test_keys_that_sound_secret() -> None:
    value = {
        "room": 1,
        "Password": "x",
        "list": [{"api_token": "y"}, 2],
        "deep": {"user": {"passwd": {"whole": "object"}}},
    }
    assert filtered(value, NAMES) == {
        "room": 1,
        "Password": "[FILTERED]",
        "list": [{"api_token": "[FILTERED]"}, 2],
        "deep": {"user": {"passwd": "[FILTERED]"}},
    }
    assert value["Password"] == "x"


def test_names_may_be_written_in_capitals() -> None:
    value = {"SSN": "1", "ssn": "2", "Name": "ann"}
    assert filtered(value, ["SSN"]) == {
        "SSN": FILTERED,
        "ssn": FILTERED,
        "Name": "ann",
    }


def test_identifiers_are_shown_without_secrets() -> None:
    identifier = '{"channel":"RoomChannel","api_token":"hunter2"}'
    assert shown(identifier, NAMES) == (
        '{"channel":"RoomChannel","api_token":"[FILTERED]"}'
    )


@pytest.mark.parametrize(
    "text", ['{"token":"hunter2"', "[" * 20_000 + "]" * 20_000, "[" * 800 + "]" * 800]
)
def test_what_cannot_be_read_is_not_shown(text: str) -> None:
    assert shown(text, NAMES) == f"{len(text)} characters that are no JSON"


def test_a_line_is_enough() -> None:
    assert cut("speak") == "speak"
    assert cut("x" * 100) == "x" * 100
    assert cut("x" * 101) == "x" * 99 + "…"
    assert len(shown('{"channel":"' + "x" * 500_000 + '"}', NAMES)) == 100
