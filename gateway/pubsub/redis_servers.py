"""How to reach Redis: one server, the master that Sentinels know, or a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from gateway.pubsub import redis_url
from gateway.pubsub.redis_url import RedisUrl

__all__ = ["FAILURES", "Cluster", "RedisServers", "servers_at"]

FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)
"""What redis-py raises when Redis is away or says no. (The second is no RedisError.)"""


class RedisServers(ABC):
    """How to reach Redis, whichever way it is set up. Nothing is opened yet.

    ``str()`` says where it is, without passwords.
    """

    sharded = False
    """Whether messages go by sharded pub/sub (``SPUBLISH``), as in a cluster."""

    def __init__(self, url: RedisUrl, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._url = url
        self._patience = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            # redis-py does not know what may be done twice; who asks it does.
            "retry": Retry(NoBackoff(), 0),
            # Nothing of RESP3 is needed, and who lacks a password is told so by RESP2.
            "protocol": 2,
        }

    @abstractmethod
    def client(self) -> Any:
        """A client for commands, with a pool of connections."""

    @abstractmethod
    def listening_connection(self, node: str) -> Connection:
        """A new connection, unopened, to listen on; ``node`` is of :meth:`place`."""

    def place(self, channel: bytes) -> str:
        """Which node's listeners hear a channel: there is only one."""
        return ""

    def refresh(self) -> None:
        """Something has moved: look again where things are. One server stays put."""
        return None

    def __str__(self) -> str:
        return str(self._url)


def servers_at(url: str, timeout_s: float) -> RedisServers:
    """Understand a URL. No single exchange with Redis takes longer than ``timeout_s``.

    Raises:
        ConfigError: it cannot be understood; says how to write it.
    """
    understood = redis_url.read(url)
    kinds: dict[str, type[RedisServers]] = {
        "server": _Single,
        "socket": _Single,
        "sentinels": _Sentinels,
        "cluster": Cluster,
    }
    return kinds[understood.kind](understood, timeout_s)


class _Single(RedisServers):
    def __init__(self, url: RedisUrl, timeout_s: float) -> None:
        super().__init__(url, timeout_s)
        self._options = {**self._patience, **url.options}
        self._connection: Any
        if url.kind == "socket":
            self._connection = UnixDomainSocketConnection
            self._options["path"] = url.path
        else:
            self._connection = SSLConnection if url.tls else Connection
            ((self._options["host"], self._options["port"]),) = url.hosts

    def client(self) -> Any:
        pool = redis.ConnectionPool(self._connection, **self._options)
        return redis.Redis.from_pool(pool)

    def listening_connection(self, node: str) -> Connection:
        # Of no pool: it would count them, and refuse to make the 101st.
        connection: Connection = self._connection(**self._options)
        return connection


class _Sentinels(RedisServers):
    def __init__(self, url: RedisUrl, timeout_s: float) -> None:
        super().__init__(url, timeout_s)
        tls = {k: v for k, v in url.options.items() if k.startswith("ssl_")}
        tls["ssl"] = url.tls
        self._options = {**self._patience, **url.options, "ssl": url.tls}
        # Each is asked in turn, until one answers; all in the time that one may take.
        share_s = timeout_s / (len(url.hosts) + 1)
        patience = {"socket_timeout": share_s, "socket_connect_timeout": share_s}
        self._sentinel = Sentinel(
            url.hosts,
            sentinel_kwargs={
                **(self._patience | patience),
                **tls,
                **url.sentinel_options,
            },
        )

    def client(self) -> Any:
        return self._sentinel.master_for(self._url.path, **self._options)

    def listening_connection(self, node: str) -> Connection:
        pool = self._sentinel.master_for(self._url.path, **self._options)
        connection: Connection = pool.connection_pool.make_connection()
        # The connection asks the pool for the master's address, so keep the pool alive.
        vars(connection)["gateway_pool"] = pool.connection_pool
        return connection


class Cluster(RedisServers):
    """A cluster: a channel belongs to a slot, a slot to a node, until it moves."""

    sharded = True

    def __init__(self, url: RedisUrl, timeout_s: float) -> None:
        super().__init__(url, timeout_s)
        self._options = {**self._patience, **url.options, "ssl": url.tls}
        self._known: RedisCluster | None = None
        self._looking = Lock()

    def client(self) -> Any:
        return self._cluster()

    def listening_connection(self, node: str) -> Connection:
        place = self._node(node)
        client: Any = redis.Redis(place.host, place.port, **self._options)
        connection: Connection = client.connection_pool.make_connection()
        return connection

    def place(self, channel: bytes) -> str:
        cluster = self._cluster()
        slot = cluster.keyslot(channel)
        return str(cluster.nodes_manager.get_node_from_slot(slot).name)

    def refresh(self) -> None:
        self._cluster().nodes_manager.initialize()

    def _node(self, name: str) -> ClusterNode:
        node: ClusterNode | None = self._cluster().get_node(node_name=name)
        if node is None:
            raise redis.ConnectionError(f"the cluster has no node {name} any longer")
        return node

    def _cluster(self) -> RedisCluster:
        with self._looking:
            if self._known is None:
                nodes = [ClusterNode(host, port) for host, port in self._url.hosts]
                self._known = RedisCluster(startup_nodes=nodes, **self._options)
            return self._known
