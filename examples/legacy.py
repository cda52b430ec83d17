"""An app on another server, as it always was; all that is new is a ``Broadcaster``.

    gunicorn -k sync examples.legacy:app

It could run on Apache or uWSGI as well: here is no gevent, and no WebSocket. Those are
served by ``examples/legacy_gateway.py``, a process of its own that shares the secret.
"""

from __future__ import annotations

import os

from flask import Flask, request, session

from gateway.broadcaster import Broadcaster

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]

speaker = Broadcaster.from_url(
    os.environ["REDIS_URL"]
)  # keep one: it holds connections


@app.post("/login")
def log_in() -> str:
    """Remember who it is; the gateway will read the same cookie."""
    session["name"] = request.form["name"]
    return "welcome"


@app.post("/price")
def set_price() -> str:
    """Save a price somewhere, then tell all who look at it."""
    speaker.broadcast("prices", {"apples": float(request.form["apples"])})
    return "saved"


@app.post("/logout")
def log_out() -> str:
    """Forget who it is, and close all the sockets that were opened as that."""
    speaker.disconnect(current_user=session.pop("name"), reconnect=False)
    return "bye"
