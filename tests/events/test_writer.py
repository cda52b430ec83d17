"""Frames as events."""

from __future__ import annotations

import logging

import pytest

from gateway.cable.messages import Command
from gateway.events.asking import Asked
from gateway.events.writer import Writer
from gateway.websocket.frames import RAW, Message


def texts(*frames: str) -> bytes:
    return b"".join(Message(frame).encode(RAW) for frame in frames)


def writer(*, raw: bool = False, whole: bool = False) -> Writer:
    return Writer(Asked([Command("subscribe", "i")], {"i": {}}, raw, whole))


CONFIRMED = (
    '{"identifier":"i","type":"confirm_subscription",'
    '"streams":{"a":{"epoch":"e","offset":7}}}'
)
MESSAGE = '{"identifier":"i","message":1,"stream_id":"a","epoch":"e","offset":8}'
GOODBYE = '{"type":"disconnect","reason":"remote","reconnect":false}'


def test_typed_frames_and_messages() -> None:
    events = writer().write(texts(CONFIRMED, MESSAGE, '{"identifier":"i","message":2}'))
    assert events.decode() == (
        f"event: confirm_subscription\nid: 7/e/a\ndata: {CONFIRMED}\n\n"
        "id: 8/e/a\ndata: 1\n\n"
        "data: 2\n\n"
    )


def test_messages_only() -> None:
    events = writer(raw=True).write(texts(CONFIRMED, MESSAGE, GOODBYE))
    assert events.decode() == (
        "id: 7/e/a\n\n"  # which is no event, but a browser remembers it
        "id: 8/e/a\ndata: 1\n\n"
        "retry: 31536000000\n\n"
    )


def test_whole_frames() -> None:
    events = writer(whole=True).write(texts(MESSAGE))
    assert events.decode() == f"id: 8/e/a\ndata: {MESSAGE}\n\n"


def test_what_spans_lines_is_one_event() -> None:
    pretty = '{"identifier":"i","message":{\n  "a": 1\r\n}}'
    assert writer().write(texts(pretty)) == b'data: {\ndata:   "a": 1\ndata: }\n\n'


def test_what_is_no_json_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gateway.cable")
    events = writer().write(texts('{"identifier":"i","message":boo}', MESSAGE))
    assert events == b"id: 8/e/a\ndata: 1\n\n"
    assert "boo" in caplog.text


def test_a_rejection_is_the_end() -> None:
    rejected = writer()
    events = rejected.write(texts('{"identifier":"i","type":"reject_subscription"}'))
    assert b"retry: " in events
    assert rejected.over
