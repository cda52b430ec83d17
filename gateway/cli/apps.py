"""Finding the app that a command is about, as ``flask --app`` does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo

from gateway.errors import ConfigError
from gateway.server import CableServer

__all__ = ["load", "name_for_gunicorn", "of_flask", "wsgi"]

_HOW = "write module:name, as in wsgi:app, or module:factory()"


def load(name: str | None = None) -> CableServer:
    """The gateway of an app: the one called ``name``, else that of ``flask --app``.

    ``name`` is a module or a file, or ``module:app``, or ``module:factory()``, seen
    from this folder. Without either, ``wsgi.py`` or ``app.py`` has it.

    Raises:
        ClickException: there is no such app, or it has no gateway; says which.
    """
    info = None if name else of_flask()
    app = _load(info or ScriptInfo(app_import_path=name), name)
    server = app.extensions.get("gateway")
    if not isinstance(server, CableServer):
        raise click.ClickException(
            f"{name or app.import_name} has no gateway: Gateway(app) gives it one"
        )
    return server


def of_flask() -> ScriptInfo | None:
    """What ``flask`` knows of its app, if it is what runs this command."""
    return click.get_current_context().find_object(ScriptInfo)


def name_for_gunicorn() -> str:
    """The app that ``gateway serve`` serves if none is named.

    Raises:
        ClickException: there is none.
    """
    info = of_flask()
    if info is not None and info.app_import_path:
        return f"{__name__}:wsgi({info.app_import_path!r})"
    if Path("wsgi.py").exists() or Path("wsgi").is_dir():
        return "wsgi:app"
    command = "gateway serve" if info is None else "flask --app shop gateway serve, or"
    raise click.ClickException(
        f"there is no wsgi.py in this folder: name the app, as in {command} shop:app"
    )


def wsgi(name: str) -> Flask:
    """What ``flask --app NAME`` means, for gunicorn to serve."""
    return ScriptInfo(app_import_path=name).load_app()


def _load(info: ScriptInfo, name: str | None) -> Flask:
    folder = str(Path.cwd())
    if folder not in sys.path:  # as for python -m
        sys.path.insert(0, folder)
    try:
        return info.load_app()
    except NoAppException as exc:
        place = name or info.app_import_path or os.fspath(Path.cwd())
        raise click.ClickException(
            f"no app at {place!r}: {exc.message} ({_HOW})"
        ) from None
    except ConfigError as exc:
        raise click.ClickException(str(exc)) from None
