"""What the loop does with a connection: reading, the heartbeat, closing, the log."""

from __future__ import annotations

import logging
import zlib
from contextlib import suppress

import gevent
import pytest
from websockets.frames import Opcode

from gateway import reasons
from gateway.errors import (
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
)
from gateway.websocket import Limits, Message, connect
from tests.support import eventually
from tests.support.raw import KEY, RawClient, frame
from tests.websocket.conftest import Keep, Serve, echo, raw

TEXT, BINARY, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE
PING, PONG = Opcode.PING, Opcode.PONG


# Reading, and when it stops


def test_what_came_before_the_close_is_still_received(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    client.send(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(CLOSE, b"\x03\xe8bye"))
    assert [keep.socket.receive(), keep.socket.receive()] == ["1", "2"]
    keep.socket.send("an answer")
    with pytest.raises(ConnectionClosedOK) as closed:
        keep.socket.receive()
    assert closed.value.received == Close(1000, "bye")
    received = client.receive()
    assert received is not None
    assert received.data == b"an answer"
    assert client.receive_close() == (1000, "bye")


def test_reading_stops_while_the_program_does_not_keep_up(serve: Serve) -> None:
    keep = Keep()
    server = serve(keep, limits=Limits(max_queued_messages=10))
    client = raw(server)
    for number in range(10):
        client.send_text(str(number))
    eventually(lambda: keep.socket.waiting == 10)
    for number in range(10, 50):
        client.send_text(str(number))
    gevent.sleep(0.02)  # nothing shall happen, so there is nothing to wait for
    assert keep.socket.waiting == 10
    received = [keep.socket.receive(timeout=5) for _ in range(50)]
    assert received == [str(number) for number in range(50)]
    client.close()


def test_reading_stops_while_too_many_bytes_wait(serve: Serve) -> None:
    keep = Keep()
    server = serve(keep, limits=Limits(max_queued_bytes=100_000))
    client = raw(server)
    sending = gevent.spawn(client.send, frame(BINARY, b"x" * 10_000) * 500)
    eventually(lambda: keep.socket._paused)
    gevent.sleep(0.02)  # nothing shall happen, so there is nothing to wait for
    assert 100_000 <= keep.socket._queued_bytes <= 210_000
    assert not sending.ready()
    assert [keep.socket.receive(5) for _ in range(500)] == [b"x" * 10_000] * 500
    assert keep.socket._queued_bytes == 0
    sending.get(timeout=5)
    client.send(frame(CLOSE, b"\x03\xe8"))
    assert client.receive_close() == (1000, "")


def test_bytes_that_wait_do_so_in_the_form_they_came_in(serve: Serve) -> None:
    """One packet of deflated zeros would inflate to a thousand times its size."""
    keep = Keep()
    server = serve(keep)
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    client.request(headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    encoder = zlib.compressobj(wbits=-12)
    bomb = encoder.compress(bytes(2**20)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    client.send(frame(BINARY, bomb[:-4], rsv1=True) * 60)
    eventually(lambda: keep.socket._paused)
    assert keep.socket.waiting == 1
    for _ in range(60):
        assert keep.socket.receive(5) == bytes(2**20)
        assert keep.socket.waiting <= 1
    client.close()


def test_bytes_behind_the_upgrade_request_are_read(serve: Serve) -> None:
    server = serve(echo)
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    head = (
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    client.send(head.encode() + frame(TEXT, b"early") + frame(TEXT, b"bird"))
    assert client.response()[0] == 101
    for expected in (b"early", b"bird"):
        received = client.receive()
        assert received is not None
        assert received.data == expected
    client.close()


def test_pings_are_answered_while_the_program_is_busy(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    client.send(frame(PING, b"there?"))
    received = client.receive()
    assert received is not None
    assert (received.opcode, bytes(received.data)) == (PONG, b"there?")
    client.close()


def test_sockets_of_different_kinds_take_turns(serve: Serve) -> None:
    """An inbox that one lays aside is no use to another that deflates, or does not."""
    server = serve(echo)
    text = "often " * 1000
    with connect(server.url) as one, connect(server.url, compression=False) as other:
        assert one.outbox.encoding != other.outbox.encoding
        for ws in (one, other, other, one, one, other):
            ws.send(text)
            assert ws.receive(5) == text
    plain, deflating = raw(server), RawClient(int(server.url.rsplit(":", 1)[1]))
    deflating.request(headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    for data in (b"\xf2\x48\xcd\xc9\xc9\x07\x00",) * 2:
        deflating.send(frame(TEXT, data, rsv1=True))
        received = deflating.receive()
        assert received is not None
        assert received.data == b"Hello"
    plain.send(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv1=True))
    assert plain.receive_close() == (1002, "reserved bits must be 0")
    plain.close()
    deflating.close()


def test_reading_errors_are_quiet(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    keep = Keep()
    with caplog.at_level(logging.INFO, "gateway.websocket"):
        client = raw(serve(keep))
        ws = keep.socket
        client.reset()
        assert ws.wait_closed(5)
    assert not caplog.records
    assert ws.close_reason is reasons.LOST


# Closing


def test_a_close_behind_messages_that_nobody_takes(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=0.05)))
    client.send(frame(TEXT, b"untaken") + frame(CLOSE))
    assert keep.socket.wait_closed(5)
    assert keep.socket.close_code == 1005
    assert keep.socket.receive() == "untaken"


def test_whoever_closes_behind_messages_nobody_takes_is_answered_in_its_time(
    serve: Serve,
) -> None:
    """It waits for us as long as we would for it; so we take half of that."""
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=600)))
    client.send(frame(TEXT, b"untaken") + frame(CLOSE))
    ws = keep.socket
    eventually(lambda: ws._ending)
    half = gevent.get_hub().loop.timer(300)
    half.start(gevent.sleep)
    assert 0 <= half.at - ws._timer.at < 100
    half.close()
    client.close()


def test_closing_when_the_peer_has_closed_behind_messages_nobody_took(
    serve: Serve,
) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=60)))
    client.send(frame(TEXT, b"untaken") + frame(CLOSE, b"\x03\xe8"))
    eventually(lambda: keep.socket.waiting)
    gevent.spawn(keep.socket.close, 1001).get(timeout=5)
    assert keep.socket.close_code == 1000
    assert client.receive_close() == (1001, "")
    assert keep.socket.receive() == "untaken"


