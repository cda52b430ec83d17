"""gunicorn's settings for many long-lived sockets: ``-c python:gateway.serving``.

``config/gunicorn.py`` of a project starts from these and changes what it likes. Each
can be overridden on gunicorn's command line.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from typing import Any

from gateway.errors import ConfigError


def _bind() -> str:
    """A host that names the port sends its traffic from elsewhere: listen to all."""
    environ = os.environ
    host = environ.get("HOST") or ("0.0.0.0" if environ.get("PORT") else "127.0.0.1")
    return f"{host}:{environ.get('PORT') or 8000}"


def _workers() -> int:
    text = os.environ.get("WEB_CONCURRENCY") or "1"
    if not text.isdigit() or not int(text):
        fix = "write how many worker processes there are to be, such as 2"
        raise ConfigError("WEB_CONCURRENCY", text, fix)
    return int(text)


bind = _bind()
workers = _workers()
worker_class = "gateway.worker.GatewayWorker"

# Requests being answered at once. Open sockets do not count: they leave that pool.
worker_connections = 10_000

# Connections the kernel holds while we are busy: a restart brings all clients at once.
backlog = 4096

# A worker whose event loop is stuck for so many seconds is killed and replaced.
timeout = 30

# How long a worker may take to send its clients away before it is killed.
graceful_timeout = 25

# Requests and upgrades, with the seconds they took, to standard output. (A line for
# each socket that has closed, too: docs/operations.md.)
accesslog: str | None = "-"
access_log_format = '%(h)s %(t)s "%(r)s" %(s)s %(b)s %(L)s "%(a)s"'

# Nobody asked for the control socket in the home directory.
control_socket_disable = True

# Workers lay their figures down here, so that any of them can tell of all.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    _figures = tempfile.mkdtemp(prefix="gateway-metrics-")
    _owner = os.getpid()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _figures

    @atexit.register
    def _remove_figures() -> None:
        if os.getpid() == _owner:
            shutil.rmtree(_figures, ignore_errors=True)


def when_ready(server: Any) -> None:
    """The arbiter serves nobody: that its figures are 0 is to say nothing."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(os.getpid())
    _pass_hurry_on(server)


def _pass_hurry_on(arbiter: Any) -> None:
    """Told to stop a second time, gunicorn does nothing; its workers would hurry."""
    told = False

    def terminate(number: int, frame: Any) -> None:
        nonlocal told
        if told:
            arbiter.kill_workers(number)
        else:
            told = True
            arbiter.signal(number, frame)

    signal.signal(signal.SIGTERM, terminate)


def child_exit(server: Any, worker: Any) -> None:
    """A worker is gone: what it holds up at this moment is nothing."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
