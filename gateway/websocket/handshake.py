"""The opening handshake (RFC 6455 §4.2), seen by a server. No I/O here.

What may be refused is refused before the application is asked; what it decides on
(who may come, which subprotocol) is its own, see :mod:`gateway.websocket.upgrade`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import (
    build_extension,
    parse_connection,
    parse_extension,
    parse_subprotocol,
    parse_upgrade,
)
from websockets.utils import accept_key

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket.frames import DEFLATED, PLAIN, Encoding
from gateway.websocket.inflate import Inflater

__all__ = [
    "TOKEN",
    "Agreement",
    "Request",
    "agree",
    "check",
    "check_subprotocols",
    "client_address",
    "is_upgrade",
]

Environ = Mapping[str, Any]

_WITH_PORT = re.compile(r"([\d.]+):\d+|\[([^\]]+)\](?::\d+)?")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
"""What names of headers and subprotocols are made of (RFC 9110 §5.6.2)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a peer asked for when it opened a WebSocket.

    >>> Request("/chat", "room=1", {"host": "example.com"}).headers["host"]
    'example.com'
    """

    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    remote_address: str = ""
    response_headers: dict[str, str] = field(default_factory=dict)
    """Those of the 101, as a client got them; names are in lower case."""

    @classmethod
    def from_environ(cls, environ: Environ, trusted_proxies: int = 0) -> Request:
        """The request as WSGI (PEP 3333) describes it."""
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        path: str = environ.get("PATH_INFO", "")
        return cls(
            path.encode("latin-1", "replace").decode(errors="replace"),
            environ.get("QUERY_STRING", ""),
            headers,
            client_address(environ, trusted_proxies),
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides agreed on, and the headers that say so."""

    headers: list[tuple[str, str]]
    subprotocol: str | None
    encoding: Encoding
    inflater: Callable[[], Inflater] | None


def client_address(environ: Environ, trusted_proxies: int) -> str:
    """Where a request comes from, seen through so many proxies of our own.

    Each proxy appends to ``X-Forwarded-For`` whom it heard; so the last entry is true
    if we trust one proxy, the last but one if two. What stands before is anybody's
    claim.
    """
    peer = str(environ.get("REMOTE_ADDR", ""))
    if not trusted_proxies:
        return peer
    claims = str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")
    hops = [*filter(None, (claim.strip() for claim in claims)), peer]
    return _without_port(hops[max(-len(hops), -1 - trusted_proxies)])


def _without_port(address: str) -> str:
    """Some proxies tell the port, too: ``192.0.2.1:4711``, ``[2001:db8::1]:4711``."""
    found = _WITH_PORT.fullmatch(address)
    return address if found is None else found[1] or found[2]


def is_upgrade(environ: Environ) -> bool:
    """Whether a request wants to become a WebSocket, rightly or not."""
    return "websocket" in environ.get("HTTP_UPGRADE", "").lower()


def check(environ: Environ) -> None:
    """Refuse an upgrade that RFC 6455 §4.2.1 does not allow.

    Raises:
        HandshakeRefused: with status 400, 405, or 426 and the version we speak.
    """
    if environ["REQUEST_METHOD"] != "GET":
        raise HandshakeRefused(405, "A WebSocket opens with GET.", [("Allow", "GET")])
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise HandshakeRefused(400, "A WebSocket opens with HTTP/1.1.")
    host = environ.get("HTTP_HOST", "")
    if not host or "," in host:  # as servers join two
        raise HandshakeRefused(400, "A WebSocket opens with one Host.")
    if not _is_switch(environ["HTTP_UPGRADE"], environ.get("HTTP_CONNECTION", "")):
        raise HandshakeRefused(
            400, 'A WebSocket opens with "Upgrade: websocket, Connection: Upgrade".'
        )
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandshakeRefused(400, "A request to open a WebSocket has no body.")
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION", "")
    if version != "13":
        raise HandshakeRefused(
            426,
            f"Sec-WebSocket-Version is {version!r}; this server speaks 13.",
            [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
        )
    if not _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        raise HandshakeRefused(400, "Sec-WebSocket-Key is not 16 bytes in base64.")


def check_subprotocols(names: Sequence[str]) -> None:
    """Whether these can be offered, or agreed on (RFC 6455 §4.1).

    Raises:
        LocalError: they are no list of names.
    """
    if isinstance(names, str):
        raise LocalError(
            f"subprotocols is a list of names, not the string {names!r}: "
            f"write [{names!r}]"
        )
    for name in names:
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise LocalError(
                f"subprotocol {name!r} cannot be sent in a header: use letters, "
                "digits, and !#$%&'*+-.^_`|~"
            )


def agree(
    environ: Environ, *, subprotocols: Sequence[str] = (), compression: bool = True
) -> Agreement:
    """Choose subprotocol and compression among what the client offers.

    The first subprotocol in the *client's* order that we support wins; without one the
    answer names none (docs/protocol.md says what that means to cable clients).

    Raises:
        HandshakeRefused: 400, when an offer cannot be read.
        LocalError: ``subprotocols`` is no list of names.
    """
    check_subprotocols(subprotocols)
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(environ["HTTP_SEC_WEBSOCKET_KEY"])),
    ]
    subprotocol = next((p for p in offered(environ) if p in subprotocols), None)
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    encoding, inflater = PLAIN, None
    if compression:
        offer = environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")
        answer, encoding, inflater = _deflate(offer)
        if answer:
            headers.append(("Sec-WebSocket-Extensions", answer))
    return Agreement(headers, subprotocol, encoding, inflater)


def offered(environ: Environ) -> list[str]:
    """The subprotocols the client offers, in its order."""
    value = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")
    return list(_subprotocols(value)) if value else []


# Clients send a handful of different headers, so what they mean is kept.


@lru_cache(maxsize=64)
def _subprotocols(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(item) for item in parse_subprotocol(value))
    except InvalidHeader:
        raise HandshakeRefused(400, "Sec-WebSocket-Protocol cannot be read.") from None


@lru_cache(maxsize=64)
def _is_switch(upgrade: str, connection: str) -> bool:
    """Whether two headers ask for a WebSocket, and for nothing else."""
    try:
        wanted = [item.lower() for item in parse_upgrade(upgrade)]
        options = [item.lower() for item in parse_connection(connection)]
    except InvalidHeader:
        return False
    return wanted == ["websocket"] and "upgrade" in options


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value.strip().encode("ascii"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


@lru_cache(maxsize=64)
def _deflate(
    offer: str,
) -> tuple[str, Encoding, Callable[[], Inflater] | None]:
    """The answer to an offer of extensions (RFC 7692 §7): only sharable deflate."""
    if not offer:
        return "", PLAIN, None
    try:
        extensions = parse_extension(offer)
    except InvalidHeader:
        raise HandshakeRefused(
            400, "Sec-WebSocket-Extensions cannot be read."
        ) from None
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=DEFLATED,
        client_max_window_bits=DEFLATED,
    )
    for name, params in extensions:
        if name != factory.name:
            continue
        try:
            answer, agreed = factory.process_request_params(params, [])
        except NegotiationError:
            continue
        make = partial(Inflater, agreed.remote_max_window_bits)
        return build_extension([(name, answer)]), agreed.local_max_window_bits, make
    return "", PLAIN, None
