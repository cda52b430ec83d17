"""Connecting to a WebSocket server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, cast, overload
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import gevent
import gevent.socket
from gevent import get_hub
from gevent.hub import Hub
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.http11 import Request as HTTPRequest
from websockets.typing import Origin, Subprotocol

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket.answer import read_answer, refusal
from gateway.websocket.dialing import dial, parse_target
from gateway.websocket.endpoint import Endpoint
from gateway.websocket.frames import MASKED
from gateway.websocket.handshake import TOKEN, Request, check_subprotocols
from gateway.websocket.inflate import Inflater
from gateway.websocket.limits import Limits, check_seconds
from gateway.websocket.reconnect import Backoff, ReconnectingWebSocket
from gateway.websocket.socket import WebSocket
from gateway.websocket.transport import decrypted, take_over

__all__ = ["connect"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_DEFAULT_LIMITS = Limits()


@overload
def connect(
    url: str,
    *,
    headers: Headers = ...,
    subprotocols: Sequence[str] = ...,
    origin: str | None = ...,
    ssl_context: ssl.SSLContext | None = ...,
    compression: bool = ...,
    open_timeout: float | None = ...,
    ping_interval: float | None = ...,
    ping_timeout: float | None = ...,
    limits: Limits = ...,
    source_address: str | None = ...,
    reconnect: Literal[False] | None = ...,
) -> WebSocket: ...


@overload
def connect(
    url: str,
    *,
    headers: Headers = ...,
    subprotocols: Sequence[str] = ...,
    origin: str | None = ...,
    ssl_context: ssl.SSLContext | None = ...,
    compression: bool = ...,
    open_timeout: float | None = ...,
    ping_interval: float | None = ...,
    ping_timeout: float | None = ...,
    limits: Limits = ...,
    source_address: str | None = ...,
    reconnect: Literal[True] | Backoff,
    on_open: Callable[[ReconnectingWebSocket], object] | None = ...,
    on_close: Callable[[ReconnectingWebSocket], object] | None = ...,
) -> ReconnectingWebSocket: ...


def connect(
    url: str,
    *,
    headers: Headers = (),
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    compression: bool = True,
    open_timeout: float | None = 10.0,
    ping_interval: float | None = 25.0,
    ping_timeout: float | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    source_address: str | None = None,
    reconnect: bool | Backoff | None = False,
    on_open: Callable[[ReconnectingWebSocket], object] | None = None,
    on_close: Callable[[ReconnectingWebSocket], object] | None = None,
) -> WebSocket | ReconnectingWebSocket:
    """Open a WebSocket: ``ws://…``, ``wss://…`` or ``ws+unix:///socket:/path``.

    Certificates are verified unless ``ssl_context`` says otherwise. A proxy is used if
    the environment names one (``https_proxy``, ``no_proxy`` …). ``headers`` are a
    mapping, or pairs where some repeat; they replace our own. ``ping_interval`` is in
    seconds, None for no pings; whoever has not answered ``ping_timeout`` later (20, or
    the interval if that is shorter) is closed. ``source_address`` is the local IP
    address to come from, each of which has its own ports.

    With ``reconnect=True``, or a :class:`Backoff`, the answer is a
    :class:`ReconnectingWebSocket` at once, which then connects on its own, and calls
    ``on_open`` and ``on_close``.

    Raises:
        HandshakeRefused: the server answered with something other than a WebSocket; a
            redirect is not followed.
        LocalError: what was given cannot be used; the message says how else.
        TimeoutError: it took more than ``open_timeout`` seconds.
        OSError: the server, or its name, could not be reached; or its certificate is no
            good (:exc:`ssl.SSLError`).

    >>> from gateway.websocket import WebSocketServer
    >>> with WebSocketServer(("127.0.0.1", 0), lambda ws: ws.send("hi")) as server:
    ...     with connect(server.url) as ws:
    ...         ws.receive()
    'hi'
    """
    check_subprotocols(subprotocols)
    if open_timeout is not None:
        check_seconds("open_timeout", open_timeout)
    open_socket = partial(
        _connect,
        url,
        headers=headers,
        subprotocols=subprotocols,
        origin=origin,
        ssl_context=ssl_context,
        compression=compression,
        open_timeout=open_timeout,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        limits=limits,
        source_address=source_address,
    )
    if reconnect is True or isinstance(reconnect, Backoff):
        backoff = Backoff() if reconnect is True else reconnect
        return ReconnectingWebSocket(open_socket, backoff, on_open, on_close)
    if reconnect:
        raise LocalError(f"reconnect = {reconnect!r}: give True or a Backoff")
    if on_open is not None or on_close is not None:
        raise LocalError(
            "on_open and on_close go with reconnect=True; without it the socket is "
            "open when connect() returns"
        )
    return open_socket()


def _connect(
    url: str,
    *,
    headers: Headers,
    subprotocols: Sequence[str],
    origin: str | None,
    ssl_context: ssl.SSLContext | None,
    compression: bool,
    open_timeout: float | None,
    ping_interval: float | None,
    ping_timeout: float | None,
    limits: Limits,
    source_address: str | None,
) -> WebSocket:
    target = parse_target(url)
    handshake = ClientProtocol(
        target.uri,
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol(each) for each in subprotocols] or None,
        extensions=[_offer()] if compression else None,
    )
    request = handshake.connect()
    _add_headers(request, headers)
    endpoint = _endpoint(limits, ping_interval, ping_timeout)
    late = TimeoutError(f"{target.name} did not open in {open_timeout} s")
    with gevent.Timeout(open_timeout, late):
        sock = dial(target, ssl_context, source_address)
        try:
            response_headers, leftover = _shake_hands(
                sock, handshake, request, target.name
            )
            asked = Request(
                unquote(target.uri.path) or "/",
                target.uri.query,
                _joined(request.headers.raw_items()),
                "" if target.unix_path else sock.getpeername()[0],
                response_headers,
            )
            transport = take_over(sock, limits.write_timeout_s)
        except BaseException:
            sock.close()
            raise
    encoding, inflater = MASKED, None
    if handshake.extensions:
        deflate = cast(PerMessageDeflate, handshake.extensions[0])
        encoding += deflate.local_max_window_bits
        inflater = _inflaters(deflate)
    return WebSocket(
        endpoint,
        transport,
        request=asked,
        encoding=encoding,
        subprotocol=handshake.subprotocol,
        inflater=inflater,
        leftover=leftover,
    )


_endpoints: WeakKeyDictionary[Hub, dict[object, Endpoint]] = WeakKeyDictionary()


def _endpoint(
    limits: Limits, ping_interval: float | None, ping_timeout: float | None
) -> Endpoint:
    """Sockets of one thread with the same terms share a heartbeat and workers."""
    shared = _endpoints.setdefault(get_hub(), {})
    key = (limits, ping_interval, ping_timeout)
    if key not in shared:
        shared[key] = Endpoint(
            limits, ping_interval_s=ping_interval, ping_timeout_s=ping_timeout
        )
    return shared[key]


def _offer() -> ClientPerMessageDeflateFactory:
    return ClientPerMessageDeflateFactory(
        client_no_context_takeover=True, client_max_window_bits=True
    )


def _inflaters(agreed: PerMessageDeflate) -> Callable[[], Inflater]:
    """Makes what inflates the next messages: always the same if it has a memory."""
    if agreed.remote_no_context_takeover:
        return partial(Inflater, agreed.remote_max_window_bits)
    only = Inflater(agreed.remote_max_window_bits, takeover=True)
    return lambda: only


def _add_headers(request: HTTPRequest, headers: Headers) -> None:
    """Add what was given; of what we send ourselves, it takes the place."""
    given: set[str] = set()
    for name, value in _pairs(headers):
        if name.lower() not in given and name in request.headers:
            del request.headers[name]
        given.add(name.lower())
        request.headers[name] = value


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    if isinstance(headers, Mapping):
        headers = headers.items()
    pairs = []
    for pair in headers:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise LocalError(
                f"headers are a mapping, or pairs of name and value, not {headers!r}"
            )
        name, value = pair
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise LocalError(f"{name!r} is no name of a header")
        if not isinstance(value, str):
            raise LocalError(f"header {name!r} is text, not {type(value).__name__}")
        if any(c in value for c in "\r\n\0"):
            raise LocalError(f"header {name!r} has a line break in it")
        pairs.append((name, value))
    return pairs


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By name in lower case; what is there twice is joined (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _shake_hands(
    sock: gevent.socket.socket,
    handshake: ClientProtocol,
    request: HTTPRequest,
    name: str,
) -> tuple[dict[str, str], bytes]:
    """Send the request, read the answer; return its headers, and what came behind."""
    handshake.send_request(request)
    sock.sendall(b"".join(handshake.data_to_send()))
    answer = read_answer(sock, name)
    if answer.status != 101:
        raise refusal(sock, answer, name)
    # Only the head: the handshake's parser would take frames for its own.
    handshake.receive_data(answer.head)
    wrong = handshake.handshake_exc
    if wrong is not None:
        raise HandshakeRefused(
            101, f"{name} is no WebSocket server: {wrong.__cause__ or wrong}"
        )
    return _joined(answer.headers), answer.rest + decrypted(sock)