def test_closing_while_messages_wait_that_nobody_takes(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=60)))
    client.send_text("untaken")
    eventually(lambda: keep.socket.waiting)
    keep.socket.start_close(reasons.NORMAL)
    assert client.receive_close() == (1000, "")
    client.send(frame(CLOSE, b"\x03\xe8"))
    assert keep.socket.wait_closed(5)
    assert keep.socket.receive() == "untaken"


def test_closing_behind_more_than_may_wait(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(max_queued_messages=3, close_timeout_s=60)))
    client.send(frame(TEXT, b"untaken") * 100 + frame(CLOSE, b"\x03\xe8"))
    eventually(lambda: keep.socket._paused)
    gevent.spawn(keep.socket.close).get(timeout=5)
    assert keep.socket.close_code == 1000
    assert client.receive_close() == (1000, "")


@pytest.mark.parametrize(
    ("payload", "echoed"),
    [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x0f\xa1bye", b"\x0f\xa1bye")],
)
def test_the_peers_close_is_echoed_then_tcp_is_closed(
    serve: Serve, payload: bytes, echoed: bytes
) -> None:
    client = raw(serve(echo))
    client.send(frame(CLOSE, payload))
    received = client.receive()
    assert received is not None
    assert (received.opcode, bytes(received.data)) == (CLOSE, echoed)
    client.receive_eof()


def test_our_close_waits_for_the_peers(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    closing = gevent.spawn(keep.socket.close, 4003, "go")
    assert client.receive_close() == (4003, "go")
    assert not closing.ready()
    assert repr(keep.socket).endswith("closing>")
    client.send(frame(TEXT, b"too late") + frame(CLOSE, b"\x0f\xa3"))
    closing.join(5)
    assert keep.socket.close_code == 4003
    with pytest.raises(ConnectionClosedError):
        keep.socket.receive()
    client.receive_eof()


def test_a_peer_that_never_answers_our_close_is_dropped(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=0.05)))
    keep.socket.close()
    assert keep.socket.close_code == 1006
    assert client.receive_close() == (1000, "")
    client.receive_eof()


@pytest.mark.parametrize("close", [frame(CLOSE, b"\x03\xe8"), b"\xff\xff"])
def test_a_peer_that_talks_on_behind_its_close_gets_no_more_time(
    serve: Serve, close: bytes
) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=0.2)))

    def talk_on() -> None:
        with suppress(OSError):
            while True:
                client.send(frame(TEXT, b"more"))
                gevent.sleep(0.02)

    client.send(frame(TEXT, b"untaken") + close)
    talking = gevent.spawn(talk_on)
    assert keep.socket.wait_closed(5)
    assert keep.socket.receive() == "untaken"
    talking.get(timeout=5)


