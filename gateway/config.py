"""One frozen ``Settings`` for the whole gateway, read and checked before anything runs.

Values come from ``config/cable.yml`` (the section of the environment), are overridden
by Flask config keys ``GATEWAY_<NAME>`` and those by environment variables of the same
name.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, inspect

from gateway import cable_yml
from gateway.cable.history import Retention, Retentions
from gateway.cable_yml import Expanded
from gateway.control import CONTROL, RETENTION
from gateway.errors import ConfigError

__all__ = ["Kept", "Settings", "environment", "find", "load"]

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]

_SECRET = ("passw", "secret", "token", "key", "crypt", "salt")


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of some streams is kept; without ``seconds``, for ``history_ttl``."""

    messages: Annotated[int, Meta(ge=0)]
    seconds: Positive | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be configured; ``config/cable.yml`` explains each key.

    >>> Settings(path="/socket").ping_interval
    3.0
    """

    adapter: str = "memory"
    url: str = "redis://127.0.0.1:6379/0"
    channel_prefix: str = ""
    publish_timeout: Positive = 2.0
    on_failure: Literal["raise", "queue"] = "raise"
    max_queued: Count = 10_000
    broadcast_key: Annotated[str, Meta(min_length=1)] | None = None
    history: Annotated[int, Meta(ge=0)] = 100
    history_ttl: Positive = 300.0
    history_streams: dict[str, Annotated[int, Meta(ge=0)] | Kept] = {}
    session_ttl: Positive = 300.0
    path: str = "/cable"
    health_path: str = "/health"
    allowed_origins: tuple[Any, ...] = ()
    """Strings; from Flask's config also compiled patterns."""
    allow_same_origin: bool = True
    require_origin: bool = False
    ping_interval: Positive = 3.0
    websocket_ping_interval: Positive | None = 25.0
    compression: bool = True
    max_message_bytes: Count = 2**20
    max_queued_bytes: Count = 2**20
    max_outgoing_bytes: Count = 2**20
    write_timeout: Positive = 30.0
    max_sockets: Count | None = None
    max_sockets_per_address: Count | None = None
    trusted_proxies: Annotated[int, Meta(ge=0)] = 0
    max_subscriptions: Count = 1000
    max_identifier_bytes: Count = 8192
    max_presence_bytes: Count = 4096
    filter_parameters: tuple[str, ...] = _SECRET
    shutdown_delay: Annotated[float, Meta(ge=0)] = 0.0
    drain_seconds: Annotated[float, Meta(ge=0)] = 5.0
    metrics_path: str | None = "/metrics"

    def retentions(self) -> Retentions:
        """How much of which stream is kept."""
        patterns = {CONTROL: RETENTION}
        for pattern, kept in self.history_streams.items():
            if isinstance(kept, int):
                kept = Kept(messages=kept)
            seconds = kept.seconds or self.history_ttl
            patterns[pattern] = Retention(kept.messages, seconds)
        return Retentions(Retention(self.history, self.history_ttl), patterns)


_FIELDS = {f.name: f for f in inspect.type_info(Settings).fields}  # type: ignore[attr-defined]
_NOT_SETTINGS = ("GATEWAY_ENV", "GATEWAY_CONFIG")
_NEAR = 0.75  # how much a word must be like another to be taken for a slip


def environment() -> str:
    """``GATEWAY_ENV``, else ``FLASK_ENV``, else ``development``."""
    environ = os.environ
    return environ.get("GATEWAY_ENV") or environ.get("FLASK_ENV") or "development"


def find(folders: Iterable[Path], named: str | os.PathLike[str] | None) -> Path | None:
    """The configuration file, None if there is none.

    It is the one that the environment variable ``GATEWAY_CONFIG`` names, else
    ``named``, else the first ``config/cable.yml`` in ``folders``.
    """
    path = os.environ.get("GATEWAY_CONFIG") or named
    if path:
        return Path(path)
    candidates = (folder / "config" / "cable.yml" for folder in folders)
    return next((file for file in candidates if file.is_file()), None)


