"""From a URL to a connection: names, proxies, TLS, unix sockets."""

from __future__ import annotations

import re
import socket as stdlib_socket
import ssl
import sys
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import gevent.socket
from websockets.exceptions import InvalidProxy, InvalidURI
from websockets.proxy import get_proxy, parse_proxy, prepare_connect_request
from websockets.uri import WebSocketURI, parse_uri

from gateway.errors import HandshakeRefused, LocalError
from gateway.websocket.transport import start_tls

__all__ = ["Target", "dial", "parse_target", "without_secrets"]

_BIND_ADDRESS_NO_PORT = 24  # Linux's IP_BIND_ADDRESS_NO_PORT; Python has no name for it

_MAX_HEAD_BYTES = 2**16


class Target(NamedTuple):
    """Where a URL leads; ``name`` is the URL as it may be shown to anybody."""

    name: str
    uri: WebSocketURI
    unix_path: str | None


def without_secrets(url: str) -> str:
    """A URL without user, password and query, where people put what is secret."""
    return re.sub("//[^/]*@", "//", re.split("[?#]", url, maxsplit=1)[0])


def parse_target(url: str) -> Target:
    """Take apart ``ws://…``, ``wss://…``, ``ws+unix:///socket[:/path]``.

    Raises:
        LocalError: that is no such URL.
    """
    if not isinstance(url, str):
        raise LocalError(f"{url!r} is no URL: write ws://host:port/path")
    name = without_secrets(url)
    try:
        if url.startswith("ws+unix:"):
            return Target(name, *_parse_unix(url))
        uri = parse_uri(url)
        uri.host.encode("idna")  # what could not be looked up
    except InvalidURI as exc:
        why = exc.msg
    except ValueError as exc:
        why = str(exc)
    else:
        return Target(name, uri, None)
    raise LocalError(
        f"{name} cannot be used: {why}; write ws://host:port/path, wss://host/path or "
        "ws+unix:///socket:/path"
    )


def _parse_unix(url: str) -> tuple[WebSocketURI, str]:
    """The socket's path ends at the first colon; one that is in it is written %3A."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise InvalidURI(url, "the path of the socket does not begin with a slash")
    socket_path, _, path = parts.path.partition(":")
    query = f"?{parts.query}" if parts.query else ""
    return parse_uri(f"ws://localhost{path or '/'}{query}"), unquote(socket_path)


def dial(
    target: Target, context: ssl.SSLContext | None, source_address: str | None
) -> gevent.socket.socket:
    """A connected socket, with TLS where it belongs.

    Raises:
        HandshakeRefused: the proxy refuses us.
        LocalError: the proxy cannot be used.
        OSError: nobody is there, or it is not who it should be.
    """
    uri = target.uri
    if target.unix_path is not None:
        sock = gevent.socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
        try:
            sock.connect(target.unix_path)
        except BaseException:
            sock.close()
            raise
        return sock
    proxy = get_proxy(uri)
    if proxy is None:
        sock = _connected((uri.host, uri.port), source_address)
    else:
        sock = _tunnel(proxy, uri)
    if not uri.secure:
        return sock
    try:
        context = context or ssl.create_default_context()
        return start_tls(sock, context, server_hostname=uri.host)
    except BaseException:
        sock.close()
        raise


def _connected(address: tuple[str, int], source: str | None) -> gevent.socket.socket:
    if source is None:
        return gevent.socket.create_connection(address)
    family = stdlib_socket.AF_INET6 if ":" in source else stdlib_socket.AF_INET
    sock = gevent.socket.socket(family)
    try:
        # The port is chosen when the peer is known: it need differ only for one peer.
        # Chosen before, it is searched for ever longer as ports run out.
        if sys.platform == "linux":
            sock.setsockopt(stdlib_socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _tunnel(url: str, uri: WebSocketURI) -> gevent.socket.socket:
    """A connection through an HTTP proxy (RFC 9110 §9.3.6)."""
    try:
        proxy = parse_proxy(url)
    except InvalidProxy as exc:
        raise LocalError(
            f"the environment's proxy {without_secrets(url)} cannot be used: {exc.msg}"
        ) from None
    if proxy.scheme != "http":
        raise LocalError(
            f"the environment's proxy {without_secrets(url)} cannot be used: only "
            "http:// proxies are; unset it, or name the host in no_proxy"
        )
    sock = gevent.socket.create_connection((proxy.host, proxy.port))
    try:
        sock.sendall(prepare_connect_request(proxy, uri))
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD_BYTES:
            # The tunnel begins right after the head: not one byte too many.
            if not (byte := sock.recv(1)):
                break
            head += byte
        status = head.split(b"\r\n")[0].decode(errors="replace")
        if status.split(" ")[1:2] != ["200"]:
            raise HandshakeRefused(
                502, f"the proxy {proxy.host}:{proxy.port} answered {status!r}"
            )
    except BaseException:
        sock.close()
        raise
    return sock
