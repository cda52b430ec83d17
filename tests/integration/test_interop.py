"""Our server with others' clients, our client with others' servers.

The others are the libraries people use, unmodified, each in a process of its own:
``websockets`` and ``websocket-client`` in Python, ``ws`` in Node.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConnectionClosed
from gateway.websocket import WebSocket, WebSocketServer, connect
from tests.support import eventually
from tests.support.live import ROOT

pytestmark = [pytest.mark.node, pytest.mark.process]

HERE = Path(__file__).parent


class Peer:
    """A program whose lines are read as it prints them."""

    def __init__(self, folder: Path, script: str, *arguments: str) -> None:
        if script.endswith(".mjs"):
            node = shutil.which("node") or str(ROOT / ".venv/bin/node")
            command = [node, str(HERE / "node" / script)]
        else:
            command = [sys.executable, str(HERE / "peers" / script)]
        self._output = folder / f"{script}.log"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> list[str]:
        """What it has printed, whole lines only."""
        return self._output.read_text().split("\n")[:-1]

    def line(self, start: str = "") -> str:
        """Wait for a line that begins so."""

        def found() -> str | None:
            assert not self.process.poll(), "\n".join(self.lines)
            return next((line for line in self.lines if line.startswith(start)), None)

        line = eventually(found, timeout=40)
        assert line is not None
        return line

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


StartPeer = Callable[..., Peer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartPeer]:
    """Starts peers, which end with the test."""
    peers: list[Peer] = []

    def run(*command: str) -> Peer:
        peers.append(Peer(tmp_path, *command))
        return peers[-1]

    yield run
    for peer in peers:
        peer.stop()


def converse(ws: WebSocket) -> None:
    """An echo that also does what it is told to."""
    for message in ws:
        if message == "ping me":
            ws.ping()
            ws.send("ponged")
        elif isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ")
            ws.close(int(code), reason)
        else:
            ws.send(message)


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize(
    ("client", "deflates"),
    [
        ("websockets_client.py", True),
        ("websocket_client.py", False),  # it knows no compression
        ("ws_client.mjs", True),
    ],
)
def test_their_client_and_our_server(
    start: StartPeer, client: str, deflates: bool, compression: bool
) -> None:
    closed: list[object] = []

    def handler(ws: WebSocket) -> None:
        converse(ws)
        ws.wait_closed()
        closed.append(ws.close_code)

    with WebSocketServer(
        ("127.0.0.1", 0), handler, subprotocols=["chat"], compression=compression
    ) as server:
        seen: dict[str, Any] = json.loads(start(client, server.url).line("{"))
        eventually(lambda: not server.sockets)
    assert seen == {
        "subprotocol": "chat",
        "deflate": deflates and compression,
        "text": True,
        "binary": True,
        "large": True,
        "fragments": True,
        "pieces": True,
        "pong": True,
        "pinged": "ponged",
        "closing": [4001, "bye"],
        "no subprotocol": None,
        "closed": [4002, "enough"],
    }
    assert closed[0] == 4001


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("server", ["websockets_server.py", "ws_server.mjs"])
def test_our_client_and_their_server(
    start: StartPeer, server: str, compression: bool
) -> None:
    peer = start(server)
    url = f"ws://127.0.0.1:{peer.line()}"
    with connect(url, subprotocols=["none", "chat"], compression=compression) as ws:
        assert ws.subprotocol == "chat"
        for message in ("né 💬", bytes(range(256)), "", b"", "large " * 50_000):
            ws.send(message)
            assert ws.receive(20) == message
        ws.send("fragments")
        assert ws.receive(20) == "in three pieces"
        assert ws.ping(20) > 0
        ws.send("ping me")
        assert ws.receive(20) == "ponged"
        ws.close(4001, "bye")
        assert ws.close_code == 4001
    assert peer.line("closed") == "closed 4001 bye"
    with connect(url, subprotocols=["chat"], compression=compression) as ws:
        ws.send("close 4002 enough")
        with pytest.raises(ConnectionClosed, match="received 4002 enough"):
            ws.receive(20)
