"""RFC 6455 §5 to §8 as the receiver sees them, byte by byte."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from gateway.errors import (
    Close,
    InvalidText,
    MessageTooBig,
    PeerError,
    ProtocolViolation,
)
from gateway.websocket import Limits
from gateway.websocket import inbox as inbox_module
from gateway.websocket.inbox import CloseReceived, Event, Inbox, Ping, Pong
from gateway.websocket.inflate import Inflater
from tests.support.raw import frame, unmasked

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE


def server_inbox(**limits: int) -> Inbox:
    return Inbox(Limits(**limits), masked=True)  # type: ignore[arg-type]


def kinds(events: list[Event]) -> list[Event | type]:
    """Events, with errors replaced by their classes."""
    return [type(e) if isinstance(e, PeerError) else e for e in events]


def test_messages_and_control_frames() -> None:
    data = frame(TEXT, "né".encode()) + frame(BINARY, b"\0") + frame(PING, b"p")
    data += frame(PONG, b"q")
    assert server_inbox().feed(data) == ["né", b"\0", Ping(b"p"), Pong(b"q")]


def test_fragments_are_joined_and_control_frames_come_in_between() -> None:
    inbox = server_inbox()
    first = inbox.feed(frame(TEXT, "h\u00e9".encode()[:2], fin=False) + frame(PING))
    assert first == [Ping(b"")]
    assert not inbox.idle
    assert inbox.feed(frame(CONT, "h\u00e9".encode()[2:])) == ["hé"]
    assert inbox.idle


def test_binary_fragments() -> None:
    inbox = server_inbox()
    data = frame(BINARY, b"a", fin=False) + frame(CONT, b"b", fin=False)
    assert inbox.feed(data + frame(CONT, b"c")) == [b"abc"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (unmasked(TEXT, b"hi"), ProtocolViolation),
        (frame(TEXT, b"", rsv1=True), ProtocolViolation),
        (frame(TEXT, b"", rsv2=True), ProtocolViolation),
        (frame(PING, b"", rsv1=True), ProtocolViolation),
        (b"\x83\x80\0\0\0\0", ProtocolViolation),
        (frame(PING, b"x" * 126), ProtocolViolation),
        (frame(PING, b"", fin=False), ProtocolViolation),
        (frame(CONT, b"x"), ProtocolViolation),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), ProtocolViolation),
        (frame(CLOSE, b"\x03"), ProtocolViolation),
        (frame(CLOSE, b"\x03\xed"), ProtocolViolation),  # 1005 is never sent
        (frame(CLOSE, b"\x03\xe8\xff"), InvalidText),
        (frame(TEXT, b"\xff"), InvalidText),
        (frame(TEXT, b"\xed\xa0\x80"), InvalidText),  # a lone surrogate
        (frame(TEXT, b"\xce\xba", fin=False) + frame(CONT, b"\xce"), InvalidText),
    ],
)
def test_faults_end_the_connection_after_what_came_before(
    data: bytes, error: type[PeerError]
) -> None:
    inbox = server_inbox()
    assert kinds(inbox.feed(frame(TEXT, b"before") + data))[-2:][0] == "before"
    inbox = server_inbox()
    assert kinds(inbox.feed(data)) == [error]
    assert inbox.feed(frame(TEXT, b"after")) == []


@pytest.mark.parametrize("size", [125, 126, 70_000])
@pytest.mark.parametrize("masked", [True, False])
def test_a_head_may_come_byte_by_byte(size: int, masked: bool) -> None:
    data = (frame if masked else unmasked)(BINARY, b"x" * size)
    inbox = Inbox(Limits(), masked=masked)
    for byte in data[:14]:
        assert inbox.feed(bytes([byte])) == []
    assert inbox.feed(data[14:]) == [b"x" * size]


def test_masks_are_taken_off_without_the_c_extension_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    path = inbox_module.__file__
    spec = importlib.util.spec_from_file_location("inbox_without_speedups", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = bytearray(frame(TEXT, b"hello"))
    data[2:6] = b"\x01\x02\x03\x04"
    assert module.Inbox(Limits(), masked=True).feed(bytes(data)) == ["igohn"]


def test_text_fails_at_the_first_bad_fragment() -> None:
    inbox = server_inbox()
    assert kinds(inbox.feed(frame(TEXT, b"a\xff", fin=False))) == [InvalidText]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("before", [b"", b"fragment"])
def test_text_fails_at_the_first_bad_byte_of_a_frame_still_arriving(
    masked: bool, before: bytes
) -> None:
    text = "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited"
    inbox = Inbox(Limits(), masked=masked)
    opcode = TEXT
    if before:
        opcode = CONT
        inbox.feed(Frame(TEXT, before, fin=False).serialize(mask=masked))
    data = Frame(opcode, text, fin=False).serialize(mask=masked)
    bad = data[: len(data) - len(text) + text.index(b"\x90")]
    assert [kinds(inbox.feed(bytes([byte]))) for byte in bad] == [[]] * len(bad)
    assert kinds(inbox.feed(data[len(bad) : len(bad) + 1])) == [InvalidText]


@pytest.mark.parametrize(
    "head",
    [
        b"\x81\x7e",  # not masked
        b"\x83\xfe",  # no such opcode
        b"\xa2\xfe",  # RSV2
        b"\xc2\xfe",  # RSV1, and no deflate was agreed on
        b"\x89\xfe",  # a Ping of more than 125 bytes
        b"\x09\x85",  # a Ping in fragments
        b"\x80\xfe",  # a continuation of nothing
    ],
)
def test_a_bad_head_is_refused_before_its_payload_comes(head: bytes) -> None:
    assert kinds(server_inbox().feed(head)) == [ProtocolViolation]


def test_a_client_refuses_masked_frames() -> None:
    inbox = Inbox(Limits(), masked=False)
    assert kinds(inbox.feed(frame(TEXT, b"hi"))) == [ProtocolViolation]


@pytest.mark.parametrize(
    ("payload", "close"),
    [
        (b"", None),
        (b"\x03\xe8", Close(1000, "")),
        (b"\x0f\xa1bye", Close(4001, "bye")),
    ],
)
def test_close(payload: bytes, close: Close | None) -> None:
    inbox = server_inbox()
    data = frame(CLOSE, payload) + frame(TEXT, b"after")
    assert inbox.feed(data) == [CloseReceived(close)]
    assert not inbox.idle


def test_close_within_a_fragmented_message_is_a_close() -> None:
    inbox = server_inbox()
    data = frame(TEXT, b"a", fin=False) + frame(CLOSE, b"\x03\xe8")
    assert inbox.feed(data) == [CloseReceived(Close(1000, ""))]


@pytest.mark.parametrize("limit", [1, 10, 125, 126, 300])
def test_a_message_of_the_limit_passes_and_one_byte_more_does_not(limit: int) -> None:
    assert server_inbox(max_message_bytes=limit).feed(frame(TEXT, b"x" * limit))
    inbox = server_inbox(max_message_bytes=limit)
    assert kinds(inbox.feed(frame(TEXT, b"x" * (limit + 1)))) == [MessageTooBig]
    inbox = server_inbox(max_message_bytes=limit)
    part = frame(BINARY, b"x" * (limit + 1), fin=False)
    assert kinds(inbox.feed(part)) == [MessageTooBig]


def test_a_header_that_announces_2_gib_is_enough_to_refuse() -> None:
    header = b"\x82\xff" + (2**31).to_bytes(8, "big")
    assert kinds(server_inbox().feed(header)) == [MessageTooBig]


def test_fragments_count_together_against_the_limit() -> None:
    inbox = server_inbox(max_message_bytes=300)
    assert inbox.feed(frame(BINARY, b"x" * 200, fin=False) + frame(PING, b"p" * 125))
    assert inbox.feed(frame(CONT, b"x" * 100, fin=False)) == []
    assert kinds(inbox.feed(frame(CONT, b"x"))) == [MessageTooBig]


def test_fragments_are_counted() -> None:
    inbox = server_inbox(max_fragments=3)
    inbox.feed(frame(TEXT, b"", fin=False) + 2 * frame(CONT, b"", fin=False))
    assert kinds(inbox.feed(frame(CONT, b""))) == [MessageTooBig]


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(True, True, 12, 12)


def test_deflated_messages() -> None:
    inbox = Inbox(Limits(), masked=True, inflater=Inflater(12))
    data = Frame(TEXT, b"hello" * 99).serialize(mask=True, extensions=[deflate()])
    assert inbox.feed(data) == ["hello" * 99]
    assert inbox.idle


def test_a_bomb_is_stopped_while_it_inflates() -> None:
    limits = Limits(max_message_bytes=2**16)
    inbox = Inbox(limits, masked=True, inflater=Inflater(12))
    bomb = Frame(BINARY, bytes(2**24)).serialize(mask=True, extensions=[deflate()])
    assert len(bomb) < 2**16
    assert kinds(inbox.feed(bomb)) == [MessageTooBig]


@pytest.mark.parametrize(
    "data",
    [
        "c1 07 f2 48 cd c9 c9 07 00",  # one block
        "41 03 f2 48 cd 80 04 c9 c9 07 00",  # in two fragments
        "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00",  # a block that is stored
        "c1 08 f3 48 cd c9 c9 07 00 00",  # a block that claims to be the last
        "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00",  # two blocks
    ],
)
def test_the_examples_of_rfc_7692(data: str) -> None:
    inbox = Inbox(Limits(), masked=False, inflater=Inflater(12))
    assert inbox.feed(bytes.fromhex(data)) == ["Hello"]
    assert inbox.feed(bytes.fromhex(data)) == ["Hello"]


def test_the_example_of_rfc_7692_that_looks_back_at_the_message_before() -> None:
    remembering = Inflater(15, takeover=True)
    inbox = Inbox(Limits(), masked=False, inflater=remembering)
    assert inbox.feed(bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00")) == ["Hello"]
    assert inbox.feed(bytes.fromhex("c1 05 f2 00 11 00 00")) == ["Hello"]


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, b"", rsv1=True),
        frame(TEXT, b"\0", rsv2=True),
        frame(TEXT, b"\0", rsv1=True, fin=False) + frame(CONT, b"\0", rsv1=True),
        frame(TEXT, b"a", fin=False) + frame(CONT, b"\0", rsv1=True),
    ],
)
def test_rsv1_belongs_to_the_first_frame_of_a_message(data: bytes) -> None:
    inbox = Inbox(Limits(), masked=True, inflater=Inflater(12))
    assert kinds(inbox.feed(data)) == [ProtocolViolation]


def test_messages_that_are_not_deflated_pass_where_deflate_was_agreed_on() -> None:
    inbox = Inbox(Limits(), masked=True, inflater=Inflater(12))
    data = frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONT, b"b")
    assert inbox.feed(data) == [Ping(b""), "ab"]


def test_an_inbox_gives_no_more_at_a_time_than_may_wait() -> None:
    inbox = server_inbox(max_queued_messages=3)
    data = b"".join(frame(TEXT, str(number).encode()) for number in range(7))
    assert inbox.feed(data + frame(CLOSE)) == ["0", "1", "2"]
    assert inbox.full
    assert not inbox.idle
    assert inbox.feed(b"") == ["3", "4", "5"]
    assert inbox.feed(b"") == ["6", CloseReceived(None)]
    assert not inbox.full


def test_nor_more_bytes_than_may_wait_however_deflated_they_came() -> None:
    bomb = Frame(BINARY, bytes(2**16)).serialize(mask=True, extensions=[deflate()])
    limits = Limits(max_queued_bytes=2**17)
    inbox = Inbox(limits, masked=True, inflater=Inflater(12))
    assert len(inbox.feed(bomb * 5)) == 2
    assert inbox.full
    assert len(inbox.feed(bomb)) == 2
    assert len(inbox.feed(b"")) == 2
    assert inbox.full
    assert inbox.feed(b"") == []
    assert inbox.idle


def test_broken_deflate_data() -> None:
    inbox = Inbox(Limits(), masked=True, inflater=Inflater(12))
    assert kinds(inbox.feed(frame(TEXT, b"\xff\xff", rsv1=True))) == [ProtocolViolation]


frames = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONT, PING, PONG, CLOSE]),
    st.one_of(st.binary(max_size=130), st.text(max_size=40).map(str.encode)),
    fin=st.booleans(),
)


@given(st.lists(frames, max_size=6).map(b"".join), st.data())
def test_any_split_of_the_bytes_gives_the_same_events(
    data: bytes, draw: st.DataObject
) -> None:
    whole = server_inbox(max_queued_messages=99).feed(data)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=8).map(sorted))
    inbox, pieces = server_inbox(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        pieces += inbox.feed(data[start:end])
        if inbox.idle:  # then it holds nothing that another one would lack
            inbox = server_inbox()
    assert kinds(pieces) == kinds(whole)


@given(
    st.sampled_from([TEXT, BINARY]),
    st.text(max_size=300),
    st.lists(st.integers(1, 40), max_size=9),
    st.lists(st.integers(1, 40), max_size=99),
    st.booleans(),
)
def test_what_websockets_sends_is_what_we_receive(
    opcode: Opcode, text: str, fragments: list[int], chunks: list[int], masked: bool
) -> None:
    """Another implementation's frames, with real masks, cut by it and the network."""
    payload, data = text.encode(), b""
    for size in [*fragments, len(payload)]:
        cut, payload = payload[:size], payload[size:]
        data += Frame(CONT if data else opcode, cut, fin=False).serialize(mask=masked)
    data += Frame(CONT, b"").serialize(mask=masked)
    inbox, events = Inbox(Limits(), masked=masked), []
    for size in [*chunks, len(data)]:
        events += inbox.feed(data[:size])
        data = data[size:]
    assert events == [text if opcode is TEXT else text.encode()]


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    inbox = server_inbox(max_message_bytes=1000)
    for chunk in chunks:
        inbox.feed(chunk)
