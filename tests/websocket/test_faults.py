"""Connections that break, on real sockets: what is left behind is nothing."""

from __future__ import annotations

import logging

import gevent
import gevent.socket
import pytest
from websockets.frames import Opcode

from bench.leak import STEPS, cycles, figures, settled
from gateway import reasons
from gateway.errors import ConnectionClosedError
from gateway.reasons import CloseReason
from gateway.websocket import Limits, Message, Multicast, WebSocket, connect
from tests.support import eventually
from tests.support.raw import RawClient, frame, switching
from tests.websocket.conftest import Keep, Serve, echo, raw

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE = Opcode.CLOSE

SOON = Limits(close_timeout_s=0.1, write_timeout_s=0.1)


# Half-open


def test_a_peer_whose_end_is_gone_without_a_word(serve: Serve) -> None:
    """It answers nothing any more, as after a power cut."""
    server = serve(echo, ping_interval_s=0.2, ping_timeout_s=0.1, limits=SOON)
    client = raw(server)
    eventually(lambda: server.endpoint.closed["no_pong"] == 1)
    assert not server.sockets
    client.close()


def test_a_peer_that_shuts_its_half(serve: Serve) -> None:
    """Without a Close frame that is the end (RFC 6455 §7.1.5: 1006)."""
    keep = Keep()
    client = raw(serve(keep))
    client.send(frame(TEXT, b"last"))
    client.sock.shutdown(gevent.socket.SHUT_WR)
    assert keep.socket.wait_closed(5)
    assert keep.socket.receive() == "last"
    assert keep.socket.close_code == 1006
    client.receive_eof()


def test_a_server_that_is_gone_without_a_word(serve: Serve) -> None:
    """Seen by our client: it has a heartbeat too."""
    with listening() as listener:
        port = listener.getsockname()[1]
        answering = gevent.spawn(_answer_and_fall_silent, listener)
        ws = connect(f"ws://127.0.0.1:{port}", ping_interval=0.2, limits=SOON)
        assert ws.wait_closed(30)
        assert ws.close_reason is reasons.NO_PONG
        answering.get().close()


def listening() -> gevent.socket.socket:
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def _answer_and_fall_silent(
    listener: gevent.socket.socket,
) -> gevent.socket.socket:
    sock, _ = listener.accept()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    sock.sendall(switching(head))
    return sock


# In the middle of something


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize(
    "data",
    [
        b"\x81",
        b"\x81\xfe\x10",
        b"\x82\xff" + (70_000).to_bytes(8, "big") + bytes(4),
        frame(TEXT, b"half of it")[:-4],
        frame(TEXT, b"a", fin=False),
        frame(TEXT, b"a", fin=False) + frame(CONT, b"b")[:-1],
        frame(CLOSE, b"\x03\xe8")[:-1],
        frame(BINARY, b"x" * 100_000)[:90_000],
    ],
)
def test_a_peer_that_leaves_in_the_middle_of_a_frame(
    serve: Serve, caplog: pytest.LogCaptureFixture, data: bytes, leave: str
) -> None:
    keep = Keep()
    server = serve(keep)
    with caplog.at_level(logging.INFO, "gateway.websocket"):
        client = raw(server)
        ws = keep.socket
        client.send(data)
        eventually(lambda: ws.bytes_in == len(data))
        getattr(client, leave)()
        assert ws.wait_closed(5)
        with pytest.raises(ConnectionClosedError):
            ws.receive()
    assert ws.close_reason is reasons.LOST
    assert not server.sockets
    assert not caplog.records


def test_a_peer_that_resets_while_it_is_written_to(serve: Serve) -> None:
    ended: list[object] = []

    def pour_out(ws: WebSocket) -> None:
        try:
            while True:
                ws.send(b"x" * 60_000)
        except ConnectionClosedError as exc:
            ended.append(exc.received)
            raise

    server = serve(pour_out)
    client = raw(server)
    eventually(lambda: any(ws.outbox.stalled for ws in server.sockets))
    client.reset()
    eventually(lambda: ended == [None])
    assert not server.sockets


