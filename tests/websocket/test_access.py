"""The access log: one line for each socket that has closed, and nothing else for it."""

from __future__ import annotations

import logging

import pytest

from gateway.websocket import Message, Multicast, WebSocket, access, connect
from tests.support import eventually
from tests.websocket.conftest import Serve, echo, raw

Record = dict[str, object]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "gateway.access")
    return caplog


def figures(line: str) -> Record:
    """The line's ``name=value`` as a dict."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def test_a_line_tells_who_was_there_how_long_and_why_no_longer(
    serve: Serve, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "monotonic", iter([10.0, 12.5]).__next__)
    server = serve(echo, subprotocols=["chat"])
    with connect(f"{server.url}/room?token=secret", subprotocols=["chat"]) as ws:
        ws.send("hello")
        ws.send(b"world")
        assert (ws.receive(), ws.receive()) == ("hello", b"world")
    (line,) = eventually(lambda: log.messages)
    assert line.startswith("127.0.0.1 '/room' protocol=chat seconds=2.500 ")
    got = figures(line)
    # Two messages and a Close frame; here with masks, there with the answer's head.
    assert got.pop("bytes_in") == str(2 * (2 + 4 + 5) + 2 + 4 + 2)
    assert int(str(got.pop("bytes_out"))) > 2 * (2 + 5) + 2 + 2
    assert got == {
        "protocol": "chat",
        "seconds": "2.500",
        "messages_in": "2",
        "messages_out": "2",
        "reason": "closed_by_peer",
        "code": "1000",
    }
    assert "secret" not in log.text


def test_a_path_cannot_forge_a_line(
    serve: Serve, log: pytest.LogCaptureFixture
) -> None:
    server = serve(echo)
    connect(f"{server.url}/%0a127.0.0.2").close()
    (line,) = eventually(lambda: log.messages)
    assert line.startswith(r"127.0.0.1 '/\n127.0.0.2' protocol=- ")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_messages_are_counted_whatever_their_size(
    serve: Serve, log: pytest.LogCaptureFixture, size: int
) -> None:
    def fan_out(ws: WebSocket) -> None:
        room = Multicast()
        room.add(ws.outbox)
        for _ in range(3):  # joined to one piece of bytes
            room.send(Message(b"x" * size))
        ws.heartbeat()  # control frames are no messages
        ws.receive()

    server = serve(fan_out, compression=False)
    with connect(server.url, compression=False) as ws:
        for _ in range(3):
            assert len(ws.receive()) == size
        ws.send(b"x" * size)
    (line,) = eventually(lambda: log.messages)
    assert figures(line)["messages_out"] == "3"
    assert figures(line)["messages_in"] == "1"


def test_a_socket_that_was_lost_says_so(
    serve: Serve, log: pytest.LogCaptureFixture
) -> None:
    server = serve(echo)
    client = raw(server)
    eventually(lambda: server.sockets)
    client.close()
    (line,) = eventually(lambda: log.messages)
    assert "reason=lost code=1006" in line


def test_nothing_is_counted_while_nobody_listens(serve: Serve) -> None:
    server = serve(echo)
    with connect(server.url) as ws:
        eventually(lambda: server.sockets)
        assert {type(each) for each in server.sockets} == {WebSocket} == {type(ws)}


def test_a_client_writes_no_line(serve: Serve, log: pytest.LogCaptureFixture) -> None:
    server = serve(echo)
    for _ in range(2):
        connect(server.url).close()
    eventually(lambda: len(log.messages) >= 2)
    assert not server.sockets
    assert len(log.messages) == 2
