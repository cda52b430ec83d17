"""The wire, byte for byte."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import reasons
from gateway.cable import messages
from gateway.cable.messages import Command, read_command, read_identifier, read_object
from gateway.errors import CommandError

ID = '{"channel":"C","z":1,"a":2}'


def test_what_the_server_says() -> None:
    assert messages.WELCOME == b'{"type":"welcome"}'
    assert messages.ping(1795400353) == b'{"type":"ping","message":1795400353}'
    quoted = rb'"{\"channel\":\"C\",\"z\":1,\"a\":2}"'
    assert messages.confirmation(ID) == (
        b'{"identifier":' + quoted + b',"type":"confirm_subscription"}'
    )
    assert messages.rejection(ID) == (
        b'{"identifier":' + quoted + b',"type":"reject_subscription"}'
    )
    assert messages.data_prefix(ID) == b'{"identifier":' + quoted + b',"message":'
    assert messages.disconnect(reasons.UNAUTHORIZED) == (
        b'{"type":"disconnect","reason":"unauthorized","reconnect":false}'
    )


@given(st.text())
def test_an_identifier_comes_back_as_it_was(identifier: str) -> None:
    try:
        frame = messages.confirmation(identifier)
    except UnicodeEncodeError:
        assert any("\ud800" <= c <= "\udfff" for c in identifier)
    else:
        assert msgspec.json.decode(frame)["identifier"] == identifier


def test_commands() -> None:
    text = '{"command":"message","identifier":"i","data":"{}","more":[1]}'
    assert read_command(text) == Command("message", "i", "{}")
    assert read_command('{"command":"x"}') == Command("x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "null",
        "[]",
        '"subscribe"',
        "{}",
        '{"command":1}',
        '{"command":"subscribe","identifier":{"channel":"C"}}',
        '{"command":"subscribe"',
        '{"command":NaN}',
        '{"command":"\\ud800"}',
        '{"command":"x","data":' + "[" * 20_000 + "]" * 20_000 + "}",
    ],
)
def test_what_is_not_a_command(text: str) -> None:
    with pytest.raises(CommandError, match="not a command"):
        read_command(text)


def test_identifiers() -> None:
    assert read_identifier(ID) == {"channel": "C", "z": 1, "a": 2}


@pytest.mark.parametrize(
    "identifier",
    ["", "C", "[]", "{}", '{"channel":7}', "[" * 20_000, '{"channel":'],
)
def test_identifiers_that_name_no_channel(identifier: str) -> None:
    with pytest.raises(CommandError, match="identifier"):
        read_identifier(identifier)


@pytest.mark.parametrize("value", [None, 1, {"action": "x"}, "x", "[]", "1"])
def test_data_that_is_no_object(value: object) -> None:
    with pytest.raises(CommandError, match="data is not"):
        read_object(value, "data")