def test_a_peer_that_resets_before_its_upgrade_is_answered(serve: Serve) -> None:
    server = serve(echo)
    for _ in range(20):
        client = RawClient(int(server.url.rsplit(":", 1)[1]))
        client.send(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n")
        client.reset()
    with connect(server.url) as ws:
        ws.send("unharmed")
        assert ws.receive(5) == "unharmed"
    eventually(lambda: not server.sockets)


# Peers that do not do their part


def test_a_reader_that_stalls_is_let_go_and_holds_nobody_up(serve: Serve) -> None:
    keep = Keep()
    server = serve(keep, limits=SOON)
    client = raw(server)
    stalled = keep.socket
    with connect(server.url) as other:
        theirs = eventually(lambda: keep.sockets[1:])[0]
        while not stalled.outbox.stalled:
            stalled.outbox.put(Message(b"x" * 60_000))
            gevent.sleep(0)
        theirs.send("not held up")
        assert other.receive(5) == "not held up"
        assert stalled.wait_closed(5)
        assert stalled.close_reason is reasons.TOO_SLOW
    client.close()


class Guest:
    """A listener whose socket is in a room until it is closed."""

    def __init__(self, room: Multicast) -> None:
        self.room = room

    def received(self, message: str | bytes) -> None: ...

    def closed(self, ws: WebSocket) -> None:
        self.room.discard(ws.outbox)

    def farewell(self, reason: CloseReason) -> str | None:
        return "You are too slow."


def test_a_reader_that_stalls_in_a_room_costs_the_others_nothing(serve: Serve) -> None:
    """Though what it does not read is larger than its limit, so that it has to go."""
    room, next_room = Multicast(), Multicast()
    keep = Keep()

    def park(ws: WebSocket) -> None:
        ws.listen(Guest(room))
        room.add(ws.outbox)
        keep(ws)

    server = serve(park, limits=Limits(max_outgoing_bytes=50_000, close_timeout_s=0.1))
    stalled = raw(server)
    ws = keep.socket
    room.send(Message(bytes(2**24)))
    eventually(lambda: ws.outbox.stalled)
    with connect(server.url) as other:
        theirs = eventually(lambda: keep.sockets[1:])[0]
        next_room.add(theirs.outbox)
        server.endpoint.workers.run(gevent.sleep)
        eventually(lambda: server.endpoint.workers.idle)  # and so can start at once
        room.send(Message("x" * 50_000))
        next_room.send(Message("next"))
        assert other.receive(5) == "x" * 50_000
        assert other.receive(5) == "next"
        assert ws.close_reason is reasons.TOO_SLOW
        assert ws.wait_closed(5)
        eventually(lambda: len(room) == 1)
    stalled.close()


@pytest.mark.parametrize("who", ["server", "client"])
def test_a_peer_that_never_answers_a_close(serve: Serve, who: str) -> None:
    keep = Keep()
    if who == "server":
        client = raw(serve(keep, limits=SOON))
        ws = keep.socket
    else:
        listener = listening()
        answering = gevent.spawn(_answer_and_fall_silent, listener)
        port = listener.getsockname()[1]
        ws = connect(f"ws://127.0.0.1:{port}", limits=SOON)
    ws.close(1001, "going")
    assert ws.closed
    assert ws.close_code == 1006
    if who == "server":
        assert client.receive_close() == (1001, "going")
    else:
        answering.get().close()
        listener.close()


def test_a_peer_that_answers_our_close_and_keeps_the_connection(serve: Serve) -> None:
    """Then it is for the server to end it (RFC 6455 §7.1.1)."""
    keep = Keep()
    client = raw(serve(keep))
    closing = gevent.spawn(keep.socket.close)
    client.receive_close()
    client.send(frame(CLOSE, b"\x03\xe8"))
    client.receive_eof()
    closing.get(timeout=5)


# A thousand times


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_left_of_a_thousand_connections(serve: Serve, step: str) -> None:
    server = serve(echo)
    start = figures(server)
    cycles(server, 200, step)  # what is made once, is made
    before = settled(server, start)
    cycles(server, 1000, step)
    after = settled(server, start)
    assert not after.holds_more_than(start), (start, after)
    assert after.resident_kib - before.resident_kib < 4096
