"""What a worker looks at before it serves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.live import LiveServer

pytestmark = pytest.mark.process


def test_it_opens_as_many_files_as_it_may(tmp_path: Path) -> None:
    command = (
        *("sh", "-c", 'ulimit -Sn 256 && ulimit -Hn 300 && exec "$@"', "sh"),
        *(sys.executable, "-m", "gateway", "serve"),
    )
    with LiveServer(tmp_path, command=command, GATEWAY_MAX_SOCKETS="10000") as server:
        eventually(lambda: "raised from 256 to the hard limit of 300" in server.log)
        warning = "max_sockets = 10000, but the process may open 300 files"
        eventually(lambda: warning in server.log)


def test_workers_that_do_not_hear_each_other(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--workers", "2") as server:
        warning = "2 workers with `adapter: memory`: a broadcast reaches the clients of"
        eventually(lambda: server.log.count(warning) == 2)
        assert "Write `adapter: redis` in config/cable.yml" in server.log


def test_an_app_that_patches_too_late(tmp_path: Path) -> None:
    """Redis would block all clients: it does not start, and says what to write."""
    (tmp_path / "late.py").write_text(
        "import redis\n"
        "from flask import Flask\n"
        "from gateway import Gateway\n"
        "app = Flask(__name__)\n"
        "gateway = Gateway(app)\n"
    )
    command = (sys.executable, "-m", "gunicorn", "--config", "python:late_settings")
    (tmp_path / "late_settings.py").write_text(
        "import redis\nfrom gateway.serving import *\n"
    )
    options = {"command": command, "cwd": tmp_path, "GATEWAY_ADAPTER": "redis"}
    with LiveServer(tmp_path, "late:app", **options) as server:
        assert server.wait() == 3
        assert "put `from gevent import monkey; monkey.patch_all()` first" in server.log


def test_a_module_that_took_tls_before_it_was_patched(tmp_path: Path) -> None:
    """As HTTP clients do that a configuration imports first: TLS would fail there."""
    (tmp_path / "hasty.py").write_text("from ssl import SSLContext\n")
    (tmp_path / "hasty_settings.py").write_text(
        "import hasty\nfrom gateway.serving import *\n"
    )
    (tmp_path / "app.py").write_text(
        "from gevent import monkey; monkey.patch_all()\n"
        "from flask import Flask\n"
        "from gateway import Gateway\n"
        "app = Flask(__name__)\n"
        "gateway = Gateway(app)\n"
    )
    command = (sys.executable, "-m", "gunicorn", "--config", "python:hasty_settings")
    with LiveServer(tmp_path, "app:app", command=command, cwd=tmp_path) as server:
        assert server.wait() == 3
        assert "= 'hasty' cannot be used: imported before gevent patched" in server.log
        assert "first in wsgi.py and config/gunicorn.py" in server.log
