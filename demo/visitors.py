"""Who looks at the demo: a name in the session, so that it stays the same."""

from __future__ import annotations

import secrets

from flask import session

__all__ = ["call", "guest_name", "name_of_visitor"]

_MAX_NAME = 40


def guest_name() -> str:
    """A name for somebody who has told none."""
    return f"guest-{secrets.token_hex(2)}"


def name_of_visitor() -> str:
    """The name in the session; from now on there is one.

    A browser that comes back on the cable is then the same person, and may take up the
    session that it lost.
    """
    return str(session.setdefault("name", guest_name()))


def call(name: str) -> None:
    """The visitor wants another name; a blank one makes a guest."""
    session["name"] = name.strip()[:_MAX_NAME] or guest_name()
