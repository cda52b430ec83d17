"""The entry point that servers load: ``gateway serve`` and ``gunicorn wsgi:app``."""

from gevent import monkey

monkey.patch_all()

from demo import create_app  # noqa: E402  # sockets are to be patched first

app = create_app()
