"""What a client and its messages cost the gateway, counted and not timed.

A program of its own, so that nothing else is counted. ``--renew`` writes down what the
test compares with.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flask import Flask

from gateway import Channel, Gateway, action
from gateway.websocket import Message
from gateway.websocket.frames import DEFLATED
from gateway.websocket.turn import Turn
from tests.bench.client import Client
from tests.bench.counting import Calls, kept_bytes, least, passing_bytes
from tests.support import eventually
from tests.support.app import Served, identify

__all__ = ["BASELINE", "PYTHON", "measure"]

BASELINE = Path(__file__).parent / "baseline.json"
PYTHON = ".".join(platform.python_version_tuple()[:2])
"""Other versions of Python make other calls for the same code."""

_READERS = 100
"""So many that their messages are written in slices, as to a thousand."""
_KEPT = 400
_STREAMS = 20
_TIMES = 15
_KILOBYTE = {"rows": [{"price": number * 7.31} for number in range(50)]}


class Bench:
    """An application that is served, and what its clients do."""

    def __init__(self) -> None:
        app = Flask(__name__)
        app.config.update(SECRET_KEY="counted", GATEWAY_ADAPTER="memory")
        self.gateway = Gateway(app)
        self.newest: Channel
        self.turn = Turn.current()
        bench = self

        @self.gateway.channel
        class RoomChannel(Channel):
            def subscribed(self) -> None:
                bench.newest = self
                for name in self.params["streams"]:
                    self.stream_from(name)

            @action
            def echo(self, data: dict[str, Any]) -> None:
                self.transmit(data["text"])

        self.served = Served(app)

    def join(self, *streams: str, deflate: bool = False) -> Client:
        """A client that is welcomed and subscribed."""
        client = Client(self.served.port, deflate=deflate)
        identifier = identify("RoomChannel", streams=streams)
        client.say(json.dumps({"command": "subscribe", "identifier": identifier}))
        assert b"welcome" in client.hear()
        assert b"confirm_subscription" in client.hear()
        return client

    def broadcast(
        self, stream: str, readers: Sequence[Client], message: Any = "hello"
    ) -> None:
        """A message, and every reader has it."""
        self.gateway.broadcast(stream, message)
        receive(readers)

    def broadcast_to_others(self, stream: str, readers: Sequence[Client]) -> None:
        """A message that the newest of the readers does not get."""
        self.gateway.broadcast(stream, "hello", exclude=self.newest.connection)
        receive(readers[:-1])

    def broadcast_at_once(self, streams: Sequence[str], reader: Client) -> None:
        """A message on each stream, in the same turn of the loop."""
        for stream in streams:
            self.gateway.broadcast(stream, "hello")
        for _ in streams:
            receive([reader])

    def send_to_each(self, readers: Sequence[Client]) -> None:
        """One prepared message to all that agreed to compression, socket by socket."""
        message = Message(json.dumps(_KILOBYTE))
        for ws in self.served.cable.endpoint.sockets:
            if ws.outbox.encoding == DEFLATED:
                ws.send_message(message)
        receive(readers)

    def echo(self, client: Client, identifier: str) -> None:
        """An action, and its answer."""
        data = json.dumps({"action": "echo", "text": "hello"})
        command = {"command": "message", "identifier": identifier, "data": data}
        client.say(json.dumps(command))
        assert b"hello" in client.hear()

    def leave(self, *clients: Client) -> None:
        """They go, and the server has noticed."""
        for client in clients:
            client.close()
        eventually(lambda: not self.served.cable.endpoint.sockets)


def receive(readers: Sequence[Client]) -> None:
    """Each gets a message."""
    for reader in readers:
        reader.hear()


def measure() -> dict[str, float]:
    """Each count, by what it is of."""
    counts = count_bytes()
    calls = Calls()
    bench = Bench()
    with bench.served:
        clients: list[Client] = []
        connecting = calls.of(lambda: clients.append(bench.join("room")), _TIMES)
        counts["calls per client that connects and subscribes"] = connecting
        bench.leave(*clients)
        return counts | count_messages(bench, calls)


def count_bytes() -> dict[str, float]:
    """What is kept of a client who says nothing, and what a message takes meanwhile."""
    bench = Bench()
    sockets: list[int] = []

    def come(clients: int = _KEPT) -> None:
        # The client's own objects do not count: only its socket is left.
        for _ in range(clients):
            client = bench.join("room")
            sockets.append(os.dup(client.sock.fileno()))
            client.close()

    def go() -> None:
        while sockets:
            os.close(sockets.pop())
        bench.leave()

    with bench.served:
        come()  # what is needed once
        go()
        kept = kept_bytes(come, first=lambda: come(1))
        go()
        room = [bench.join("room") for _ in range(_READERS)]
        passing = passing_bytes(
            lambda: bench.broadcast("room", room, _KILOBYTE), _TIMES
        )
        bench.leave(*room)
    return {
        "bytes per client": kept / _KEPT,
        "bytes in use per copy, while a kilobyte goes out": passing / _READERS,
    }


def count_messages(bench: Bench, calls: Calls) -> dict[str, float]:
    """What messages take, by how many hear them."""
    streams = [f"stream_{number}" for number in range(_STREAMS)]
    one, many = bench.join("one"), bench.join(*streams)
    deflated = [bench.join("deflated", deflate=True) for _ in range(_READERS)]
    room = [bench.join("room") for _ in range(_READERS)]

    def to_one() -> None:
        bench.broadcast("one", [one])

    def to_room() -> None:
        bench.broadcast("room", room)

    def to_others() -> None:
        bench.broadcast_to_others("room", room)

    def to_deflated() -> None:
        bench.broadcast("deflated", deflated, _KILOBYTE)

    def to_each() -> None:
        bench.send_to_each(deflated)

    def at_once() -> None:
        bench.broadcast_at_once(streams, many)

    def echo() -> None:
        bench.echo(one, identify("RoomChannel", streams=["one"]))

    def sends_of(work: Callable[[], object]) -> int:
        return least(work, lambda: bench.turn.writes, _TIMES)

    def calls_of(work: Callable[[], object], copies: int = 1) -> float:
        return calls.of(work, _TIMES) / copies

    others = _READERS - 1
    return {
        "sends per delivered message": sends_of(to_room) / _READERS,
        "sends per turn, 20 streams of a client": sends_of(at_once),
        "calls per message to one": calls_of(to_one),
        "calls per delivered message": calls_of(to_room, _READERS),
        "calls per delivered message, one left out": calls_of(to_others, others),
        "calls per delivered message, deflated": calls_of(to_deflated, _READERS),
        "calls per prepared message, deflated": calls_of(to_each, _READERS),
        "calls per message, 20 streams of a client": calls_of(at_once, _STREAMS),
        "calls per action and answer": calls_of(echo),
    }


def main() -> None:
    counts = {what: round(count, 2) for what, count in measure().items()}
    text = json.dumps({"python": PYTHON, "counts": counts}, indent=2)
    if sys.argv[1:] == ["--renew"]:
        BASELINE.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
