"""Event streams of a real server, which stops."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.live import LiveServer

pytestmark = pytest.mark.process


def test_sigterm_ends_them_well(tmp_path: Path) -> None:
    with LiveServer(tmp_path, GATEWAY_DRAIN_SECONDS="0") as server, server.raw() as raw:
        raw.send(
            b"GET /cable/events?channel=ChatChannel&room_id=7 HTTP/1.1\r\n"
            b"Host: localhost\r\nConnection: close\r\n\r\n"
        )
        heard = b""
        while b"confirm_subscription" not in heard:
            data = raw.sock.recv(65536)
            assert data, heard
            heard += data
        server.terminate()
        while data := raw.sock.recv(65536):
            heard += data
        assert b"event: disconnect\n" in heard
        assert b'"reason":"server_restart"' in heard
        assert heard.endswith(b"0\r\n\r\n")  # the last chunk, as HTTP wants it
        assert server.wait() == 0


def test_a_client_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    settings = {"GATEWAY_WRITE_TIMEOUT": "0.5", "GATEWAY_BROADCAST_KEY": "sesame"}
    with LiveServer(tmp_path, **settings) as server, server.raw() as raw:
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.send(
            b"GET /cable/events?channel=ChatChannel&room_id=7 HTTP/1.1\r\n"
            b"Host: localhost\r\n\r\n"
        )
        assert raw.sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
        post = {"stream": "chat_7", "data": "x" * 10_000_000}
        assert server.post("/cable/broadcast", post, "sesame")[0] == 201
        gone = 'gateway_sockets_closed_total{reason="too_slow"} 1.0'
        eventually(lambda: gone in server.get("/metrics")[1])
        assert "Traceback" not in server.log
