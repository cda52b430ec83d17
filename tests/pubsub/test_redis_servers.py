"""What connections to Redis are made with. Nothing is opened: it is enough to look."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pubsub.redis_servers import servers_at


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://h:1/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis+sentinel://a/cable", "redis+sentinel://a:26379/cable"),
        ("rediss+cluster://:secret@a", "rediss+cluster://a:6379"),
    ],
)
def test_they_say_where_they_are(url: str, shown: str) -> None:
    servers = servers_at(url, 1.0)
    assert str(servers) == shown
    assert servers.sharded is ("cluster" in url)


@pytest.mark.parametrize(
    "url", ["rediss+sentinel://u:p%2F@h/cable", "rediss://u:p%2F@h/0"]
)
def test_tls_and_passwords_reach_every_connection(url: str) -> None:
    connection = servers_at(url, 1.0).listening_connection("")
    assert (connection.username, connection.password) == ("u", "p/")
    assert "SSL" in type(connection).__name__


def test_sentinels_are_asked_with_their_own_password_and_tls() -> None:
    url = "rediss+sentinel://:m@a,b,c/cable?sentinel_password=s&ssl_cert_reqs=none"
    servers: Any = servers_at(url, 2.0)
    for sentinel in servers._sentinel.sentinels:
        connection = sentinel.connection_pool.make_connection()
        assert connection.password == "s"
        assert "SSL" in type(connection).__name__
        assert not connection.check_hostname
        # One that is away must leave time for the others.
        assert connection.socket_timeout == connection.socket_connect_timeout == 0.5


def test_there_is_no_last_connection() -> None:
    """An outage may take any number of attempts."""
    servers = servers_at("redis://h/0", 1.0)
    for _ in range(250):
        assert not servers.listening_connection("").is_connected
