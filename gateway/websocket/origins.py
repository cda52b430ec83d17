"""Which web pages may open a socket here (RFC 6455 §10.2).

A browser sends cookies with every WebSocket it opens, whatever page asked for it, and
names that page's origin. So a foreign origin is refused unless it is on the list. A
*missing* Origin passes unless ``required``: only browsers can be tricked into opening a
socket with somebody's cookies, and browsers always send it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from gateway.errors import LocalError

__all__ = ["Origins"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """A list of allowed origins, and the rule for those that are not on it.

    An entry is an exact origin, one with ``*`` for any part of a host name or a port,
    ``*`` for any origin, or a compiled pattern that must match the whole origin.

    Raises:
        LocalError: this is no list of them.

    >>> origins = Origins(["https://*.example.com", re.compile(r"https?://localhost")])
    >>> origins.allow("https://www.example.com", host="api.example.com")
    True
    >>> origins.allow("https://example.com.evil.net", host="api.example.com")
    False
    >>> origins.allow("http://api.example.com", host="api.example.com")
    True
    """

    def __init__(
        self,
        allowed: Iterable[str | re.Pattern[str]] = (),
        *,
        same_host: bool = True,
        required: bool = False,
    ) -> None:
        if isinstance(allowed, str):
            raise LocalError(
                f"origins is a list, not the string {allowed!r}: write [{allowed!r}]"
            )
        self._patterns = [_pattern(entry) for entry in allowed]
        self._same_host = same_host
        self._required = required
        self._fits = lru_cache(maxsize=256)(self._compare)

    def allow(self, origin: str | None, *, host: str) -> bool:
        """Whether a page of ``origin`` may open a socket on the server ``host``."""
        return not self._required if origin is None else self._fits(origin, host)

    def _compare(self, origin: str, host: str) -> bool:
        if self._same_host and _is_host(origin, host):
            return True
        return any(pattern.fullmatch(origin.lower()) for pattern in self._patterns)


def _pattern(entry: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(entry, re.Pattern):
        return re.compile(entry.pattern, entry.flags | re.IGNORECASE)
    if entry == "*":
        return re.compile(".*")
    if not isinstance(entry, str) or not ("://" in entry or entry == "null"):
        raise LocalError(
            f"origin {entry!r} is what no page has: write https://example.com, "
            "https://*.example.com, * for any, or a compiled pattern"
        )
    entry = entry if entry.endswith("://") else entry.rstrip("/")
    parts: Sequence[str] = entry.lower().split("*")
    return re.compile(r"[a-z0-9.\-]*".join(map(re.escape, parts)))


def _is_host(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin.lower())
        named = urlsplit(f"//{host.lower()}")
        default = _DEFAULT_PORTS.get(parts.scheme)
        same_port = (parts.port or default) == (named.port or default)
    except ValueError:  # a port that is no number
        return False
    is_origin = default is not None and not (
        parts.path or parts.query or parts.fragment
    )
    return is_origin and parts.hostname == named.hostname is not None and same_port
