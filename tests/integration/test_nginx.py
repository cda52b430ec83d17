"""``config/nginx.conf`` in front of the gateway, with Debian's nginx."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.socket import create_connection

from gateway.websocket import WebSocket, connect
from tests.support import eventually
from tests.support.app import CableClient
from tests.support.live import LiveServer
from tests.support.raw import RawClient
from tests.support.redis import free_port
from tests.support.tls import Certificate

pytestmark = pytest.mark.process

APP = """
from gevent import monkey; monkey.patch_all()
from flask import Flask
from gateway import Gateway
app = Flask(__name__)
gateway = Gateway(app)

@gateway.websocket("/who")
def who(ws):
    ws.send(ws.remote_address)
    for message in ws:
        ws.send(message)
"""


class Nginx:
    """nginx with the project's configuration, on other ports and with TLS."""

    def __init__(self, folder: Path, here: Path, upstream: int) -> None:
        folder.mkdir()
        self.certificate = Certificate(folder)
        self.port, self.tls_port = free_port(), free_port()
        text = (here / "config" / "nginx.conf").read_text()
        for ours, theirs in (
            ("server 127.0.0.1:8000;", f"server 127.0.0.1:{upstream};"),
            ("listen 127.0.0.1:8080;", f"listen 127.0.0.1:{self.port};"),
            ("# listen 443 ssl;", f"listen 127.0.0.1:{self.tls_port} ssl;"),
            ("# ssl_certificate  ", "ssl_certificate  "),
            ("# ssl_certificate_key", "ssl_certificate_key"),
            ("/etc/ssl/certs/example.pem", str(self.certificate.file)),
            ("/etc/ssl/private/example.key", str(self.certificate.key)),
            ("proxy_read_timeout 75s", "proxy_read_timeout 1s"),  # not to wait long
        ):
            assert ours in text, ours
            text = text.replace(ours, theirs)
        (folder / "nginx.conf").write_text(text)
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["nginx", "-p", folder, "-c", "nginx.conf", "-g", "daemon off;"],
                stdout=log,
                stderr=log,
            )
        eventually(self._listens)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "who.py").write_text(APP)
    environ = {
        "GATEWAY_TRUSTED_PROXIES": "1",
        "GATEWAY_WEBSOCKET_PING_INTERVAL": "0.3",
    }
    with LiveServer(folder, "who:app", cwd=folder, **environ) as server:
        here = Path(__file__).parent.parent.parent
        running = Nginx(folder / "prefix", here, server.port)
        yield running
        running.stop()


def who(nginx: Nginx) -> WebSocket:
    return connect(f"ws://127.0.0.1:{nginx.port}/who")


def test_upgrades_pass(nginx: Nginx) -> None:
    with who(nginx) as ws:
        assert ws.receive(5) == "127.0.0.1"
        for message in ("hi", b"x" * 300_000):
            ws.send(message)
            assert ws.receive(5) == message


def test_the_cable_passes_with_its_origin(nginx: Nginx) -> None:
    """Same-origin checks see the host that the browser sees."""
    origin = f"http://127.0.0.1:{nginx.port}"
    with CableClient(
        connect(f"ws://127.0.0.1:{nginx.port}/cable", origin=origin)
    ) as client:
        assert client.receive() == {"type": "welcome"}


def test_pages_are_no_upgrades(nginx: Nginx) -> None:
    client = RawClient(nginx.port)
    bare = {"Upgrade": None, "Connection": None, "Host": "a.net"}
    assert client.request("/health", bare)[0] == 200
    assert client.request("/who", bare)[0] == 426  # on the same connection


def test_tls(nginx: Nginx) -> None:
    context = nginx.certificate.client()
    url = f"wss://localhost:{nginx.tls_port}/who"
    with connect(url, ssl_context=context) as ws:
        assert ws.receive(5) == "127.0.0.1"


def test_the_clients_own_address_is_known(nginx: Nginx) -> None:
    """And not the one that it claims to have."""
    client = RawClient(nginx.port)
    client.sock.close()
    client.sock = create_connection(
        ("127.0.0.1", nginx.port), source_address=("127.0.0.5", 0)
    )
    status, _, _ = client.request("/who", {"X-Forwarded-For": "9.9.9.9"})
    assert status == 101
    frame = client.receive()
    assert frame is not None
    assert frame.data == b"127.0.0.5"


def test_idle_sockets_stay_open(nginx: Nginx) -> None:
    """Our pings come more often than nginx's timeout, which is shortened here."""
    with who(nginx) as ws:
        ws.receive(5)
        gevent.sleep(2.5)  # nothing shall happen, so there is nothing to wait for
        ws.send("still here")
        assert ws.receive(5) == "still here"


def test_metrics_are_for_the_inside(nginx: Nginx) -> None:
    client = RawClient(nginx.port)
    client.sock.close()
    client.sock = create_connection(
        ("127.0.0.1", nginx.port), source_address=("127.0.0.5", 0)
    )
    assert client.request("/metrics", {"Upgrade": None, "Connection": None})[0] == 403
    inside = RawClient(nginx.port)
    assert inside.request("/metrics", {"Upgrade": None, "Connection": None})[0] == 200
