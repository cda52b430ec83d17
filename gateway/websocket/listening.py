"""Where a server listens: an address, a unix socket, or what others have opened."""

from __future__ import annotations

import os
import socket as stdlib_socket
from pathlib import Path

import gevent.socket

from gateway.errors import LocalError

__all__ = ["BACKLOG", "Address", "open_listener", "unix_path"]

Address = tuple[str, int] | str | stdlib_socket.socket | gevent.socket.socket

BACKLOG = 2048
"""Connections that the kernel keeps for us until we accept them."""

_UNIX = "unix:"
_LISTENS = stdlib_socket.SO_ACCEPTCONN


def unix_path(address: object) -> str | None:
    """The path of ``"unix:/path"``; None for any other address."""
    if isinstance(address, str) and len(address) > len(_UNIX):
        return address.removeprefix(_UNIX) if address.startswith(_UNIX) else None
    return None


def open_listener(address: object) -> tuple[str, int] | gevent.socket.socket:
    """What gevent's servers take: a host and a port, or a socket that listens.

    A socket of the standard library is taken over: its owner finds it closed.

    Raises:
        LocalError: this is no address, or somebody else's.
        OSError: nobody may listen there.
    """
    path = unix_path(address)
    if path is not None:
        return _unix_listener(path)
    if isinstance(address, tuple) and len(address) == 2:
        host, port = address
        if isinstance(host, str) and isinstance(port, int) and 0 <= port < 2**16:
            return host, port
    if isinstance(address, (gevent.socket.socket, stdlib_socket.socket)):
        if not address.getsockopt(stdlib_socket.SOL_SOCKET, _LISTENS):
            raise LocalError(f"{address!r} does not listen: call its listen() first")
        if isinstance(address, gevent.socket.socket):
            return address
        family, kind = address.family, address.type
        return gevent.socket.socket(family, kind, fileno=address.detach())
    raise LocalError(
        f"{address!r} is no address to listen at: give (host, port), "
        '"unix:/path", or a listening socket'
    )


def _unix_listener(path: str) -> gevent.socket.socket:
    if os.path.exists(path):
        if not Path(path).is_socket():
            raise LocalError(f"{path} is there already, and is no socket")
        with gevent.socket.socket(stdlib_socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)  # left behind by a process that is gone
            else:
                raise LocalError(f"another server is listening on {path}")
    sock = gevent.socket.socket(stdlib_socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
