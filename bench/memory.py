"""Resident memory of a client who is subscribed and says nothing.

With heartbeats as the product has them, each of which has come to every client before
it is measured.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench import peers
from bench.case import Result, main
from bench.cookie import session_cookie
from bench.dialects import CABLE, EXTENDED, Dialect, cable
from bench.load import Crowd
from bench.processes import Server, gateway

_BAR_KB = 3.0
_WARM = 500
_PEERS = (
    *("uWebSockets (app.run)", "Node ws", "python-websockets", "picows"),
    "Flask-SocketIO",
)
_CABLE_PING_S = 3.0
_RFC_PING_S = 25.0


def size_kb(
    server: Server,
    dialect: Dialect,
    sockets: int,
    *,
    deflate: bool = False,
    listen_s: float = 0.0,
) -> float:
    """Memory of one socket, of so many."""
    with server, Crowd(server.port, dialect, deflate=deflate) as crowd:
        crowd.open(_WARM)  # what is needed once
        before = server.resident_kb()
        crowd.open(sockets)
        crowd.listen(listen_s)
        return (server.resident_kb() - before) / sockets


def run(quick: bool) -> Iterator[Result]:
    sockets, listen_s = (2000, 0.0) if quick else (10_000, _RFC_PING_S + 1)
    cookie = session_cookie(name="Ada")
    signed_in = cable("ChatChannel", "speak", cookie=cookie, room_id=1)
    for what, dialect, deflate, bar in (
        ("plain", CABLE, False, _BAR_KB),
        ("deflate", CABLE, True, _BAR_KB),
        ("plain, with a session", signed_in, False, _BAR_KB),
        ("deflate, with a session", signed_in, True, _BAR_KB),
        ("extended protocol", EXTENDED, False, None),
    ):
        server = gateway(
            ping_interval=f"{_CABLE_PING_S}", websocket_ping_interval=f"{_RFC_PING_S}"
        )
        ours = size_kb(server, dialect, sockets, deflate=deflate, listen_s=listen_s)
        yield Result("memory", f"ours, {what}", ours, "KB a socket", at_most=bar)
    for name in () if quick else _PEERS:
        if peer := peers.start(name, "fanout"):
            theirs = size_kb(peer, peers.DIALECTS[name], sockets)
            yield Result("memory", name, theirs, "KB a socket")


if __name__ == "__main__":
    main(run)
