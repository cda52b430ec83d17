"""Servers that speak like others, and have the faults they are told to have."""

from __future__ import annotations

import json
from collections.abc import Callable

from gateway.websocket import WebSocket
from loadtest.stamps import find, read

__all__ = ["Cable", "Faulty", "SocketIO", "Fate", "all_well"]

Fate = Callable[[str, int, int], list[str]]
"""What a reader gets instead of a message; given that, its number, and the reader."""


def all_well(text: str, number: int, reader: int) -> list[str]:
    """Everybody gets everything."""
    return [text]


class Faulty:
    """A plain server: what comes in goes to all, or as ``fate`` has it.

    Who speaks is reader 0; the others count from 1, in the order in which they came.
    """

    subprotocols: tuple[str, ...] = ()

    def __init__(self, fate: Fate = all_well) -> None:
        self.fate = fate
        self.readers: list[WebSocket] = []
        self.numbers: dict[WebSocket, int] = {}

    def __call__(self, ws: WebSocket) -> None:
        """The handler of :class:`gateway.websocket.WebSocketServer`."""
        self.opened(ws)
        for text in ws:
            if (said := self.said(ws, str(text))) is not None:
                self.numbers.setdefault(ws, 0)
                self.tell(said)
        if ws in self.readers:
            self.readers.remove(ws)

    def opened(self, ws: WebSocket) -> None:
        """Somebody has come."""
        self.readers.append(ws)

    def said(self, ws: WebSocket, text: str) -> str | None:
        """The message in a frame, if there is one."""
        return text

    def wrap(self, message: str) -> str:
        """The frame for a message."""
        return message

    def tell(self, message: str) -> None:
        """Send it to all, as their fate has it."""
        stamp = read(find(message))
        assert stamp is not None
        for ws in list(self.readers):
            reader = self.numbers.setdefault(ws, len(self.numbers))
            for each in self.fate(message, stamp.number, reader):
                if ws.close_reason is None:
                    ws.send(self.wrap(each))


class Cable(Faulty):
    """Action Cable with one stream."""

    subprotocols = ("actioncable-v1-json",)

    def opened(self, ws: WebSocket) -> None:
        ws.send('{"type":"welcome"}')

    def said(self, ws: WebSocket, text: str) -> str | None:
        command = json.loads(text)
        if command["command"] == "message":
            message: str = json.loads(command["data"])["message"]
            return message
        self.subscribed(ws)
        return None

    def subscribed(self, ws: WebSocket) -> None:
        """Somebody asks to be let in."""
        if ws not in self.readers:
            self.readers.append(ws)
        ws.send('{"type":"confirm_subscription"}')

    def wrap(self, message: str) -> str:
        return json.dumps({"identifier": "{}", "message": message})


class SocketIO(Faulty):
    """Socket.IO over WebSocket: it opens, it is asked in, and it pings."""

    def opened(self, ws: WebSocket) -> None:
        ws.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')

    def said(self, ws: WebSocket, text: str) -> str | None:
        if text == "40":
            ws.send('40{"sid":"a"}')
            ws.send("2")  # a ping; who does not answer is not told anything
        if text == "3":
            self.readers.append(ws)
        if not text.startswith("42"):
            return None
        message: str = json.loads(text[2:])[1]
        return message

    def wrap(self, message: str) -> str:
        return "42" + json.dumps(["message", message])