def load(
    file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings of this environment.

    ``file`` is a YAML file by environment, or None; ``overrides`` holds Flask's config,
    of which the keys ``GATEWAY_<NAME>`` count.

    Raises:
        ConfigError: names the key, the value and the fix.
    """
    values: dict[str, Any] = {}
    if environment() == "test":
        values["adapter"] = "test"
    if file is not None:
        values.update(_from_file(Path(file)))
    values.update(_from_flask(overrides or {}))
    values.update(_from_environment())
    return _checked(values)


# Where values come from.


def _from_file(file: Path) -> dict[str, Any]:
    values = cable_yml.section(file, environment())
    for key, value in values.items():
        if key not in _FIELDS:
            raise _unknown(key, value, f"{file} ({environment()})")
        if isinstance(value, Expanded):
            values[key] = _meant(key, value)
    return values


def _from_flask(config: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in config.items():
        if not key.startswith("GATEWAY_") or key in _NOT_SETTINGS:
            continue
        name = key.removeprefix("GATEWAY_").lower()
        if name not in _FIELDS:
            raise _unknown(key, value, "the Flask config")
        values[name] = value
    return values


def _from_environment() -> dict[str, Any]:
    """Those that are set, and not empty.

    Others may begin so, too: Kubernetes, for one, names its services in them. Only what
    looks like a slip is refused.
    """
    values: dict[str, Any] = {}
    for key, text in os.environ.items():
        if not key.startswith("GATEWAY_") or key in _NOT_SETTINGS or not text:
            continue
        name = key.removeprefix("GATEWAY_").lower()
        if name in _FIELDS:
            values[name] = _meant(name, text)
        elif get_close_matches(name, _FIELDS, n=1, cutoff=_NEAR):
            raise _unknown(key, text, "the environment")
    return values


def _meant(key: str, text: str) -> Any:
    """What the text of a variable means: itself, where a text is wanted."""
    kind = _FIELDS[key].type
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if any(isinstance(k, inspect.StrType | inspect.LiteralType) for k in kinds):
        return None if text == "null" and len(kinds) > 1 else str(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(key, text, f"it is not YAML: {exc}") from None


def _unknown(key: str, value: object, source: str) -> ConfigError:
    prefix = "GATEWAY_" if key.startswith("GATEWAY_") else ""
    name = key.removeprefix(prefix).lower()
    near = get_close_matches(name, _FIELDS, n=1)
    meant = f"{prefix}{near[0].upper() if prefix else near[0]}" if near else ""
    hint = f"did you mean {meant!r}?" if meant else "remove it"
    fix = f"{source} knows no such key; {hint}"
    return ConfigError(key, _shown(near[0] if near else name, value), fix)


# What values must be.

_WANTED = {
    "on_failure": "write raise or queue",
    "broadcast_key": "write a long random text in quotes, or null",
    "history_streams": (
        'write messages by pattern, as in {"dashboard*": 0, "chat*": '
        "{messages: 500, seconds: 3600}}"
    ),
    "filter_parameters": "write a list of words, as in [passw, token]",
}


def _checked(values: dict[str, Any]) -> Settings:
    if "allowed_origins" in values:
        values["allowed_origins"] = _origins(values["allowed_origins"])
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as exc:
        found = re.search(r"`\$\.(\w+)", str(exc))
        assert found  # there is nothing but keys, and they are known
        raise _refused(found.group(1), values, str(exc)) from None
    for key in _FIELDS:
        value = getattr(settings, key)
        numbers = [value]
        if key == "history_streams":
            numbers = [k.seconds for k in value.values() if isinstance(k, Kept)]
        if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
            raise _refused(key, values, "Expected `float`")
    _check_paths(settings)
    return settings


def _refused(key: str, values: dict[str, Any], complaint: str) -> ConfigError:
    """A value is of the wrong kind: say of which kind it is to be."""
    fix = _WANTED.get(key)
    if fix is None:
        default = _FIELDS[key].default
        kind = re.search(r"Expected `(\w+)", complaint)
        words = {"float": "a number", "int": "a whole number", "bool": "true or false"}
        word = words.get(kind.group(1) if kind else "", "a text in quotes")
        limit = re.search(r" (>=?) ([\d.]+)", complaint)
        if limit:
            bound = f"{float(limit[2]):g}"
            word += f", {bound} or more" if limit[1] == ">=" else f" over {bound}"
        example = "" if default is None or word == "true or false" else default
        fix = f"write {word}" + (f", such as {example!r}" if example != "" else "")
    return ConfigError(key, _shown(key, values.get(key)), fix)


def _shown(key: str, value: object) -> object:
    """A value as it may be printed."""
    is_secret = key == "url" or any(word in key for word in _SECRET)
    return "…" if is_secret else value


def _origins(given: Any) -> tuple[Any, ...]:
    entries = (given,) if isinstance(given, str | re.Pattern) else given
    if not isinstance(entries, list | tuple | set | frozenset):
        entries = (given,)
    for entry in entries:
        if isinstance(entry, re.Pattern) or entry in ("*", "null"):
            continue
        if not isinstance(entry, str) or not re.fullmatch(
            r"[^/\s]+://[^/\s]+/?", entry
        ):
            host = str(entry).partition("://")[2] or str(entry)
            raise ConfigError(
                "allowed_origins",
                entry,
                "write a scheme and a host without a path, as in "
                f"https://{host.partition('/')[0] or 'example.com'}, or * for all",
            )
    return tuple(entries)


def _check_paths(settings: Settings) -> None:
    """They must be paths, and no two of what lies there the same."""
    places: dict[str, str] = {}
    for key, below in (
        ("path", ("", "/broadcast", "/events", "/presence")),
        ("health_path", ("", "/live")),
        ("metrics_path", ("",)),
    ):
        path = getattr(settings, key)
        if path is None:
            continue
        if not re.fullmatch(r"(/[^/<>?#\s]+)+", path):
            name = re.sub(r"[^\w/.-]", "", path).strip("/") or key.partition("_")[0]
            raise ConfigError(
                key, path, f"write an absolute path such as /{name}, without a / behind"
            )
        for each in below:
            other = places.setdefault(path + each, key)
            if other != key:
                raise ConfigError(
                    key,
                    path,
                    f"{path + each} is there by {other} already: write others",
                )
