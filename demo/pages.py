"""The demo's pages: a dashboard, two kinds of chat, and the way to tell a name."""

from __future__ import annotations

import flask
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from demo import assets
from demo.visitors import call, name_of_visitor

__all__ = ["pages"]

pages = Blueprint("pages", __name__)


@pages.get("/")
def dashboard() -> ResponseReturnValue:
    """The gateway's own figures, live."""
    return render_template("dashboard.html")


@pages.get("/chat/<path:room>")
def chat(room: str) -> ResponseReturnValue:
    """A chat room with Rails' client; any name will do."""
    return render_template("chat.html", room=room, name=name_of_visitor())


@pages.get("/room/<path:room>")
def room(room: str) -> ResponseReturnValue:
    """The same with AnyCable's: who is there, who is typing, what was missed."""
    return render_template("room.html", room=room, name=name_of_visitor())


@pages.post("/name")
def name() -> ResponseReturnValue:
    """Remember the visitor's name, and go back to the page it was told on."""
    kind, _, room = request.form.get("page", "").partition("/")
    if kind not in ("chat", "room") or not room.strip(". /"):
        return "page: write chat/<room> or room/<room>\n", 400, _TEXT
    call(request.form.get("name", ""))
    return redirect(url_for(f"pages.{kind}", room=room))


@pages.get("/assets/<path:name>")
def asset(name: str) -> ResponseReturnValue:
    """A file from an npm package."""
    file = assets.find(name)
    if file is None:
        flask.abort(404)
    if not file.exists():
        return assets.MISSING, 503, _TEXT
    return flask.send_file(file, max_age=3600)


_TEXT = {"Content-Type": "text/plain"}
