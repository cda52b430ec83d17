"""How to be a subscriber, and how to speak, on different kinds of servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DIALECTS", "Cable", "Dialect", "SocketIO"]


class Dialect:
    """A plain WebSocket server that sends every message to all.

    Other servers are subclasses that override what they do differently. A ``text`` is
    a frame of the server's; None stands for the moment in which the socket has opened.

    >>> Dialect().is_ready(None, "lobby"), Dialect().speak("hello", "lobby")
    (True, 'hello')
    """

    path: str = "/"
    """Where to connect, if the URL has no path of its own."""
    subprotocols: Sequence[str] = ()
    settling_s: float = 1.0
    """How long who has just been let in may still miss messages: a bare WebSocket is
    open before the server's program knows of it."""

    def invites(self, text: str | None) -> bool:
        """Whether it is the time to ask to be let in."""
        return False

    def join(self, room: str) -> str:
        """The frame that asks to be let into a room."""
        return ""

    def is_ready(self, text: str | None, room: str) -> bool:
        """Whether we are let in."""
        return text is None

    def refusal(self, text: str) -> str | None:
        """A sentence, if ``text`` says that we are not."""
        return None

    def answer(self, text: str) -> str | None:
        """What to reply to a frame without a stamp, if anything."""
        return None

    def speak(self, message: str, room: str) -> str:
        """The frame that has ``message`` sent to all in the room."""
        return message

    def echo(self, message: str, room: str) -> str:
        """The frame that has ``message`` sent back to us."""
        return self.speak(message, room)


@dataclass(frozen=True)
class Cable(Dialect):
    """Action Cable: a channel with the parameter ``param`` and an action.

    >>> Cable(param="id").identifier("lobby")
    '{"channel":"ChatChannel","id":"lobby"}'
    """

    channel: str = "ChatChannel"
    action: str = "speak"
    param: str = "room_id"

    path = "/cable"
    subprotocols = ("actioncable-v1-json",)
    settling_s = 0.0  # the confirmation comes when nothing is missed any more

    def identifier(self, room: str) -> str:
        """The subscription to a room."""
        params = {"channel": self.channel}
        if self.param:
            params[self.param] = room
        return json.dumps(params, separators=(",", ":"))

    def invites(self, text: str | None) -> bool:
        return text is not None and '"type":"welcome"' in text

    def join(self, room: str) -> str:
        return self._command("subscribe", room)

    def is_ready(self, text: str | None, room: str) -> bool:
        return text is not None and '"confirm_subscription"' in text

    def refusal(self, text: str) -> str | None:
        if '"reject_subscription"' in text:
            return f"the server rejected the subscription to {self.channel}"
        if '"type":"disconnect"' in text:
            return f"the server refused the connection: {text[:200]}"
        return None

    def speak(self, message: str, room: str) -> str:
        data = json.dumps({"action": self.action, "message": message})
        return self._command("message", room, data=data)

    def _command(self, command: str, room: str, **fields: str) -> str:
        return json.dumps(
            {"command": command, "identifier": self.identifier(room), **fields}
        )


class SocketIO(Dialect):
    """Socket.IO over WebSocket alone: the event ``speak`` is emitted to all."""

    path = "/socket.io/?EIO=4&transport=websocket"
    settling_s = 0.0

    def invites(self, text: str | None) -> bool:
        return text is not None and text.startswith("0")

    def join(self, room: str) -> str:
        return "40"

    def is_ready(self, text: str | None, room: str) -> bool:
        return text is not None and text.startswith("40")

    def refusal(self, text: str) -> str | None:
        return f"the server refused: {text[:200]}" if text.startswith("44") else None

    def answer(self, text: str) -> str | None:
        return "3" if text == "2" else None

    def speak(self, message: str, room: str) -> str:
        return "42" + json.dumps(["speak", message])


DIALECTS: dict[str, Dialect] = {
    "cable": Cable(),
    "plain": Dialect(),
    "socketio": SocketIO(),
}
