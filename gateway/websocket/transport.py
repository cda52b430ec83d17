"""Bytes to and from one peer, without waiting.

A plain connection is the bare ``_socket.socket`` itself, with no gevent wrapper and
none of its watchers: a parked socket should cost little more than its file descriptor.
TLS connections get a thin wrapper that speaks the same methods.
"""

from __future__ import annotations

import _socket
import socket as stdlib_socket
import ssl
from functools import partial
from typing import Any, Protocol

import gevent.socket
import gevent.ssl

__all__ = [
    "TLSTransport",
    "Transport",
    "decrypted",
    "peer_of",
    "start_tls",
    "take_over",
]


_TCP_USER_TIMEOUT: int | None = getattr(stdlib_socket, "TCP_USER_TIMEOUT", None)
_TCP_NOTSENT_LOWAT: int | None = getattr(stdlib_socket, "TCP_NOTSENT_LOWAT", None)

_UNSENT_BYTES = 2**17
"""How much the kernel holds for a peer who has no room, where it can be told so. Left
alone it takes some megabytes for each, which no limit of ours would count, and which
no newer value could take the place of."""


class Transport(Protocol):
    """``recv`` and ``send`` raise :exc:`BlockingIOError` instead of waiting."""

    def fileno(self) -> int: ...

    def getpeername(self) -> Any: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes | memoryview, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class TLSTransport:
    """A TLS connection after its handshake, driven without waiting."""

    def __init__(self, sock: gevent.ssl.SSLSocket) -> None:
        sock.settimeout(0.0)
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def getpeername(self) -> Any:
        return self._sock.getpeername()

    def recv(self, size: int, /) -> bytes:
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes | memoryview, /) -> int:
        if not data:
            return 0
        try:
            return self._sock.write(data)  # its send() says 0 instead of raising
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int, /) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()


def start_tls(
    sock: gevent.socket.socket,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> gevent.ssl.SSLSocket:
    """Shake hands over a connected socket, which is used up, and closed if that fails.

    Any context will do, the standard library's too, without monkey-patching.

    Raises:
        ssl.SSLError: they could not agree, or the certificate is no good.
    """
    tls = gevent.ssl.SSLSocket(
        sock=sock,
        server_side=server_side,
        server_hostname=server_hostname,
        do_handshake_on_connect=False,
        _context=context,
    )
    try:
        tls.do_handshake()
    except BaseException:  # the greenlet may be killed in the middle of it
        tls.close()
        raise
    return tls


def decrypted(sock: gevent.socket.socket) -> bytes:
    """What OpenSSL holds of a record that was read in part.

    The kernel has nothing left of it, so no poll would ever tell that it is there.
    """
    held = sock.pending() if isinstance(sock, gevent.ssl.SSLSocket) else 0
    return sock.recv(held) if held else b""


def peer_of(transport: Transport) -> str:
    """The IP address at the other end; empty on a unix socket, or when it is gone."""
    try:
        name = transport.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def take_over(sock: gevent.socket.socket, unacknowledged_s: float) -> Transport:
    """Take a connected gevent socket from its owner, who finds it closed.

    A peer whose host does not acknowledge what it is sent for ``unacknowledged_s`` is
    gone (RFC 5482), where the platform can be told so; without it TCP takes 15 minutes.
    """
    if sock.family != stdlib_socket.AF_UNIX:
        tcp = partial(sock.setsockopt, stdlib_socket.IPPROTO_TCP)
        tcp(stdlib_socket.TCP_NODELAY, 1)
        if _TCP_USER_TIMEOUT is not None:
            tcp(_TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))
        if _TCP_NOTSENT_LOWAT is not None:
            tcp(_TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    if isinstance(sock, gevent.ssl.SSLSocket):
        return TLSTransport(sock)
    family, kind = sock.family, sock.type
    raw = _socket.socket(family, kind, 0, fileno=sock.detach())
    raw.setblocking(False)
    return raw
