"""``gateway echo``: a bare echo server, for conformance runs and first steps."""

from __future__ import annotations

import logging
import signal

import click
import gevent
from gevent.event import Event

from gateway.errors import LocalError
from gateway.websocket import Limits, WebSocketServer

__all__ = ["echo"]


@click.command()
@click.option(
    "--bind",
    metavar="HOST:PORT",
    default="127.0.0.1:9001",
    show_default=True,
    help="Address, or unix:PATH.",
)
@click.option(
    "--max-message-bytes",
    type=click.IntRange(min=1),
    default=2**26,
    show_default=True,
    help="Largest message; conformance suites send 16 MiB.",
)
@click.option(
    "--compression/--no-compression", default=True, help="Offer permessage-deflate."
)
def echo(bind: str, max_message_bytes: int, compression: bool) -> None:
    """Serve an echo: each message is sent back to where it came from."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    limits = Limits(
        max_message_bytes=max_message_bytes, max_outgoing_bytes=2 * max_message_bytes
    )
    try:
        server = WebSocketServer(
            _address(bind),
            on_message=lambda ws, message: ws.send(message),
            limits=limits,
            compression=compression,
        )
        server.start()
    except (LocalError, OSError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise click.ClickException(f"cannot listen at {bind}: {why}") from None
    click.echo(f"Echoing at {server.url}")
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    stop.wait()
    server.stop()


def _address(bind: str) -> tuple[str, int] | str:
    if bind.startswith("unix:") and bind != "unix:":
        return bind
    host, _, port = bind.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{bind!r} is not HOST:PORT", param_hint="--bind")
    return host.strip("[]") or "127.0.0.1", int(port)
