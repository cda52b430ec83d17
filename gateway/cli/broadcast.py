"""``gateway broadcast``: speak to all clients from a shell or a script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway import config
from gateway.broadcaster import Broadcaster
from gateway.cli.apps import load, of_flask
from gateway.config import Settings
from gateway.errors import ConfigError, PubSubError

__all__ = ["broadcast"]


@click.command()
@click.argument("stream")
@click.argument("message", metavar="JSON")
@click.option("--url", help="Where Redis is.  [default: as in config/cable.yml]")
@click.option("--prefix", help="Its channel_prefix.  [default: as there]")
def broadcast(stream: str, message: str, url: str | None, prefix: str | None) -> None:
    """Broadcast JSON to STREAM. With - for JSON, each line of standard input is one.

    Where Redis is, is a setting: of the app of flask --app, else of this folder's
    config/cable.yml (or GATEWAY_CONFIG) and the environment.
    """
    if not stream:
        raise click.ClickException("name a stream; an empty name is none")
    try:
        settings = _settings()
        if url is None and settings.adapter != "redis":
            raise ConfigError(
                "adapter",
                settings.adapter,
                "other processes hear nothing of it: set GATEWAY_ENV to an environment "
                "with `adapter: redis`, or give --url",
            )
        speaker = Broadcaster.from_url(
            url or settings.url,
            settings.channel_prefix if prefix is None else prefix,
            retentions=settings.retentions(),
        )
        number = 0
        for value in _messages(message):
            speaker.broadcast(stream, value)
            number += 1
    except (ConfigError, PubSubError) as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(f"{number} broadcast to {stream}", err=True)


def _settings() -> Settings:
    info = of_flask()
    if info is not None and info.app_import_path:
        return load().settings
    return config.load(config.find((Path.cwd(),), None))


def _messages(text: str) -> Iterator[Any]:
    if text == "-" and sys.stdin is None:  # it was closed: <&-
        raise click.ClickException("there is no standard input to read from")
    lines = sys.stdin.buffer if text == "-" else [text.encode(errors="surrogateescape")]
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line)
            except msgspec.DecodeError as exc:
                where = f"line {number}" if text == "-" else "what you say"
                raise click.ClickException(f"{where} is not JSON: {exc}") from None
