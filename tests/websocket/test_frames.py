"""Prepared messages and control frames."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from gateway.errors import Close, LocalError
from gateway.websocket import Limits, Message, frames
from gateway.websocket.frames import DEFLATED, MASKED, PLAIN, RAW
from gateway.websocket.handshake import _deflate
from gateway.websocket.inbox import CloseReceived, Inbox, Ping, Pong


def read(data: bytes, *, masked: bool = False, deflated: bool = False) -> list[object]:
    make = (
        _deflate("permessage-deflate; client_max_window_bits")[2] if deflated else None
    )
    inflater = make() if make else None
    return list(Inbox(Limits(), masked=masked, inflater=inflater).feed(data))


@pytest.mark.parametrize("payload", ["", "né", "x" * 70_000, b"", b"\0" * 200])
def test_round_trip(payload: str | bytes) -> None:
    assert read(Message(payload).encode(PLAIN)) == [payload]


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_plain_frames_are_those_of_another_implementation(
    kind: type, size: int
) -> None:
    payload = "x" * size if kind is str else b"x" * size
    opcode = Opcode.TEXT if kind is str else Opcode.BINARY
    theirs = Frame(opcode, b"x" * size).serialize(mask=False)
    assert Message(payload).encode(PLAIN) == theirs


@pytest.mark.parametrize(
    "payload",
    [
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        memoryview(b"12345678").cast("I"),
        array("I", [0x34333231, 0x38373635]),
        memoryview(b"1x2x3x4x5x6x7x8x")[::2],
    ],
)
def test_whatever_holds_bytes_is_a_binary_message(payload: Any) -> None:
    for encoding in (PLAIN, MASKED):
        data = Message(payload).encode(encoding)
        assert read(data, masked=encoding == MASKED) == [b"12345678"]


def test_a_buffer_may_be_used_again() -> None:
    buffer = bytearray(b"first")
    message = Message(buffer)
    buffer[:] = b"again"
    assert read(message.encode(PLAIN)) == [b"first"]


@pytest.mark.parametrize("payload", [None, 42, 1.5, {"a": 1}, [1, 2], object()])
def test_what_is_no_message(payload: Any) -> None:
    kind = type(payload).__name__
    with pytest.raises(LocalError, match=f"str or bytes, not {kind}; send_json"):
        Message(payload)


def test_text_that_is_no_unicode() -> None:
    with pytest.raises(LocalError, match=r"surrogate at character 3 \('\\ud800'\)"):
        Message("abc\ud800")


def test_each_encoding_is_made_once() -> None:
    message = Message("word " * 200)
    plain, deflated = message.encode(PLAIN), message.encode(DEFLATED)
    assert message.encode(PLAIN) is plain
    assert message.encode(DEFLATED) is deflated
    assert len(deflated) < len(plain) / 10
    assert read(deflated, deflated=True) == ["word " * 200]


def test_short_messages_are_not_deflated() -> None:
    message = Message("short")
    assert message.encode(DEFLATED) is message.encode(PLAIN)


def test_a_window_of_another_size_is_an_encoding_of_its_own() -> None:
    message = Message("word " * 200)
    assert message.encode(9) is not message.encode(DEFLATED)
    assert read(message.encode(9), deflated=True) == ["word " * 200]


def test_clients_frames_are_masked_with_a_fresh_key() -> None:
    message = Message("hello")
    first, second = message.encode(MASKED), message.encode(MASKED)
    assert first != second
    assert read(first, masked=True) == ["hello"]
    deflated = Message("word " * 200).encode(MASKED + 12)
    assert read(deflated, masked=True, deflated=True) == ["word " * 200]


def test_text_from_bytes() -> None:
    assert read(Message.text(b'{"a":1}').encode(PLAIN)) == ['{"a":1}']


def test_a_json_text_instead_of_a_frame() -> None:
    assert Message.text(b'{"a":1}').encode(RAW) == b'\x1e{"a":1}\n'


@pytest.mark.parametrize("payload", [b"", b"there?"])
@pytest.mark.parametrize("mask", [False, True])
def test_pings_and_pongs(payload: bytes, mask: bool) -> None:
    ping, pong = frames.ping(payload, mask=mask), frames.pong(payload, mask=mask)
    assert read(ping + pong, masked=mask) == [Ping(payload), Pong(payload)]
    # Those without payload go to everybody all the time.
    assert (frames.ping(payload, mask=mask) is ping) is (not payload and not mask)
    assert (frames.pong(payload, mask=mask) is pong) is (not payload and not mask)


def test_close_frames() -> None:
    assert read(frames.close(None, mask=False)) == [CloseReceived(None)]
    data = frames.close(Close(4000, "é" * 100), mask=False)
    assert read(data) == [CloseReceived(Close(4000, "é" * 61))]


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000, "1000", 1e3, None]
)
def test_codes_that_must_not_be_sent(code: Any) -> None:
    with pytest.raises(LocalError, match=f"close code {code!r} cannot be sent"):
        frames.close(Close(code, ""), mask=False)


def test_a_close_reason_is_text() -> None:
    with pytest.raises(LocalError, match="is text, not b'bye'"):
        frames.close(Close(1000, b"bye"), mask=False)  # type: ignore[arg-type]
