"""Which address is answered by which view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask

from gateway.config import Settings
from gateway.views import machines
from gateway.views.cable import cable
from gateway.views.connecting import MakeConnection
from gateway.views.events import events

__all__ = ["add_routes", "add_socket_rule"]


def add_routes(app: Flask, settings: Settings, make: MakeConnection) -> None:
    """Let the app answer at the cable's addresses; clients connect as ``make`` says."""
    path, health_path = settings.path, settings.health_path
    add_socket_rule(app, path, "gateway.cable", partial(cable, make))
    app.add_url_rule(
        f"{path}/events",
        "gateway.events",
        partial(events, make),
        methods=["GET", "POST", "OPTIONS"],
    )
    app.add_url_rule(
        f"{path}/broadcast", "gateway.broadcast", machines.broadcast, methods=["POST"]
    )
    app.add_url_rule(
        f"{path}/presence/<path:stream>", "gateway.presence", machines.presence
    )
    app.add_url_rule(health_path, "gateway.health", machines.health)
    app.add_url_rule(f"{health_path}/live", "gateway.live", lambda: {"live": True})
    if settings.metrics_path is not None:
        app.add_url_rule(settings.metrics_path, "gateway.metrics", machines.metrics)


def add_socket_rule(
    app: Flask, rule: str, endpoint: str, view: Callable[..., Any], **options: Any
) -> None:
    """Werkzeug keeps routes for upgrades apart; a browser's plain GET needs one too."""
    options.pop("endpoint", None)
    app.add_url_rule(rule, endpoint, view, websocket=True, **options)
    app.add_url_rule(rule, f"{endpoint}.page", view, **options)
