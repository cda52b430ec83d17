"""The contract on Redis: one server by every way to reach it, a cluster, Sentinels."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from gateway.cable.history import Retention, Retentions
from gateway.cable.publication import Publication
from gateway.errors import PubSubError
from gateway.pubsub.redis import RedisPubSub
from tests.pubsub.contract import Contract
from tests.support.redis import RedisCluster, RedisSentinels, RedisServer
from tests.support.tls import Certificate

PASSWORD = "s3cret/with:signs@all"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[RedisServer]:
    """A server with a password and TLS."""
    folder = tmp_path_factory.mktemp("guarded")
    with RedisServer(folder, certificate=certificate, requirepass=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    with RedisSentinels(tmp_path_factory.mktemp("sentinels")) as running:
        yield running


class RedisContract(Contract):
    """Each test has a prefix of its own, so that none hears another."""

    @pytest.fixture(autouse=True)
    def _prefix(self) -> None:
        self.prefix = secrets.token_hex(4)

    url: str

    def make(self, retentions: Retentions | None = None) -> RedisPubSub:
        return RedisPubSub(self.url, prefix=self.prefix, retentions=retentions)

    def test_an_epoch_ends_once(self) -> None:
        """For the first who found that the counter is not to be trusted."""
        pubsub = self.make()
        try:
            first = pubsub.recall("s")
            assert first is not None
            pubsub.renew("s", first.position.epoch)
            second = pubsub.recall("s")
            assert second is not None
            assert second.position.epoch != first.position.epoch
            pubsub.renew("s", first.position.epoch)
            assert pubsub.recall("s") == second
        finally:
            pubsub.close()

    def test_a_stream_without_a_history_has_no_past(self) -> None:
        none = Retentions(Retention(messages=0))
        pubsub = RedisPubSub(self.url, prefix=self.prefix, retentions=none)
        try:
            pubsub.publish("s", Publication(b"1"))
            assert pubsub.recall("s") is None
        finally:
            pubsub.close()


class TestOneServer(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, server: RedisServer) -> None:
        self.url = server.url


class TestUnixSocket(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, server: RedisServer) -> None:
        self.url = server.unix_url


class TestPasswordAndTls(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, guarded: RedisServer) -> None:
        self.url = guarded.url


def test_a_certificate_that_nobody_has_signed(guarded: RedisServer) -> None:
    url = guarded.url.partition("?")[0]
    strict, lax = RedisPubSub(url), RedisPubSub(f"{url}?ssl_cert_reqs=none")
    try:
        lax.publish("s", Publication(b"1"))
        with pytest.raises(PubSubError, match="(?i)certificate verify failed"):
            strict.publish("s", Publication(b"1"))
    finally:
        strict.close()
        lax.close()


class TestValkeysUrl(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, server: RedisServer) -> None:
        self.url = server.url.replace("redis", "valkey")


class TestCluster(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, cluster: RedisCluster) -> None:
        self.url = cluster.url


class TestSentinels(RedisContract):
    @pytest.fixture(autouse=True)
    def _url(self, sentinels: RedisSentinels) -> None:
        self.url = sentinels.url
