"""The gateway's log lines, where gunicorn's go."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["join"]


class _AccessLines(logging.Handler):
    """Hands lines to gunicorn's access log, wherever that goes."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.access_log.info("%s %s", self._log.now(), record.getMessage())


def join(log: Any) -> None:
    """Put what ``gateway`` logs into gunicorn's error log, from its level on.

    A program that has set up ``logging`` itself is left alone. Lines about closed
    sockets go where those about requests go. They are for who asks for them by the
    level of ``gateway.access``: sockets count their messages then.
    """
    ours = logging.getLogger("gateway")
    if not ours.hasHandlers():
        for handler in log.error_log.handlers:
            ours.addHandler(handler)
        ours.setLevel(log.error_log.level)
    access = logging.getLogger("gateway.access")
    if not access.level:
        access.setLevel(logging.WARNING)
    if log.access_log_enabled:
        access.addHandler(_AccessLines(log))
        access.propagate = False
