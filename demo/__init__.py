"""The demo: a chat and a live dashboard in one Flask app, to copy from."""

from __future__ import annotations

import os

from flask import Flask

from demo.channels import gateway
from demo.pages import pages
from demo.sampler import Sampler
from gateway.config import environment
from gateway.errors import ConfigError

__all__ = ["create_app"]

_DEVELOPMENT_KEY = "a key that everybody knows: for development only"


def create_app() -> Flask:
    """Build the app.

    Raises:
        ConfigError: there is no ``SECRET_KEY``, and this is not development.
    """
    app = Flask(__name__)
    app.secret_key = _secret_key()
    gateway.init_app(app)
    app.register_blueprint(pages)
    Sampler(app, gateway)
    return app


def _secret_key() -> str:
    key = os.environ.get("SECRET_KEY")
    if key:
        return key
    if environment() not in ("development", "test"):
        raise ConfigError(
            "SECRET_KEY",
            key,
            f"in the environment {environment()!r} sessions would be signed with a key "
            "everybody knows; set the environment variable SECRET_KEY to a long random "
            "string",
        )
    return _DEVELOPMENT_KEY
