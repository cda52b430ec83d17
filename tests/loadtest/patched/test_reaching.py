"""What goes wrong on the way to the server is said: what, where, and what may help."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from gateway.websocket import WebSocket
from loadtest.dialects import Dialect
from loadtest.lab import Lab
from loadtest.scenarios import Scenario
from loadtest.users import WebSocketUser
from tests.loadtest.faulty import Cable, Faulty
from tests.loadtest.patched.conftest import Bench, Measure
from tests.support.tls import Certificate
from tests.websocket.conftest import Serve, certificate, echo

__all__ = ["certificate"]

CABLE = {"subprotocols": Cable.subprotocols}

Make = Callable[..., Bench]


def closed_port() -> int:
    """Where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def page() -> Iterator[str]:
    """A web server that has only a page that says no, with much around it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [("Content-Type", "text/html")])
        return [b"<!doctype html><html><head><title>404</title></head><body>No</body>"]

    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    yield f"ws://127.0.0.1:{server.server_port}/nowhere"
    server.stop()


@pytest.mark.parametrize("scenario", ["fanout", "idle"])
def test_a_server_that_is_not_there(measure: Measure, scenario: str) -> None:
    url = f"ws://127.0.0.1:{closed_port()}/cable"
    result = measure(scenario, url, 3, hold=1)
    assert f"cannot connect to {url}: Connection refused" in result["error"]
    assert result["ledger"]["sent"] == 0
    assert result["ledger"]["failed"] == 3


@pytest.mark.parametrize("scenario", ["fanout", "idle"])
def test_a_path_that_is_not_there(measure: Measure, page: str, scenario: str) -> None:
    result = measure(scenario, page, 3, hold=1)
    assert result["error"].endswith(
        f"{page} answered 404 Not Found: 404 No (is the path right, and may pages of "
        "this origin connect? See --origin)"
    )


def test_a_certificate_that_is_not_trusted(
    measure: Measure, serve: Serve, certificate: Certificate
) -> None:
    server = serve(echo, ssl_context=certificate.server())
    result = measure("fanout", server.url, 3, hold=1, dialect="plain")
    assert f"cannot connect to {server.url}/: " in result["error"]
    assert "certificate verify failed" in result["error"]


def test_a_server_that_lets_nobody_speak(measure: Measure, serve: Serve) -> None:
    class Mute(Cable):
        def subscribed(self, ws: WebSocket) -> None:
            ws.send('{"type":"reject_subscription"}')

    url = serve(Mute(), **CABLE).url
    result = measure("fanout", url, 3, hold=1)
    assert result["error"] == (
        f"{url}/cable: the server rejected the subscription to ChatChannel"
    )


def test_a_server_that_closes_everybody_in_the_middle(
    measure: Measure, serve: Serve
) -> None:
    class Dying(Faulty):
        def tell(self, message: str) -> None:
            if ":4:" not in message:
                super().tell(message)
            else:
                for ws in list(self.readers):
                    ws.abort()

    url = serve(Dying()).url
    result = measure("fanout", url, 3, hold=30, rate=10, dialect="plain")
    assert result["error"].startswith(f"{url}/ closed ")
    assert result["ledger"]["received"] == 9
    assert result["ledger"]["dropped"] == 3


def test_the_sockets_come_from_several_addresses(
    measure: Measure, serve: Serve
) -> None:
    seen: set[str] = set()

    def handler(ws: WebSocket) -> None:
        seen.add(ws.remote_address)
        for _ in ws:
            pass

    url = serve(handler).url
    measure("idle", url, 6, hold=0.2, dialect="plain", source_addresses=3)
    assert seen == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}


@pytest.mark.parametrize(
    ("scenario", "options", "sentence"),
    [
        ("fanout", {"rate": 0}, "--rate is 0: not above 0"),
        ("fanout", {"hold": -1}, "--hold is -1.0: not above 0"),
        ("rooms", {"room_count": 0}, "--room-count is 0: not above 0"),
        ("rooms", {"dialect": "plain"}, "rooms is for --dialect cable only"),
        ("storm", {"hold": 5}, "at every 10th message, and 1 a second for 5 s are 5"),
    ],
)
def test_options_that_make_no_sense(
    bench: Make, scenario: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        bench(scenario, "ws://127.0.0.1:1", **options)


class Broken(Dialect):
    """Has a bug that shows when it speaks."""

    def speak(self, message: str, room: str) -> str:
        raise LookupError("no such word")


class Unlucky(WebSocketUser):
    """Cannot speak."""

    lab = Lab(Scenario("unlucky", "…"), rooms=lambda options: ["unlucky"])
    dialect = Broken()


class Clumsy(WebSocketUser):
    """Has a bug that shows when it is let in."""

    lab = Lab(Scenario("clumsy", "…"))

    def ready(self) -> None:
        raise LookupError("no such thing")


def test_a_scenario_with_a_bug_comes_to_an_end(measure: Measure, serve: Serve) -> None:
    url = serve(Faulty()).url
    result = measure(Unlucky, url, 3, hold=1)
    assert result["error"] == "the speaker failed: LookupError: no such word"
    result = measure(Clumsy, url, 3, hold=1)
    assert result["ledger"]["let_in"] == 3


def test_two_scenarios_cannot_run_at_once(bench: Make) -> None:
    with pytest.raises(ValueError, match="clumsy and unlucky cannot run at once"):
        Bench([Unlucky, Clumsy], "ws://127.0.0.1:1", 1)