def test_a_peer_that_talks_on_behind_our_close_gets_no_more_time(
    serve: Serve,
) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(close_timeout_s=0.2)))

    def talk_on() -> None:
        with suppress(OSError):
            while True:
                client.send(frame(PING) + frame(TEXT, b"more"))
                gevent.sleep(0.02)

    talking = gevent.spawn(talk_on)
    gevent.spawn(keep.socket.close).get(timeout=5)
    assert keep.socket.close_code == 1006
    talking.get(timeout=5)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (frame(TEXT, b"\xff"), 1007),
        (b"\x82\xff" + (2**31).to_bytes(8, "big"), 1009),
    ],
)
def test_a_peer_that_breaks_the_rules(
    serve: Serve, data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets what it was owed, a Close frame that says why, and half of TCP shut."""
    server = serve(echo)
    bystander = connect(server.url)
    client = raw(server)
    client.send(frame(TEXT, b"owed") + data + b"\0" * 100_000)
    received = client.receive()
    assert received is not None
    assert received.data == b"owed"
    assert client.receive_close()[0] == code
    client.receive_eof()
    client.close()
    eventually(lambda: len(server.sockets) == 1)
    assert "closed: " in caplog.text
    bystander.send("still here")
    assert bystander.receive() == "still here"
    bystander.close()


def test_a_stalled_reader_goes_with_too_slow(serve: Serve) -> None:
    keep = Keep()
    terms = Limits(max_outgoing_bytes=100_000, close_timeout_s=0.1)
    client = raw(serve(keep, limits=terms))
    ws = keep.socket
    while ws.close_reason is None:
        ws.outbox.put(Message(b"x" * 50_000))
        gevent.sleep(0)
    assert ws.close_reason is reasons.TOO_SLOW
    assert ws.outbox.waiting_bytes < 100_000
    assert client.receive_close() == (1008, "Reading too slowly")
    client.close()


def test_a_stalled_reader_that_stays_stalled_is_dropped(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, limits=Limits(write_timeout_s=0.05)))
    ws = keep.socket
    for _ in range(200):
        ws.outbox.put(Message(b"x" * 50_000))
    assert ws.wait_closed(5)
    assert ws.close_reason is reasons.TOO_SLOW
    client.close()


def test_abort_drops_the_connection_at_once(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    keep.socket.abort()
    client.receive_eof()
    assert keep.socket.close_reason is reasons.LOST


# The heartbeat


def test_heartbeats_find_the_dead(serve: Serve) -> None:
    server = serve(echo, ping_interval_s=0.1, limits=Limits(close_timeout_s=0.05))
    client = raw(server)
    with connect(server.url) as alive:
        eventually(lambda: server.endpoint.closed["no_pong"] == 1)
        alive.send("alive")
        assert alive.receive() == "alive"
    assert client.receive_close() == (1011, "No answer to pings")
    client.close()


@pytest.mark.parametrize("more", [0, 10])
def test_silence_that_is_our_doing_is_not_held_against_the_peer(
    serve: Serve, more: int
) -> None:
    """Its Pong may be behind what we do not read; nor is it, when we read again."""
    keep = Keep()
    client = raw(serve(keep, limits=Limits(max_queued_messages=10)))
    client.send(frame(TEXT, b"untaken") * (10 + more))
    ws = keep.socket
    eventually(lambda: ws._paused)
    ws.heartbeat()
    ws.check_heartbeat()
    assert ws.close_reason is None
    for _ in range(10):
        ws.receive(5)
    ws.check_heartbeat()
    assert ws.close_reason is None
    ws.heartbeat()
    ws.check_heartbeat()
    assert ws.close_reason is reasons.NO_PONG  # for now it is its own
    client.close()


def test_a_ping_in_a_backlog_is_none_that_was_left_unanswered(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    ws = keep.socket
    ws.heartbeat()
    while not ws.outbox.stalled:
        ws.send_message(Message(b"x" * 60_000))
        gevent.sleep(0)
    ws.check_heartbeat()  # the write timeout has to say it
    assert ws.close_reason is None
    ws.heartbeat()
    reading = gevent.spawn(list, iter(client.receive, None))
    eventually(lambda: not ws.outbox.stalled)
    ws.check_heartbeat()  # the ping has left only now
    assert ws.close_reason is None
    reading.kill()
    client.close()


# What stands in the log


def test_log_lines_name_the_peer_as_long_as_it_can_be_known(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep, trusted_proxies=1))
    ws = keep.socket
    assert ws.name == f"#{ws.id} (127.0.0.1)"
    ws.release_request()
    assert ws.name == f"#{ws.id} (127.0.0.1)"
    client.close()
    assert ws.wait_closed(5)
    assert ws.name == f"#{ws.id}"


def test_a_proxys_word_counts(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(echo, trusted_proxies=1)
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    client.request(headers={"X-Forwarded-For": "192.0.2.7"})
    client.send(b"\xff\xff")
    client.receive_close()
    assert "(192.0.2.7) closed: protocol_error" in caplog.text
    client.close()
