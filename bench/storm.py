"""All clients come at once: upgrade, Flask session, connect, subscribe, confirm."""

from __future__ import annotations

from collections.abc import Iterator

from bench import peers
from bench.case import Result, main
from bench.cookie import session_cookie
from bench.dialects import Dialect, cable
from bench.load import Crowd
from bench.processes import Server, gateway

_BAR = 2000
_PEERS = (
    "Flask-SocketIO",
    "python-websockets",
    "picows",
    "uWebSockets (app.run)",
    "Node ws",
)


def rate(server: Server, dialect: Dialect, sockets: int) -> float:
    """How many clients a CPU second lets in."""
    with server, Crowd(server.port, dialect) as crowd:
        crowd.open(200)  # warm
        before = server.cpu_s()
        crowd.open(sockets)
        return sockets / (server.cpu_s() - before)


def run(quick: bool) -> Iterator[Result]:
    sockets = 1500 if quick else 5000
    cookie = session_cookie(name="Ada")
    dialect = cable("ChatChannel", "speak", cookie=cookie, room_id=1)
    ours = rate(gateway(), dialect, sockets)
    yield Result(
        *("storm", "ours, with a session", ours, "clients a CPU second"), at_least=_BAR
    )
    for name in _PEERS[:1] if quick else _PEERS:
        if peer := peers.start(name, "fanout"):
            theirs = rate(peer, peers.DIALECTS[name], sockets)
            what = f"{name}, without a session"
            yield Result("storm", what, theirs, "clients a CPU second")


if __name__ == "__main__":
    main(run)
