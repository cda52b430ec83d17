"""What an open WebSocket does: receiving, sending, closing, from both ends."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event
from websockets.frames import Opcode

from gateway import reasons
from gateway.errors import (
    ConnectionClosed,
    ConnectionClosedError,
    LocalError,
)
from gateway.reasons import CloseReason
from gateway.websocket import Limits, Message, WebSocket, WebSocketServer, connect
from tests.support import eventually
from tests.support.raw import frame
from tests.websocket.conftest import Keep, Serve, echo, raw

TEXT, BINARY, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE
PING, PONG = Opcode.PING, Opcode.PONG


# Receiving


def test_echo_of_all_sizes(serve: Serve) -> None:
    with connect(serve(echo).url) as ws:
        for message in ["", "né", "x" * 70_000, b"", b"\0" * 900_000]:
            ws.send(message)
            assert ws.receive() == message


def test_receive_times_out_and_loses_nothing(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    with pytest.raises(TimeoutError, match=r"nothing in 0\.01 s"):
        keep.socket.receive(timeout=0.01)
    data = frame(TEXT, b"cut in half")
    client.send(data[:9])
    with gevent.Timeout(0.05, False):
        keep.socket.receive()
    client.send(data[9:] + frame(TEXT, b"next"))
    assert keep.socket.receive(timeout=5) == "cut in half"
    assert keep.socket.receive(timeout=5) == "next"
    client.close()


def test_only_one_greenlet_receives(serve: Serve) -> None:
    keep = Keep()
    with connect(serve(keep).url) as client:
        first = gevent.spawn(keep.socket.receive)
        gevent.sleep(0)
        with pytest.raises(LocalError, match="another greenlet is already receiving"):
            keep.socket.receive()
        client.send("to the first")
        assert first.get() == "to the first"


def test_iteration_ends_with_the_connection_however_it_ends(serve: Serve) -> None:
    seen: list[list[object]] = []
    server = serve(lambda ws: seen.append([*ws, ws.close_code]))
    for end in (
        lambda client: client.send(frame(CLOSE, b"\x0f\xa1")),
        lambda client: client.send(frame(CLOSE)),
        lambda client: client.reset(),
    ):
        client = raw(server)
        client.send(frame(TEXT, b"hi"))
        eventually(lambda: server.endpoint.messages_in > len(seen))
        end(client)
        client.close()
    eventually(lambda: len(seen) == 3)
    assert seen == [["hi", 4001], ["hi", 1005], ["hi", 1006]]


# Sending


def test_any_number_of_greenlets_may_send(serve: Serve) -> None:
    with connect(serve(echo).url) as ws:
        senders = [gevent.spawn(ws.send, str(n) * 10_000) for n in range(10)]
        gevent.joinall(senders, raise_error=True)
        got = sorted(str(ws.receive(timeout=5)) for _ in range(10))
    assert got == [str(n) * 10_000 for n in range(10)]


def test_a_sender_waits_for_a_reader_who_lags(serve: Serve) -> None:
    sent: list[int] = []

    def pour(ws: WebSocket) -> None:
        for number in range(400):
            ws.send(b"x" * 60_000)
            sent.append(number)

    server = serve(pour)
    client = raw(server)
    eventually(lambda: len(sent) > 0)
    gevent.sleep(0.1)
    assert len(sent) < 400
    total = 0
    while total < 400:
        received = client.receive()
        assert received is not None
        total += received.opcode is BINARY
    assert client.receive_close() == (1000, "")
    client.close()


def test_senders_queue_up_in_front_of_a_reader_who_lags(serve: Serve) -> None:
    """However many there are: none of them adds to what waits already."""
    keep = Keep()
    client = raw(serve(keep, limits=Limits(max_outgoing_bytes=200_000)))
    ws = keep.socket
    while not ws.outbox.crowded:
        ws.send_message(Message(b"x" * 60_000))
        gevent.sleep(0)
    senders = [gevent.spawn(ws.send, b"late" * 15_000) for _ in range(100)]
    gevent.sleep(0.01)  # nothing shall happen, so there is nothing to wait for
    assert ws.outbox.waiting_bytes < 200_000
    late = 0
    while late < 100:
        received = client.receive()
        assert received is not None
        late += received.data[:4] == b"late"
    gevent.joinall(senders, timeout=5, raise_error=True)
    assert ws.close_reason is None
    client.close()


def test_senders_that_wait_learn_that_the_connection_is_closing(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    ws = keep.socket
    while not ws.outbox.crowded:
        ws.send_message(Message(b"x" * 60_000))
        gevent.sleep(0)
    waiting = gevent.spawn(ws.send, "too late")
    gevent.sleep(0)
    ws.start_close(reasons.NORMAL)
    with pytest.raises(ConnectionClosed):
        ws.send("later still")
    client.reset()
    with pytest.raises(ConnectionClosed):
        waiting.get(timeout=5)


def test_in_the_hub_nobody_waits(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    ws = keep.socket
    while not ws.outbox.crowded:
        ws.send_message(Message(b"x" * 60_000))
        gevent.sleep(0)
    sent: list[None] = []
    gevent.get_hub().loop.run_callback(lambda: sent.append(ws.send("from the hub")))
    eventually(lambda: sent)
    client.close()


def test_another_thread_cannot_send(serve: Serve) -> None:
    """It would lie in a loop that does not know of it until something else happens."""
    keep = Keep()
    pool = gevent.get_hub().threadpool
    with connect(serve(keep).url) as ws:
        for use in (lambda: keep.socket.send("x"), keep.socket.ping):
            with pytest.raises(LocalError, match="belongs to another thread"):
                pool.apply(use)
        keep.socket.send("from its own")
        assert ws.receive(5) == "from its own"


@pytest.mark.parametrize("value", [None, 42, {"a": 1}, [1, 2], "\ud800"])
def test_what_is_no_message(serve: Serve, value: object) -> None:
    with connect(serve(echo).url) as ws:
        with pytest.raises(LocalError):
            ws.send(value)  # type: ignore[arg-type]
        ws.send("unharmed")
        assert ws.receive(5) == "unharmed"


def test_a_waiting_sender_learns_that_the_connection_is_gone(serve: Serve) -> None:
    outcome: list[object] = []

    def pour(ws: WebSocket) -> None:
        try:
            while True:
                ws.send(b"x" * 60_000)
        except ConnectionClosed as exc:
            outcome.append(exc)

    client = raw(serve(pour))
    gevent.sleep(0.05)
    client.reset()
    eventually(lambda: outcome)
    assert isinstance(outcome[0], ConnectionClosedError)


def test_sending_json(serve: Serve) -> None:
    with connect(serve(echo).url) as ws:
        ws.send_json({"a": [1, None]})
        assert ws.receive() == '{"a":[1,null]}'
        with pytest.raises(TypeError):
            ws.send_json(object())


def test_a_closed_socket_raises_connection_closed(serve: Serve) -> None:
    ws = connect(serve(echo).url)
    ws.close(4000, "enough")
    ws.close()
    with pytest.raises(ConnectionClosed):
        ws.receive()
    with pytest.raises(ConnectionClosed):
        ws.send("x")
    with pytest.raises(ConnectionClosed):
        ws.send_message(Message("x"))
    with pytest.raises(ConnectionClosedError, match="sent 4000 enough"):
        ws.ping()
    assert repr(ws).endswith("closed>")


def test_pings_return_the_round_trip_time(serve: Serve) -> None:
    with connect(serve(echo).url) as ws:
        assert 0 < ws.ping() < 5


def test_a_ping_without_an_answer(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    with pytest.raises(TimeoutError, match=r"no Pong in 0\.02 s"):
        keep.socket.ping(timeout=0.02)
    waiting = gevent.spawn(keep.socket.ping)
    gevent.sleep(0)
    client.close()
    with pytest.raises(ConnectionClosedError):
        waiting.get()


def test_a_ping_that_nobody_reads_the_answer_to(serve: Serve) -> None:
    """What waits for the program stands in front of the Pong."""
    keep = Keep()
    client = raw(serve(keep, limits=Limits(max_queued_messages=3)))
    client.send(frame(TEXT, b"untaken") * 3)
    eventually(lambda: keep.socket.waiting == 3)
    with pytest.raises(TimeoutError, match="3 messages wait to be received"):
        keep.socket.ping(timeout=0.02)
    client.close()


def test_a_pong_answers_all_pings_before_it(serve: Serve) -> None:
    keep = Keep()
    client = raw(serve(keep))
    pings = [gevent.spawn(keep.socket.ping) for _ in range(3)]
    payloads = []
    for _ in range(3):
        received = client.receive()
        assert received is not None
        payloads.append(bytes(received.data))
    client.send(frame(PONG, b"unsolicited") + frame(PONG, payloads[1]))
    gevent.joinall(pings[:2], timeout=5, raise_error=True)
    assert [p.ready() for p in pings] == [True, True, False]
    client.send(frame(PONG, payloads[2]))
    assert pings[2].get(timeout=5) > 0
    client.close()


# Closing


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (None, 1000),
        (ValueError("on purpose"), 1011),
        (gevent.Timeout(1), 1011),
        (gevent.GreenletExit(), 1000),
        (KeyboardInterrupt(), 1000),
    ],
)
def test_leaving_the_with_block_says_how(
    serve: Serve, end: BaseException | None, code: int
) -> None:
    codes: list[int | None] = []
    server = serve(on_close=lambda ws: codes.append(ws.close_code))

    def talk() -> None:
        with connect(server.url):
            if end is not None:
                raise end

    with suppress(BaseException):
        talk()
    eventually(lambda: codes == [code])


def test_a_handler_that_returns_closes_its_socket(serve: Serve) -> None:
    client = raw(serve(lambda ws: ws.send("done")))
    received = client.receive()
    assert received is not None
    assert received.data == b"done"
    assert client.receive_close() == (1000, "")
    client.close()


def test_a_handler_that_fails_closes_with_1011(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = raw(serve(lambda ws: 1 / 0))
    assert client.receive_close() == (1011, "Internal error")
    assert "ZeroDivisionError" in caplog.text
    client.close()


# Parking


class Recorder:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.wait = Event()
        self.wait.set()
        self.goodbye: str | None = None

    def received(self, message: str | bytes) -> None:
        self.wait.wait()
        if message == "fail":
            raise ValueError(message)
        self.heard.append(message)

    def closed(self, ws: WebSocket) -> None:
        self.heard.append(ws.close_reason)

    def farewell(self, reason: CloseReason) -> str | None:
        return self.goodbye


def parked(
    serve: Serve, recorder: Recorder, **limits: float
) -> tuple[WebSocketServer, Keep]:
    keep = Keep()

    def park(ws: WebSocket) -> None:
        ws.listen(recorder)
        ws.release_request()
        keep(ws)

    return serve(park, limits=Limits(**limits)), keep  # type: ignore[arg-type]


def test_a_parked_socket_is_served_in_order(serve: Serve) -> None:
    recorder = Recorder()
    server, _ = parked(serve, recorder, close_timeout_s=0.1)
    recorder.wait.clear()
    client = raw(server)
    client.send(frame(TEXT, b"1") + frame(BINARY, b"2"))
    eventually(lambda: server.endpoint.messages_in == 2)
    client.send(frame(TEXT, b"3") + frame(CLOSE, b"\x03\xe8"))
    client.receive_close()
    recorder.wait.set()
    eventually(lambda: len(recorder.heard) == 4)
    assert recorder.heard[:3] == ["1", b"2", "3"]
    assert recorder.heard[3] == CloseReason("closed_by_peer", 1000)
    client.close()


def test_a_parked_socket_keeps_no_parser_and_no_request(serve: Serve) -> None:
    recorder = Recorder()
    server, keep = parked(serve, recorder)
    client = raw(server)
    client.send(frame(TEXT, b"1"))
    eventually(lambda: recorder.heard == ["1"])
    assert keep.socket._inbox is None
    assert keep.socket._messages is None
    with pytest.raises(LocalError, match="was released"):
        _ = keep.socket.path
    with pytest.raises(LocalError, match="parked"):
        keep.socket.receive()
    client.send(frame(TEXT, b"half")[:7])
    eventually(lambda: keep.socket._inbox is not None)
    client.close()


def test_a_listener_that_fails_costs_its_own_socket(serve: Serve) -> None:
    recorder = Recorder()
    server, _ = parked(serve, recorder)
    client = raw(server)
    client.send(frame(TEXT, b"fail") + frame(TEXT, b"unheard"))
    assert client.receive_close() == (1011, "Internal error")
    client.close()
    eventually(lambda: recorder.heard == [reasons.INTERNAL_ERROR])


def test_the_farewell_precedes_the_close_frame(serve: Serve) -> None:
    recorder = Recorder()
    recorder.goodbye = '{"type":"disconnect"}'
    server, keep = parked(serve, recorder)
    client = raw(server)
    keep.socket.start_close(reasons.SERVER_RESTART)
    received = client.receive()
    assert received is not None
    assert received.data == b'{"type":"disconnect"}'
    assert client.receive_close() == (1001, "Server restart")
    client.close()


def test_listening_to_a_socket_that_is_closed_already(serve: Serve) -> None:
    recorder, keep = Recorder(), Keep()
    client = raw(serve(keep))
    ws = keep.socket
    client.send(frame(TEXT, b"last words"))
    eventually(lambda: ws.waiting)
    client.close()
    ws.wait_closed(5)
    ws.listen(recorder)
    eventually(lambda: recorder.heard == ["last words", reasons.LOST])


def test_backpressure_on_a_parked_socket(serve: Serve) -> None:
    recorder = Recorder()
    keep = Keep()
    server = serve(
        lambda ws: (ws.listen(recorder), keep(ws)), limits=Limits(max_queued_messages=5)
    )
    recorder.wait.clear()
    client = raw(server)
    for number in range(40):
        client.send_text(str(number))
        gevent.sleep(0)
    eventually(lambda: keep.socket._paused)
    recorder.wait.set()
    eventually(lambda: recorder.heard == [str(number) for number in range(40)])
    assert keep.socket._queued_bytes == 0
    client.close()


def test_a_parked_socket_is_served_in_order_however_much_comes_at_once(
    serve: Serve,
) -> None:
    recorder = Recorder()
    server, _ = parked(serve, recorder)
    client = raw(server)
    texts = [str(number) for number in range(1000)]
    client.send(b"".join(frame(TEXT, text.encode()) for text in texts) + frame(CLOSE))
    client.receive_close()
    eventually(lambda: len(recorder.heard) == 1001)
    assert recorder.heard[:-1] == texts


# What stays behind: nothing


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_closed_socket_is_forgotten(
    serve: Serve, leave: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Keep()
    server = serve(keep)
    client = raw(server)
    reference = weakref.ref(keep.socket)
    getattr(client, leave)()
    eventually(lambda: not server.sockets)
    keep.sockets.clear()
    eventually(lambda: (gc.collect(), reference() is None)[1])
