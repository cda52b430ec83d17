"""URLs of Redis: what is understood, what is refused, and that no password is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.pubsub import redis_url


@pytest.mark.parametrize(
    ("url", "shown", "options"),
    [
        ("redis://h:1/0", "redis://h:1/0", {"db": 0}),
        ("redis://h", "redis://h:6379", {}),
        ("REDIS://h/2", "redis://h:6379/2", {"db": 2}),
        ("redis://h?db=2", "redis://h:6379", {"db": 2}),
        (
            "redis://user:p%40ss@h:1/0",
            "redis://h:1/0",
            {"username": "user", "password": "p@ss", "db": 0},
        ),
        ("redis://h:1?password=hunter2", "redis://h:1", {"password": "hunter2"}),
        (
            "rediss://:secret@h:1/0?ssl_cert_reqs=none&ssl_check_hostname=False",
            "rediss://h:1/0",
            {
                "password": "secret",
                "db": 0,
                "ssl_cert_reqs": "none",
                "ssl_check_hostname": False,
            },
        ),
        ("valkey://:s@h/0", "redis://h:6379/0", {"password": "s", "db": 0}),
        ("valkeys://h/0", "rediss://h:6379/0", {"db": 0}),
        (
            "unix://:s@/run/redis.sock?db=2",
            "unix:///run/redis.sock",
            {"password": "s", "db": 2},
        ),
        (
            "redis+sentinel://:s@a,b:7/cable/3",
            "redis+sentinel://a:26379,b:7/cable/3",
            {"password": "s", "db": 3},
        ),
        ("rediss+sentinel://a/cable", "rediss+sentinel://a:26379/cable", {}),
        (
            "redis+cluster://u:s@a,b:7",
            "redis+cluster://a:6379,b:7",
            {"username": "u", "password": "s"},
        ),
        ("valkeys+cluster://[::1]:7/0", "rediss+cluster://[::1]:7", {}),
    ],
)
def test_what_is_understood(url: str, shown: str, options: dict[str, Any]) -> None:
    understood = redis_url.read(url)
    assert str(understood) == shown
    assert understood.options == options
    assert understood.tls is shown.startswith("rediss")


def test_files_for_tls(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    url = f"rediss://h/0?ssl_ca_certs={file}&ssl_ca_path={tmp_path}"
    assert redis_url.read(url).options["ssl_ca_certs"] == str(file)
    assert redis_url.read(url).options["ssl_ca_path"] == str(tmp_path)


def test_sentinels_have_users_and_passwords_of_their_own() -> None:
    url = "redis+sentinel://:m@a/cable?sentinel_username=u&sentinel_password=s"
    understood = redis_url.read(url)
    assert understood.path == "cable"
    assert understood.options == {"password": "m"}
    assert understood.sentinel_options == {"username": "u", "password": "s"}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "http://h/0",
            r"write one of redis://, .* redis\+cluster:// \(docs/redis.md\)",
        ),
        ("localhost:6379", "write one of redis://"),
        ("", "write one of redis://"),
        ("redis://h:port/0", "a port is a number"),
        ("redis://h:99999/0", "a port is a number"),
        ("redis://", "name the host, as in host:6379"),
        ("redis://a,b/0", r"write redis\+sentinel:// or redis\+cluster://"),
        ("redis://h/x", "the database is a number"),
        ("redis://h/1?db=1", "names the database twice"),
        ("redis://h?db=one", "the database is a number"),
        ("redis://[::1/0", "it is no URL"),
        ("redis+sentinel://h:1", "name the service"),
        ("redis+sentinel://h:1/cable/first", "the database is a number"),
        ("redis+cluster://", "name the host, as in host:6379,host:port"),
        ("redis+cluster://a,,b", "name the host"),
        ("redis+cluster://a/5", "a cluster has one database only"),
        ("redis+cluster://a?db=5", "a cluster has one database only"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis://h/0?nonsense=1", "leave 'nonsense' out: the options are db, .*ssl_"),
        ("redis://h/0?protocol=3", "leave 'protocol' out"),
        ("redis://h/0?decode_responses=true", "leave 'decode_responses' out"),
        ("redis://h/0?socket_timeout=60", "publish_timeout says how long to wait"),
        ("redis://h/0?ssl_cert_reqs=none", "is for TLS: write rediss"),
        ("rediss://h/0?ssl_cert_reqs=nope", "is none, optional or required"),
        ("rediss://h/0?ssl_check_hostname=maybe", "is true or false"),
        ("rediss://h/0?ssl_ca_certs=/missing.pem", "there is no file /missing.pem"),
        ("rediss://h/0?ssl_ca_path=/missing", "there is no folder /missing"),
        ("redis://h/0?sentinel_password=s", r"is for redis\+sentinel://"),
    ],
)
def test_what_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        redis_url.read(url)
    assert error.value.key == "url"


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@h:port/0",
        "redis://h:port/0?password=hunter2",
        "redis://h/0?password=hunter2&nonsense=1",
        "redis://h/0?password=an@hunter2&nonsense=1",
        "rediss://:hun/hunter2@h:1/0",
        "rediss://:hun?hunter2@h:1/0",
        "redis+sentinel://:hun#hunter2@h:1/s",
        "redis+cluster://:hun/hunter2@h:1",
        "redis+cluster://:hun[hunter2@h:1",
        "redis+sentinel://h?sentinel_password=hunter2",
        "http://:hunter2@h",
    ],
)
def test_a_refusal_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        redis_url.read(url)
    assert "hun" not in str(error.value)


def test_a_special_character_in_a_password_is_explained() -> None:
    with pytest.raises(ConfigError, match="in a password as %2F"):
        redis_url.read("rediss://:hun/ter2@h:1/0")
