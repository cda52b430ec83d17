"""``gateway serve``: run an app as a host would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from gateway.cli.apps import name_for_gunicorn

__all__ = ["serve"]

_CONFIG = Path("config/gunicorn.py")


@click.command()
@click.argument("app", required=False)
@click.option("--bind", metavar="HOST:PORT", help="Address, or unix:PATH.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.")
@click.option("--reload", is_flag=True, help="Restart when a source file changes.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help=f"gunicorn's configuration.  [default: {_CONFIG}, if there is one]",
)
def serve(
    app: str | None,
    bind: str | None,
    workers: int | None,
    reload: bool,
    config: str | None,
) -> None:
    """Serve APP with gunicorn and our worker.

    APP is module:name or module:factory(). Without it, it is that of flask --app, else
    wsgi:app.
    """
    app = app or name_for_gunicorn()
    if config is None:
        config = str(_CONFIG) if _CONFIG.exists() else "python:gateway.serving"
    command = [sys.executable, "-m", "gunicorn", "--config", config]
    if bind is not None:
        command += ["--bind", bind]
    if workers is not None:
        command += ["--workers", str(workers)]
    if reload:
        command += ["--reload"]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, app])
