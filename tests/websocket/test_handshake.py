"""The opening handshake: every way to get it wrong, and what is agreed on."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket import Request
from gateway.websocket.frames import DEFLATED, PLAIN
from gateway.websocket.handshake import agree, check, client_address, is_upgrade
from tests.support.raw import KEY


def environ(**changes: str | None) -> dict[str, Any]:
    base: dict[str, str | None] = {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/cable",
        "QUERY_STRING": "a=1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "example.com",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "keep-alive, Upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
    }
    base.update(changes)
    return {name: value for name, value in base.items() if value is not None}


def test_a_valid_request() -> None:
    assert is_upgrade(environ())
    check(environ())
    check(environ(HTTP_UPGRADE="WebSocket", CONTENT_LENGTH="0"))
    assert not is_upgrade(environ(HTTP_UPGRADE=None))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"REQUEST_METHOD": "POST"}, 405),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, 400),
        ({"HTTP_HOST": None}, 400),
        ({"HTTP_HOST": ""}, 400),
        ({"HTTP_HOST": "example.com,evil.net"}, 400),  # as servers join two
        ({"HTTP_CONNECTION": "keep-alive"}, 400),
        ({"HTTP_CONNECTION": None}, 400),
        ({"HTTP_CONNECTION": "\x00"}, 400),
        ({"HTTP_UPGRADE": "websocket, h2c"}, 400),
        ({"CONTENT_LENGTH": "5"}, 400),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 400),
        ({"HTTP_SEC_WEBSOCKET_VERSION": None}, 426),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "8"}, 426),
        ({"HTTP_SEC_WEBSOCKET_VERSION": "99"}, 426),
        ({"HTTP_SEC_WEBSOCKET_KEY": None}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": "abc"}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": KEY[:-4]}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": f"{KEY},{KEY}"}, 400),
        ({"HTTP_SEC_WEBSOCKET_KEY": "\xff" * 24}, 400),
    ],
)
def test_refusals(changes: dict[str, str | None], status: int) -> None:
    with pytest.raises(HandshakeRefused) as refused:
        check(environ(**changes))
    assert refused.value.status == status
    if status == 426:
        assert ("Sec-WebSocket-Version", "13") in refused.value.headers


def test_the_accept_header_of_rfc_6455() -> None:
    agreed = agree(environ())
    assert ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") in agreed.headers
    assert agreed.subprotocol is None
    assert agreed.encoding == PLAIN


@pytest.mark.parametrize(
    ("offer", "ours", "chosen"),
    [
        ("a, b", ("b", "a"), "a"),
        ("a, b", ("b",), "b"),
        ("a", ("b",), None),
        ("actioncable-v1-jsonx", ("actioncable-v1-json",), None),
        (None, ("a",), None),
    ],
)
def test_the_clients_order_decides(
    offer: str | None, ours: tuple[str, ...], chosen: str | None
) -> None:
    agreed = agree(environ(HTTP_SEC_WEBSOCKET_PROTOCOL=offer), subprotocols=ours)
    assert agreed.subprotocol == chosen
    assert dict(agreed.headers).get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize("ours", ["chat", ["a b"], ["a", 1], [""]])
def test_subprotocols_that_cannot_be_ours(ours: Any) -> None:
    with pytest.raises(LocalError, match="subprotocol"):
        agree(environ(), subprotocols=ours)


@pytest.mark.parametrize("offer", ["a b", ",", "a,,\x00", '"a"', "\u00e9"])
def test_subprotocols_that_cannot_be_read(offer: str) -> None:
    with pytest.raises(HandshakeRefused, match="Sec-WebSocket-Protocol"):
        agree(environ(HTTP_SEC_WEBSOCKET_PROTOCOL=offer))


@pytest.mark.parametrize(
    ("offer", "window_bits", "answer"),
    [
        (
            "permessage-deflate; client_max_window_bits",
            DEFLATED,
            "permessage-deflate; server_no_context_takeover; "
            "client_no_context_takeover; server_max_window_bits=12; "
            "client_max_window_bits=12",
        ),
        (
            "permessage-deflate; server_max_window_bits=9",
            9,
            "permessage-deflate; server_no_context_takeover; "
            "client_no_context_takeover; server_max_window_bits=9",
        ),
        ("permessage-deflate; server_max_window_bits=8", PLAIN, None),
        ("permessage-deflate; nonsense", PLAIN, None),
        ("x-webkit-deflate-frame", PLAIN, None),
    ],
)
def test_deflate_is_agreed_on_when_it_can_be_shared(
    offer: str, window_bits: int, answer: str | None
) -> None:
    agreed = agree(environ(HTTP_SEC_WEBSOCKET_EXTENSIONS=offer))
    assert agreed.encoding == window_bits
    assert dict(agreed.headers).get("Sec-WebSocket-Extensions") == answer
    assert (agreed.inflater is None) is (answer is None)


def test_compression_can_be_declined() -> None:
    offer = environ(HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate")
    assert agree(offer, compression=False).encoding == PLAIN


def test_extensions_that_cannot_be_read() -> None:
    with pytest.raises(HandshakeRefused, match="Sec-WebSocket-Extensions"):
        agree(environ(HTTP_SEC_WEBSOCKET_EXTENSIONS=";"))


def test_the_request_is_kept_as_plain_data() -> None:
    request = Request.from_environ(environ())
    assert (request.path, request.query) == ("/cable", "a=1")
    assert request.remote_address == "192.0.2.1"
    assert request.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/caf\u00c3\u00a9", "/café"),  # UTF-8, as WSGI gives it (PEP 3333)
        ("/caf\u00e9", "/caf\ufffd"),
        ("/plain", "/plain"),
    ],
)
def test_a_path_is_unicode(sent: str, path: str) -> None:
    assert Request.from_environ(environ(PATH_INFO=sent)).path == path


@pytest.mark.parametrize(
    ("trusted_proxies", "forwarded_for", "address"),
    [
        (0, None, "192.0.2.1"),
        (0, "198.51.100.7", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "forged, 198.51.100.7", "198.51.100.7"),
        (1, " forged ,\t198.51.100.7  ", "198.51.100.7"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "198.51.100.7:4711", "198.51.100.7"),
        (1, "[2001:db8::7]:4711", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, "unknown", "unknown"),
        (1, "[odd", "[odd"),
        (2, None, "192.0.2.1"),
        (2, "203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (2, "198.51.100.7,203.0.113.9", "198.51.100.7"),
        (2, "forged, forged, 198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (2, "forged, , 198.51.100.7,, 203.0.113.9,", "198.51.100.7"),
    ],
)
def test_the_clients_address_is_seen_through_trusted_proxies(
    trusted_proxies: int, forwarded_for: str | None, address: str
) -> None:
    seen = environ(HTTP_X_FORWARDED_FOR=forwarded_for)
    assert client_address(seen, trusted_proxies) == address
    assert Request.from_environ(seen, trusted_proxies).remote_address == address


def test_a_unix_socket_has_no_address_but_its_proxy_tells_one() -> None:
    seen = environ(REMOTE_ADDR=None, HTTP_X_FORWARDED_FOR="198.51.100.7")
    assert client_address(seen, 0) == ""
    assert client_address(seen, 1) == "198.51.100.7"
