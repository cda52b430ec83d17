"""``/metrics``: the figures of all workers together, whoever is asked."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support import eventually
from tests.support.app import CableClient, Served
from tests.support.live import LiveServer
from tests.support.redis import RedisServer
from tests.test_extension import make_app


def figures(text: str) -> dict[str, float]:
    """Each sample by its name and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (s.rpartition(" ") for s in lines)}


def holds_sockets(worker: psutil.Process, port: int) -> bool:
    open_now = [c for c in worker.net_connections("tcp") if c.laddr.port == port]
    return any(c.status == psutil.CONN_ESTABLISHED for c in open_now)


def test_the_figures_of_one_process() -> None:
    app, _ = make_app(GATEWAY_MAX_SOCKETS=2)
    with Served(app) as served:
        http = app.test_client()
        before = figures(http.get("/metrics").text)
        with served.client() as client, served.client():
            client.subscribe("RoomChannel", room=1)
            with pytest.raises(Exception, match="503"):
                served.connect()
            now = figures(http.get("/metrics").text)
            assert now["gateway_sockets"] == 2
            assert now["gateway_streams"] == 1
            assert now["gateway_redis_up"] == 1
            assert now["gateway_process_resident_bytes"] > 1e6
            opened = "gateway_sockets_opened_total"
            assert now[opened] - before.get(opened, 0) == 2
            refused = 'gateway_sockets_refused_total{limit="max_sockets"}'
            assert now[refused] - before.get(refused, 0) == 1
        closed = 'gateway_sockets_closed_total{reason="closed_by_peer"}'
        eventually(lambda: figures(http.get("/metrics").text).get(closed, 0) >= 2)


def test_they_can_be_elsewhere_or_nowhere() -> None:
    app, _ = make_app(GATEWAY_METRICS_PATH=None)
    assert app.test_client().get("/metrics").status_code == 404
    app, _ = make_app(GATEWAY_METRICS_PATH="/figures")
    assert "gateway_sockets" in app.test_client().get("/figures").text


@pytest.mark.process
def test_the_figures_of_two_workers(tmp_path: Path) -> None:
    """One is killed: what it held up counts no longer, what it counted still does."""
    with RedisServer(tmp_path / "redis") as redis:
        environ = {
            "GATEWAY_ADAPTER": "redis",
            "GATEWAY_URL": redis.url,
            "GATEWAY_PUBLISH_TIMEOUT": "0.5",
        }
        with LiveServer(tmp_path, "--workers", "2", **environ) as server:

            def now(name: str) -> float:
                return figures(server.get("/metrics")[1]).get(f"gateway_{name}", 0.0)

            listening = ("PUBSUB", "NUMSUB", "gateway:control")
            eventually(lambda: redis.ask(*listening)[1] == 2)
            clients = [CableClient(server.connect("/cable")) for _ in range(10)]
            for client in clients:
                assert client.receive() == {"type": "welcome"}
            eventually(lambda: now("sockets") == 10)
            eventually(lambda: now("redis_up") == 1)
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            eventually(lambda: now("redis_reconnects_total") == 2)
            redis.kill()
            eventually(lambda: now("redis_up") == 0)
            redis.start()
            eventually(lambda: now("redis_up") == 1)
            busy = next(w for w in server.workers if holds_sockets(w, server.port))
            busy.kill()
            eventually(lambda: now("sockets") < 10)
            assert now("sockets_opened_total") == 10


@pytest.mark.process
def test_the_files_they_lie_in_are_removed(tmp_path: Path) -> None:
    with LiveServer(tmp_path, TMPDIR=str(tmp_path)) as server:
        (folder,) = tmp_path.glob("gateway-metrics-*")
        eventually(lambda: list(folder.iterdir()))
    assert not folder.exists()
    (tmp_path / "own").mkdir()
    own = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "own")}
    with LiveServer(tmp_path, TMPDIR=str(tmp_path), **own) as server:
        eventually(lambda: list((tmp_path / "own").iterdir()))
        assert not list(tmp_path.glob("gateway-metrics-*"))
        assert server.get("/metrics")[0] == 200
    assert (tmp_path / "own").exists()
