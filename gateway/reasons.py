"""Why a socket is closed: the only place where a close code comes from.

Each reason has a name (on the wire in the cable's ``disconnect`` frame, in logs and as
a metric label), an RFC 6455 §7.4 close code, and whether the client should come back.
Browsers' cable clients ignore the code and obey ``reconnect`` (docs/protocol.md).
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ALL", "CloseReason"]


class CloseReason(NamedTuple):
    """A named reason to close a socket.

    >>> from gateway.reasons import CloseReason
    >>> banned = CloseReason("banned", 4003, "You were banned", reconnect=False)
    >>> banned.code
    4003
    """

    name: str
    code: int
    text: str = ""
    reconnect: bool = True


NORMAL = CloseReason("normal", 1000)
SERVER_RESTART = CloseReason("server_restart", 1001, "Server restart")
PROTOCOL_ERROR = CloseReason("protocol_error", 1002)
INVALID_PAYLOAD = CloseReason("invalid_payload", 1007)
POLICY_VIOLATION = CloseReason("policy_violation", 1008)
MESSAGE_TOO_BIG = CloseReason("message_too_big", 1009)
INTERNAL_ERROR = CloseReason("internal_error", 1011, "Internal error")
NO_PONG = CloseReason("no_pong", 1011, "No answer to pings")
NO_BROKER = CloseReason("no_broker", 1013, "The message broker does not answer")
TOO_SLOW = CloseReason("too_slow", 1008, "Reading too slowly")
UNAUTHORIZED = CloseReason("unauthorized", 1000, "Unauthorized", reconnect=False)
REMOTE = CloseReason("remote", 1000, "Disconnected by the server")
LOST = CloseReason("lost", 1006)
"""The TCP connection ended without a Close frame. Never sent (RFC 6455 §7.4.1)."""

ALL = tuple(v for v in list(globals().values()) if isinstance(v, CloseReason))
