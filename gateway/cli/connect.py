"""``gateway connect``: talk to a WebSocket server from a terminal or a script."""

from __future__ import annotations

import signal
import ssl
import sys
from collections.abc import Iterator

import click
import gevent
from gevent import getcurrent
from gevent.os import tp_read

from gateway import websocket
from gateway.errors import ConnectionClosed, GatewayError
from gateway.websocket import Limits, WebSocket
from gateway.websocket.dialing import without_secrets

__all__ = ["connect"]


@click.command()
@click.argument("url")
@click.option("-H", "--header", multiple=True, metavar="NAME:VALUE", help="Repeatable.")
@click.option("-s", "--subprotocol", multiple=True, help="Repeatable.")
@click.option("-o", "--origin", help="The page we pretend to come from.")
@click.option("-k", "--insecure", is_flag=True, help="Take any certificate.")
@click.option("--compression/--no-compression", default=True)
@click.option(
    "--max-message-bytes",
    type=click.IntRange(min=1),
    default=2**26,
    show_default=True,
    help="Largest message to take.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the connection may take to open.",
)
@click.option(
    "--linger",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="After the end of piped input, close when it was silent so long.",
)
def connect(
    url: str,
    header: tuple[str, ...],
    subprotocol: tuple[str, ...],
    origin: str | None,
    insecure: bool,
    compression: bool,
    max_message_bytes: int,
    timeout: float,
    linger: float,
) -> None:
    """Connect to URL: each line typed is sent, each message that comes is printed.

    Reads standard input when it is piped, and prints messages only, so it scripts:

        echo hello | gateway connect ws://127.0.0.1:8000/echo
    """
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        ws = websocket.connect(
            url,
            headers=[_pair(each) for each in header],
            subprotocols=subprotocol,
            origin=origin,
            ssl_context=context,
            compression=compression,
            open_timeout=timeout,
            limits=Limits(max_message_bytes=max_message_bytes),
        )
    except GatewayError as exc:
        raise click.ClickException(str(exc)) from None
    except OSError as exc:
        if exc.strerror is None:  # it took too long, which is said in a sentence
            raise click.ClickException(str(exc)) from None
        why = f"cannot connect to {without_secrets(url)}: {exc.strerror}"
        raise click.ClickException(why) from None
    # As a plain Ctrl-C, but without gevent's own words about it.
    gevent.signal_handler(signal.SIGINT, getcurrent().throw, KeyboardInterrupt)
    if sys.stdin is not None and sys.stdin.isatty():
        _converse(ws, without_secrets(url))
    else:
        _pipe(ws, linger)
    sys.exit(0 if ws.close_code in (1000, 1001, 1005) else 1)


def _converse(ws: WebSocket, url: str) -> None:
    """A person at a terminal, until either side ends it."""
    click.echo(f"Connected to {url}. End with Ctrl-D.", err=True)
    typing = gevent.spawn(_send_lines, ws)
    typing.link(lambda _: gevent.spawn(ws.close))
    try:
        for message in ws:
            click.echo(f"< {_text(message)}")
    except KeyboardInterrupt:
        ws.close()
    typing.kill()
    click.echo(f"Disconnected: {ws.close_code}.", err=True)


def _pipe(ws: WebSocket, linger: float) -> None:
    """A script: all input, then what is answered until it is silent."""
    sending = gevent.spawn(_send_lines, ws)
    try:
        while True:
            ended = sending.dead
            try:
                click.echo(_text(ws.receive(linger)))
            except TimeoutError:
                if ended:
                    return ws.close()
    except ConnectionClosed:
        sending.kill()


def _send_lines(ws: WebSocket) -> None:
    for line in _lines():
        try:
            ws.send(line.decode(errors="replace"))
        except ConnectionClosed:
            return


def _lines() -> Iterator[bytes]:
    """Standard input, read by a thread.

    Reading it without waiting would change the terminal itself, so that long messages
    could not be printed on it.
    """
    if sys.stdin is None:  # it was closed before we began
        return
    rest = b""
    while data := tp_read(sys.stdin.fileno(), 2**16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else f"binary: {message.hex(' ')}"


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon:
        raise click.BadParameter(f"{header!r} is not NAME:VALUE", param_hint="--header")
    return name.strip(), value.strip()
