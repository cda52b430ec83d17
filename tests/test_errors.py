"""The errors' tree, and what they say."""

from __future__ import annotations

import re

from gateway import errors, reasons
from gateway.errors import (
    Close,
    ConfigError,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeRefused,
)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.GatewayError)
    }
    assert sorted([*drawn, "GatewayError"]) == sorted(classes)


def test_messages_name_the_value_and_the_fix() -> None:
    error = ConfigError("ping_interval", "soon", "write seconds")
    assert str(error) == "ping_interval = 'soon' cannot be used: write seconds"
    assert str(HandshakeRefused(426, "Use 13.")) == "HTTP 426: Use 13."


def test_connection_closed_tells_both_sides() -> None:
    assert str(ConnectionClosedError(None, None)) == (
        "the connection was lost without a Close frame"
    )
    error = ConnectionClosedOK(Close(1000, "bye"), Close(1000, ""))
    assert str(error) == "the connection is closed: received 1000 bye, sent 1000"


def test_reasons_have_names_of_their_own_and_codes_that_may_be_sent() -> None:
    names = [reason.name for reason in reasons.ALL]
    assert len(names) == len(set(names))
    sendable = {1000, 1001, 1002, 1003, *range(1007, 1015)}
    assert {r.code for r in reasons.ALL if r is not reasons.LOST} <= sendable
