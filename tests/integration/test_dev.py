"""What ``make dev`` runs: Redis and two workers, whose clients hear each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from gevent.socket import create_connection
from playwright.sync_api import BrowserContext, Page, expect

from gateway.websocket import connect
from tests.integration.conftest import Node
from tests.support import eventually
from tests.support.app import CableClient
from tests.support.live import ROOT
from tests.support.redis import free_port

pytestmark = pytest.mark.process


class Dev:
    """The processes of Procfile.dev, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "dev.log"
        ports = {"PORT": str(self.port), "REDIS_PORT": str(free_port())}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "honcho", "start", "-f", "Procfile.dev"],
                cwd=ROOT,
                env={**os.environ, **ports, "PATH": path},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def workers_with_clients(self) -> set[int]:
        """The processes that hold sockets of clients."""
        return {
            process.pid
            for process in psutil.Process(self.process.pid).children(recursive=True)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_ESTABLISHED
            and connection.laddr.port == self.port
        }


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    running = Dev(tmp_path)
    children: list[psutil.Process] = []
    try:
        eventually(running.listens, 30)
        children = psutil.Process(running.process.pid).children(recursive=True)
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: running.process.poll() is not None, 30)
        assert psutil.wait_procs(children, 5)[1] == []
        assert "SIGKILL" not in running.log.read_text()


def test_it_ends_before_honcho_loses_patience(dev: Dev) -> None:
    """Which is after five seconds. (The fixture ends it.)"""
    for _ in range(4):
        client = CableClient(connect(f"ws://127.0.0.1:{dev.port}/cable"))
        assert client.receive() == {"type": "welcome"}


@pytest.mark.node
def test_clients_of_two_workers_chat(dev: Dev, node: Callable[..., Node]) -> None:
    url = f"ws://127.0.0.1:{dev.port}/cable"
    clients: list[Node] = []
    while len(dev.workers_with_clients()) < 2:
        assert len(clients) < 12, "all clients came to one worker"
        clients.append(node("rails_client.mjs", url, "lobby"))
        clients[-1].wait_for("connected false")
    for client in (clients[0], clients[-1]):
        client.say(f"speak hello from {client.process.pid}")
    for client in clients:
        for speaker in (clients[0], clients[-1]):
            text = f"hello from {speaker.process.pid}"
            eventually(lambda c=client, t=text: any(t in line for line in c.lines))


class Observer:
    """Hears on the dashboard how many sockets each process has."""

    def __init__(self, port: int) -> None:
        self._client = CableClient(connect(f"ws://127.0.0.1:{port}/cable"))
        assert self._client.receive() == {"type": "welcome"}
        assert self._client.subscribe("DashboardChannel") == "confirm_subscription"
        self._sockets: Counter[str] = Counter()

    def home_of_the_newest(self, total: int) -> str:
        """Wait until so many sockets are open; the process that has got one more."""
        before = self._sockets.copy()
        while self._sockets.total() < total:
            for process, sample in self._client.message().items():
                self._sockets[process] = sample["sockets"]
        (home,) = (self._sockets - before).elements()
        return home

    def close(self) -> None:
        self._client.ws.close()


@pytest.mark.browser
def test_browsers_of_two_workers_chat(
    dev: Dev, visitor: Callable[[], BrowserContext]
) -> None:
    with closing(Observer(dev.port)) as observer:
        observer.home_of_the_newest(1)
        pages: list[Page] = []
        homes: list[str] = []
        while len(set(homes)) < 2:
            assert len(pages) < 12, "all browsers came to one worker"
            pages.append(visitor().new_page())
            pages[-1].goto(f"http://127.0.0.1:{dev.port}/chat/kitchen")
            expect(pages[-1].locator("#state")).to_have_text("connected")
            homes.append(observer.home_of_the_newest(1 + len(pages)))
    here, there = pages[0], pages[-1]
    for page, text in ((here, "Is there tea?"), (there, "Yes")):
        page.get_by_label("Message").fill(text)
        page.keyboard.press("Enter")
        for each in (here, there):
            expect(each.locator("#messages li").last).to_contain_text(text)
