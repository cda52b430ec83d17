"""A client that costs little itself, and takes compressed messages as they are."""

from __future__ import annotations

import gevent.socket

from bench.wire import masked, split, upgrade

__all__ = ["Client"]

_PING = 0x89


class Client:
    """A socket of the cable at ``port``."""

    def __init__(self, port: int, *, deflate: bool = False) -> None:
        headers = {"Sec-WebSocket-Protocol": "actioncable-v1-json"}
        if deflate:
            offer = "permessage-deflate; client_max_window_bits"
            headers["Sec-WebSocket-Extensions"] = offer
        self.sock = gevent.socket.socket()
        self.sock.connect(("127.0.0.1", port))
        self.sock.sendall(upgrade("/cable", headers))
        self._frames: list[tuple[int, bytes]] = []
        self._rest = b""
        head, end = b"", b""
        while not end:
            head, end, self._rest = (head + self._receive()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        assert not deflate or b"permessage-deflate" in head

    def say(self, text: str) -> None:
        """Send a text message."""
        self.sock.sendall(masked(text))

    def hear(self) -> bytes:
        """The next message that is no heartbeat, compressed if it is."""
        while True:
            while not self._frames:
                self._frames, self._rest = split(self._rest + self._receive())
            head, payload = self._frames.pop(0)
            if head != _PING and b'"type":"ping"' not in payload:
                return payload

    def close(self) -> None:
        """Close the connection without a word."""
        self.sock.close()

    def _receive(self) -> bytes:
        data: bytes = self.sock.recv(65536)
        assert data, "the server has closed the connection"
        return data
