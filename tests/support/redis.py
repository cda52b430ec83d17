"""Real Redis: a server, a cluster, a master with Sentinels, each as long as a ``with``.

They listen on ports that were free, below those that the kernel gives to clients, so
that one that was killed can come back where it was.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import quote

import redis

from tests.support import eventually
from tests.support.tls import Certificate

__all__ = ["RedisCluster", "RedisSentinels", "RedisServer", "free_port"]

_SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "repl-diskless-sync-delay": "0",
}


class RedisServer:
    """One ``redis-server``; ``settings`` are those of its configuration file."""

    _arguments: ClassVar[Sequence[str]] = ()
    _defaults: ClassVar[Mapping[str, str]] = _SETTINGS

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Certificate | None = None,
        port: int | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "redis.sock"
        self.password = settings.get("requirepass")
        self.certificate = certificate
        self.port = port or free_port()
        self._settings = {name.replace("_", "-"): v for name, v in settings.items()}
        self.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where it is, password included."""
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        if self.certificate is None:
            return f"redis://{secret}{self.address}/0"
        return f"rediss://{secret}{self.address}/0?ssl_ca_certs={self.certificate.file}"

    @property
    def unix_url(self) -> str:
        """The same server by its socket file."""
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"unix://{secret}{self.socket}?db=0"

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "redis.log").read_text()

    def start(self) -> None:
        """Start it, again where it was; returns when it answers."""
        for _ in range(5):
            self._spawn()
            if eventually(self._state, 20) == "ready":
                return
            self.port = free_port()  # somebody was faster
        raise AssertionError(f"redis-server does not start:\n{self.log}")

    def ask(self, *command: Any) -> Any:
        """Say a command to it, as an operator would."""
        with redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.password,
            socket_timeout=10,
            decode_responses=True,
        ) as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        """It hangs: connections stay open, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, however it is."""
        if self.process.poll() is None:
            self.kill()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if value is not None:
            value.add_note(f"Redis' log:\n{self.log}")

    def _spawn(self) -> None:
        ports: Mapping[str, str] = {"port": str(self.port)}
        if self.certificate is not None:
            ports = {
                "port": "0",
                "tls-port": str(self.port),
                "tls-cert-file": str(self.certificate.file),
                "tls-key-file": str(self.certificate.key),
                "tls-auth-clients": "no",
            }
        settings = {
            **self._defaults,
            "dir": str(self.folder),
            "unixsocket": str(self.socket),
            **ports,
            **self._settings,
        }
        file = self.folder / "redis.conf"
        lines = [f'{name} "{value}"' for name, value in settings.items()]
        extra = self._extra()
        file.write_text("\n".join([*lines, *extra, ""]))
        self.socket.unlink(missing_ok=True)
        with (self.folder / "redis.log").open("a") as log:
            self.process = subprocess.Popen(
                ["redis-server", str(file), *self._arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Control-C is for the tests
            )

    def _extra(self) -> Sequence[str]:
        return ()

    def _state(self) -> str:
        """``ready``, ``ended``, or nothing yet."""
        if self.process.poll() is not None:
            return "ended"
        try:
            self.ask("PING")
        except (redis.ConnectionError, redis.BusyLoadingError):
            return ""
        return "ready"


class RedisCluster:
    """Three masters that share the slots evenly."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[_Node] = []
        try:
            for number in range(3):
                self.nodes.append(_Node(folder / str(number)))
            self._join()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """All of its nodes."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes)

    def node_id(self, node: RedisServer) -> str:
        """What the cluster calls a node."""
        return str(node.ask("CLUSTER", "MYID"))

    def owner(self, slot: int) -> _Node:
        """The node that serves a slot."""
        for first, last, (_, port, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves slot {slot}")

    def migrate(self, slot: int) -> _Node:
        """Move a slot, keys and all, to the next node; returns that."""
        source = self.owner(slot)
        target = self.nodes[(self.nodes.index(source) + 1) % 3]
        from_id, to_id = self.node_id(source), self.node_id(target)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", from_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            to = ("127.0.0.1", target.port, "", 0, 5000)
            source.ask("MIGRATE", *to, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to_id)
        return target

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> RedisCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _join(self) -> None:
        first = self.nodes[0]
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            last = bounds[number + 1] - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], last)
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
        eventually(lambda: all(map(self._is_whole, self.nodes)), 30)

    @staticmethod
    def _is_whole(node: RedisServer) -> bool:
        about = node.ask("CLUSTER", "INFO")
        lines = dict(str(line).partition(":")[::2] for line in about.splitlines())
        everybody = lines["cluster_known_nodes"] == "3"
        return everybody and lines["cluster_state"] == "ok"


class RedisSentinels:
    """A master, its replica, and two Sentinels that watch over them.

    The Sentinels have a password of their own if one is given.
    """

    service = "cable"

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        self._all: list[RedisServer] = []
        self._password = password
        try:
            self.master = self._started(RedisServer(folder / "master"))
            self.replica = self._started(
                RedisServer(
                    folder / "replica", replicaof=f"127.0.0.1 {self.master.port}"
                )
            )
            # Else they would learn of it ten seconds later.
            eventually(lambda: _has_replica(self.master), 30)
            self.sentinels = [
                self._started(
                    _Sentinel(folder / f"sentinel-{n}", self.master.port, password)
                )
                for n in range(2)
            ]
            eventually(lambda: all(map(self._is_ready, self.sentinels)), 30)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The Sentinels, and what they call the service."""
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        secret = f"?sentinel_password={self._password}" if self._password else ""
        return f"redis+sentinel://{hosts}/{self.service}{secret}"

    def master_port(self) -> int:
        """Where the Sentinels say that the master is."""
        found = self.sentinels[0].ask(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service
        )
        return int(found[1])

    def stop(self) -> None:
        for server in self._all:
            server.stop()

    def __enter__(self) -> RedisSentinels:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self, server: RedisServer) -> RedisServer:
        self._all.append(server)
        return server

    def _is_ready(self, sentinel: RedisServer) -> bool:
        """It knows the replica and the other Sentinel, and thinks well of them."""
        found = sentinel.ask("SENTINEL", "MASTER", self.service)
        others = found["num-slaves"], found["num-other-sentinels"]
        if tuple(map(int, others)) != (1, 1):
            return False
        (replica,) = sentinel.ask("SENTINEL", "REPLICAS", self.service)
        return bool(
            replica["flags"] == "slave" and replica["master-link-status"] == "ok"
        )


class _Sentinel(RedisServer):
    _arguments = ("--sentinel",)
    _defaults: ClassVar[Mapping[str, str]] = {}

    def __init__(self, folder: Path, master_port: int, password: str | None) -> None:
        self._master_port = master_port
        settings: dict[str, Any] = {"requirepass": password} if password else {}
        super().__init__(folder, **settings)

    def _extra(self) -> Sequence[str]:
        name = RedisSentinels.service
        secret = (f"sentinel sentinel-pass {self.password}",) if self.password else ()
        return (
            *secret,
            f"sentinel monitor {name} 127.0.0.1 {self._master_port} 1",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 3000",
        )


class _Node(RedisServer):
    def __init__(self, folder: Path) -> None:
        self.bus_port = free_port()
        super().__init__(
            folder,
            cluster_enabled="yes",
            cluster_port=str(self.bus_port),
            cluster_node_timeout="2000",
        )


def _has_replica(master: RedisServer) -> bool:
    role, _, replicas = master.ask("ROLE")
    return role == "master" and len(replicas) == 1


def free_port() -> int:
    """One that nobody uses, and that no client is given while its server is away."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
