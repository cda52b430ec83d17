"""Who may come in: so many sockets, and so many of one address."""

from __future__ import annotations

import resource
import sys
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from gateway.errors import HandshakeRefused
from gateway.websocket import (
    Endpoint,
    Limits,
    UpgradeHandler,
    WebSocketServer,
    connect,
)
from tests.support import eventually
from tests.support.raw import RawClient
from tests.websocket.conftest import Serve, echo, raw


def ask(server: WebSocketServer, *forwarded_for: str) -> tuple[int, dict[str, str]]:
    """Open a socket as a proxy in front would; gives the status and the headers."""
    client = RawClient(int(server.url.rsplit(":", 1)[1]))
    headers = {"X-Forwarded-For": ", ".join(forwarded_for)}
    return client.request(headers=headers)[:2]


# How many


def test_a_full_server_says_so_and_when_to_come_back(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(echo, limits=Limits(max_sockets=2))
    assert server.endpoint.places.room == 1
    with connect(server.url), connect(server.url):
        assert server.endpoint.places.room == 0
        status, headers = ask(server)
        assert (status, headers["retry-after"]) == (503, "5")
        assert server.endpoint.refused == {"max_sockets": 1}
        assert "refused 127.0.0.1: max_sockets = 2 sockets are open" in caplog.text
    connect(server.url).close()
    assert server.endpoint.opened == 3


def test_one_address_may_have_so_many(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(max_sockets_per_address=2)
    server = serve(echo, limits=limits, trusted_proxies=1)
    assert ask(server, "192.0.2.1")[0] == 101
    assert ask(server, "192.0.2.1")[0] == 101
    status, headers = ask(server, "192.0.2.1")
    assert (status, headers["retry-after"]) == (429, "5")
    assert server.endpoint.refused == {"max_sockets_per_address": 1}
    assert "refused 192.0.2.1: max_sockets_per_address = 2" in caplog.text
    assert ask(server, "192.0.2.2")[0] == 101
    while RawClient.opened:
        RawClient.opened.pop().close()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:DB8::1:0:0:0:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "unknown", True),
        ("unknown", "192.0.2.1", False),
        ("1.1.1.1, 192.0.2.1", "2.2.2.2, 192.0.2.1", True),  # anybody's claims
        ("192.0.2.1, 1.1.1.1", "192.0.2.1, 2.2.2.2", False),
    ],
)
def test_what_is_one_address(serve: Serve, one: str, other: str, is_same: bool) -> None:
    limits = Limits(max_sockets_per_address=1, close_timeout_s=0.01)
    server = serve(echo, limits=limits, trusted_proxies=1)
    assert ask(server, one)[0] == 101
    assert ask(server, other)[0] == (429 if is_same else 101)


def test_nobody_chooses_an_address_where_no_proxy_is_trusted(serve: Serve) -> None:
    limits = Limits(max_sockets_per_address=1, close_timeout_s=0.01)
    server = serve(echo, limits=limits)
    assert ask(server, "192.0.2.1")[0] == 101
    assert ask(server, "192.0.2.2")[0] == 429


def test_an_address_is_counted_down_however_its_sockets_end(serve: Serve) -> None:
    server = serve(echo, limits=Limits(max_sockets_per_address=4))
    connect(server.url).close()
    raw(server).reset()
    raw(server).close()
    broken = raw(server)
    broken.send(b"\xff\xff\xff\xff")
    broken.close()
    eventually(lambda: not server.sockets)
    assert server.endpoint.places.by_address == {}
    sockets = [connect(server.url) for _ in range(4)]
    assert server.endpoint.places.by_address == {"127.0.0.1": 4}
    with pytest.raises(HandshakeRefused, match="429"):
        connect(server.url)
    sockets.pop().close()
    connect(server.url).close()
    for ws in sockets:
        ws.close()
    eventually(lambda: not server.endpoint.places.by_address)


def test_addresses_are_not_counted_for_nothing(serve: Serve) -> None:
    server = serve(echo)
    with connect(server.url):
        assert server.endpoint.places.by_address == {}


# As many as there are descriptors


def allow(descriptors: int, patch: pytest.MonkeyPatch) -> None:
    """Let this process have so many file descriptors, as far as it is told."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100
    patch.setattr(resource, "getrlimit", lambda which: (descriptors, descriptors))


def test_there_is_room_for_as_many_sockets_as_descriptors_save_some(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(67, monkeypatch)
    server = serve(echo)
    sockets = [connect(server.url) for _ in range(3)]
    with pytest.raises(HandshakeRefused, match="503"):
        connect(server.url)
    for ws in sockets:
        ws.close()


@pytest.mark.parametrize(
    ("descriptors", "sockets"),
    [(10, 1), (1024, 960), (resource.RLIM_INFINITY, sys.maxsize)],
)
def test_few_descriptors_and_many(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, sockets: int
) -> None:
    allow(descriptors, monkeypatch)
    assert Endpoint(ping_interval_s=None).places.max_sockets == sockets


# Places are taken before a program has decided


def test_whoever_is_being_decided_on_has_a_place_already() -> None:
    endpoint = Endpoint(Limits(max_sockets=2), ping_interval_s=None)
    decide = Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        upgrade = environ["gateway.upgrade"]
        try:
            upgrade.reserve(endpoint)
        except HandshakeRefused as refused:
            start_response(f"{refused.status} Refused", [])
            return []
        decide.wait()  # for a database, say
        if environ["PATH_INFO"] == "/no":
            start_response("403 Forbidden", [])
            return []
        headers = upgrade.accept(endpoint, lambda ws: None)
        start_response("101 Switching Protocols", headers)
        return []

    server = WSGIServer(
        ("127.0.0.1", 0), application, log=None, handler_class=UpgradeHandler
    )
    server.start()

    def ask(path: str) -> int:
        return RawClient(int(server.server_port or 0)).request(path)[0]

    for path, status, opened in (("/no", 403, 0), ("/yes", 101, 2)):
        first = [gevent.spawn(ask, path) for _ in range(2)]
        eventually(lambda: endpoint.places.pending == 2)
        assert ask(path) == 503
        decide.set()
        assert [each.get(timeout=5) for each in first] == [status] * 2
        eventually(lambda: endpoint.places.pending == 0)
        assert endpoint.opened == opened
        decide.clear()
    assert ask("/yes") == 503
    endpoint.stop()
    server.stop()


def test_a_place_is_given_back_once() -> None:
    endpoint = Endpoint(Limits(max_sockets_per_address=2), ping_interval_s=None)
    one, other = endpoint.admit("192.0.2.1"), endpoint.admit("192.0.2.1")
    with pytest.raises(HandshakeRefused, match="429"):
        endpoint.admit("192.0.2.1")
    one.release()
    one.release()
    assert endpoint.places.by_address == {"192.0.2.1": 1}
    other.release()
    assert endpoint.places.by_address == {}
    assert endpoint.places.pending == 0
    endpoint.stop()
