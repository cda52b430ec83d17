"""Deflated data, its end, and how much of it there may be."""

from __future__ import annotations

import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageTooBig, ProtocolViolation
from gateway.websocket import Limits
from gateway.websocket.inbox import Inbox
from gateway.websocket.inflate import Inflater
from tests.support.raw import frame
from tests.websocket.test_inbox import BINARY, CONT, kinds

FINAL = bytes.fromhex("f3 48 cd c9 c9 07 00")  # "Hello", and no block may follow
EMPTY = bytes.fromhex("00 00 00 ff ff")


def deflated(data: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    encoder = zlib.compressobj(9, wbits=-12)
    return (encoder.compress(data) + encoder.flush(mode)).removesuffix(EMPTY[1:])


def inbox(**limits: int) -> Inbox:
    terms = Limits(**limits)  # type: ignore[arg-type]
    return Inbox(terms, masked=True, inflater=Inflater(12))


@given(st.binary(max_size=5000), st.lists(st.integers(1, 99), max_size=9))
def test_any_cut_of_deflated_data_inflates(data: bytes, sizes: list[int]) -> None:
    inflater, rest, got = Inflater(12), deflated(data), b""
    for size in sizes:
        got += inflater.inflate(rest[:size], last=False, room=5000)
        rest = rest[size:]
    assert got + inflater.inflate(rest, last=True, room=5000) == data


@given(st.lists(st.binary(max_size=99), max_size=5))
def test_no_bytes_raise_anything_but_a_violation(pieces: list[bytes]) -> None:
    inflater = Inflater(12)
    with suppress(ProtocolViolation):
        for piece in pieces:
            inflater.inflate(piece, last=False, room=1000)
        inflater.inflate(b"", last=True, room=1000)


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_final_block_ends_a_message(end: bytes) -> None:
    for inflater in (Inflater(15), Inflater(15, takeover=True)):
        for _ in range(2):
            assert inflater.inflate(FINAL + end, last=True, room=9) == b"Hello"


@pytest.mark.parametrize("cut", [1, len(FINAL), len(FINAL) + 1, len(FINAL) + 5])
@pytest.mark.parametrize("behind", [b"\0\0", b"x", FINAL, EMPTY, b"\0" * 99_999])
def test_bytes_behind_the_end_are_refused(cut: int, behind: bytes) -> None:
    data = FINAL + behind
    assert kinds(inbox().feed(frame(BINARY, data, rsv1=True))) == [ProtocolViolation]
    parts = frame(BINARY, data[:cut], rsv1=True, fin=False) + frame(CONT, data[cut:])
    assert kinds(inbox().feed(parts)) == [ProtocolViolation]


def test_bytes_behind_the_end_are_refused_before_the_message_is_whole() -> None:
    data = frame(BINARY, FINAL, rsv1=True, fin=False) + frame(CONT, b"xx", fin=False)
    assert kinds(inbox().feed(data)) == [ProtocolViolation]


@pytest.mark.parametrize("mode", [zlib.Z_SYNC_FLUSH, zlib.Z_FINISH])
@pytest.mark.parametrize("data", [b"a", b"ab" * 50])
def test_inflated_bytes_at_the_limit_pass_and_one_more_does_not(
    data: bytes, mode: int
) -> None:
    received = frame(BINARY, deflated(data * 100, mode), rsv1=True)
    assert inbox(max_message_bytes=len(data) * 100).feed(received) == [data * 100]
    short = inbox(max_message_bytes=len(data) * 100 - 1)
    assert kinds(short.feed(received)) == [MessageTooBig]


def test_a_bomb_in_fragments_is_stopped_at_the_limit_of_the_message() -> None:
    bomb, box, events = deflated(bytes(2**22)), inbox(max_message_bytes=2**16), []
    events += box.feed(frame(BINARY, bomb[:50], rsv1=True, fin=False))
    for start in range(50, len(bomb), 50):
        events += box.feed(frame(CONT, bomb[start : start + 50], fin=False))
        assert box._held <= 2**16 + 1
    assert kinds(events) == [MessageTooBig]


def test_deflated_bytes_that_stand_for_nothing_count_too() -> None:
    """Empty blocks without end would keep us busy, and never grow into a message."""
    box = inbox(max_message_bytes=1000)
    box.feed(frame(BINARY, EMPTY * 100, rsv1=True, fin=False))
    assert box.feed(frame(CONT, EMPTY * 100, fin=False)) == []
    assert kinds(box.feed(frame(CONT, EMPTY, fin=False))) == [MessageTooBig]
