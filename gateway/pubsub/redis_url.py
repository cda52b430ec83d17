"""What a Redis URL says, and what is wrong with one.

redis://[user:password@]host:port/db        rediss:// with TLS
unix:///path?db=0                           by a socket file
valkey://… valkeys://…                      the same, for those who run Valkey
redis+sentinel://host:port,host:port/service[/db]
redis+cluster://host:port,host:port         rediss+… with TLS

Options that redis-py would take but that would break us (another protocol, decoded
answers, timeouts of its own) are refused, as is what it would ignore.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway.errors import ConfigError

__all__ = ["RedisUrl", "read"]

Kind = Literal["server", "socket", "sentinels", "cluster"]

_KINDS: dict[str, Kind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "socket",
    "redis+sentinel": "sentinels",
    "rediss+sentinel": "sentinels",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_SHOWN = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")

_PASSWORD = "write / ? # @ and % in a password as %2F %3F %23 %40 and %25"


class RedisUrl(NamedTuple):
    """A URL, understood. ``str()`` shows it without its password."""

    kind: Kind
    shown: str
    tls: bool
    hosts: list[tuple[str, int]]
    path: str
    """Of the socket file, or the Sentinels' name for the service."""
    options: dict[str, Any]
    """What redis-py's connections are to be given: user, password, database, TLS."""
    sentinel_options: dict[str, Any]
    """The same for connections to Sentinels."""

    def __str__(self) -> str:
        return self.shown


def read(url: str) -> RedisUrl:
    """Understand a URL.

    Raises:
        ConfigError: it cannot be understood; says how to write it, and no password.
    """
    try:
        return _read(url)
    except ValueError as exc:
        raise ConfigError("url", _public(url), str(exc)) from None


def _read(url: str) -> RedisUrl:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower().replace("valkeys", "rediss").replace("valkey", "redis")
    kind = _KINDS.get(scheme)
    if kind is None:
        known = ", ".join(f"{each}://" for each in _SHOWN)
        raise ValueError(f"write one of {known} (docs/redis.md)")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:
        raise ValueError(f"it is no URL; {_PASSWORD}") from None
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError(f"it is no URL; {_PASSWORD}")
    tls = scheme.startswith("rediss")
    options: dict[str, Any] = {}
    for name, secret in (("username", parts.username), ("password", parts.password)):
        if secret:
            options[name] = unquote(secret)
    options |= _query(parts.query, kind, tls=tls)
    sentinel_options = {
        name.removeprefix("sentinel_"): options.pop(name)
        for name in list(options)
        if name.startswith("sentinel_")
    }
    hosts = [] if kind == "socket" else _hosts(parts, kind)
    path, database = _path(parts, kind)
    if database:
        if "db" in options:
            raise ValueError("it names the database twice")
        options["db"] = _number(database)
    shown = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in hosts)
    if kind in ("socket", "sentinels"):
        shown += path if kind == "socket" else f"/{path}"
    if database:
        shown += f"/{database}"
    return RedisUrl(
        kind, f"{scheme}://{shown}", tls, hosts, path, options, sentinel_options
    )


def _hosts(parts: SplitResult, kind: Kind) -> list[tuple[str, int]]:
    default = 26379 if kind == "sentinels" else 6379
    names = parts.netloc.rpartition("@")[2].split(",")
    if kind == "server" and len(names) > 1:
        raise ValueError(
            "a server has one host: write redis+sentinel:// or redis+cluster://"
        )
    hosts = []
    for name in names:
        try:
            pair = urlsplit(f"//{name}")
            host, port = pair.hostname, pair.port
        except ValueError:
            raise ValueError(f"a port is a number up to 65535; {_PASSWORD}") from None
        if not host:
            more = "" if kind == "server" else ",host:port"
            raise ValueError(f"name the host, as in host:{default}{more}")
        hosts.append((host, default if port is None else port))
    return hosts


def _path(parts: SplitResult, kind: Kind) -> tuple[str, str]:
    """The socket file or the service, and the database."""
    path = unquote(parts.path)
    if kind == "socket":
        if not path or parts.hostname:
            raise ValueError("write three slashes before the path: unix:///run/…")
        return path, ""
    if kind == "sentinels":
        service, _, database = path.strip("/").partition("/")
        if not service:
            raise ValueError("name the service: redis+sentinel://host:port/service")
        return service, database
    database = path.strip("/")
    if kind == "cluster" and database not in ("", "0"):
        raise ValueError("a cluster has one database only: leave the number out")
    return "", database if kind == "server" else ""


# Options, after a question mark.


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the database is a number, as in redis://host:6379/0")
    return int(text)


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError(f"there is no file {text}")
    return text


def _folder(text: str) -> str:
    if not Path(text).is_dir():
        raise ValueError(f"there is no folder {text}")
    return text


def _requirement(text: str) -> str:
    if text not in ("none", "optional", "required"):
        raise ValueError("ssl_cert_reqs is none, optional or required")
    return text


def _truth(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError("ssl_check_hostname is true or false") from None


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "db": _number,
    "username": str,
    "password": str,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": _truth,
    "ssl_ca_certs": _file,
    "ssl_ca_path": _folder,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": str,
    "sentinel_username": str,
    "sentinel_password": str,
}


def _query(query: str, kind: Kind, *, tls: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name.startswith("ssl_") and not tls:
            raise ValueError(f"{name} is for TLS: write rediss")
        if name.startswith("sentinel_") and kind != "sentinels":
            raise ValueError(f"{name} is for redis+sentinel://")
        if name == "db" and kind == "cluster":
            raise ValueError("a cluster has one database only: leave the number out")
        if name not in _OPTIONS:
            _refuse(name)
        options[name] = _OPTIONS[name](text)
    return options


def _refuse(name: str) -> NoReturn:
    if "timeout" in name:
        raise ValueError(f"leave {name} out: publish_timeout says how long to wait")
    known = ", ".join(_OPTIONS)
    raise ValueError(f"leave {name!r} out: the options are {known}")


def _public(url: str) -> str:
    """A URL that cannot be read, as it may be shown: surely without its password."""
    scheme, separator, rest = url.partition("://")
    before, _, after = rest.rpartition("@")
    if "?" in before:  # then nobody knows where the password begins or ends
        return f"{scheme}{separator}…"
    return f"{scheme}{separator}{after.partition('?')[0]}"
