"""What a load client says to each kind of server, and what it hears."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

__all__ = [
    "BARE",
    "CABLE",
    "ECHO",
    "EXTENDED",
    "SOCKETIO",
    "Dialect",
    "cable",
    "mark",
    "perform",
]


@dataclass(frozen=True)
class Dialect:
    """``publish`` and ``echo`` hold ``%s`` where the text goes that must come back."""

    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    hello: str = ""
    """Said once the socket is open."""
    ready: bytes = b""
    """What the server's answer to ``hello`` holds."""
    publish: str = "%s"
    """Makes the server send the text to everybody, or back, as the server is made."""


def mark(number: int) -> str:
    """A text that can be told from all others."""
    return f"@@{number:012d}@@"


def perform(identifier: str, name: str, **data: object) -> str:
    """An action of a channel."""
    text = json.dumps({"action": name, **data})
    command = {"command": "message", "identifier": identifier, "data": text}
    return json.dumps(command)


def cable(channel: str, act: str, /, cookie: str = "", **params: object) -> Dialect:
    """A client of one channel, whose ``act`` takes a ``message``."""
    identifier = json.dumps({"channel": channel, **params}, separators=(",", ":"))
    headers = {"Sec-WebSocket-Protocol": "actioncable-v1-json"}
    if cookie:
        headers["Cookie"] = cookie
    return Dialect(
        "/cable",
        headers,
        json.dumps({"command": "subscribe", "identifier": identifier}),
        b"confirm_subscription",
        perform(identifier, act, message="%s"),
    )


CABLE = cable("ChatChannel", "speak", room_id=1)
EXTENDED = replace(CABLE, headers={"Sec-WebSocket-Protocol": "actioncable-v1-ext-json"})
ECHO = cable("EchoChannel", "echo")

# What the other servers are given to send is the envelope that ours has to make.
_ENVELOPE = json.dumps(
    {
        "identifier": '{"channel":"ChatChannel","room_id":1}',
        "message": {"message": "%s", "user": "guest"},
    },
    separators=(",", ":"),
)

BARE = Dialect(publish=_ENVELOPE)
SOCKETIO = Dialect(
    "/socket.io/?EIO=4&transport=websocket",
    hello="40",
    ready=b"40{",
    publish='42["speak",' + _ENVELOPE + "]",
)
