"""What a browser that has signed in sends along."""

from __future__ import annotations

from flask import Flask

__all__ = ["SECRET", "session_cookie"]

SECRET = "for measuring only"


def session_cookie(**session: str) -> str:
    """A Flask session, signed as the measured application does."""
    app = Flask(__name__)
    app.secret_key = SECRET
    serializer = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]
    return f"session={serializer.dumps(session)}"
