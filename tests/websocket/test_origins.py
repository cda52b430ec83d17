"""Which pages may open a socket: the matrix of look-alikes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.errors import LocalError
from gateway.websocket import Origins


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "example.com", True),
        ("http://example.com", "example.com", True),
        ("https://example.com", "example.com", True),
        ("https://EXAMPLE.com", "example.COM", True),
        ("http://example.com", "example.com:80", True),
        ("https://example.com:443", "example.com", True),
        ("http://example.com:8000", "example.com:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://example.com:8001", "example.com:8000", False),
        ("http://example.com", "example.com:8000", False),
        ("https://example.com.evil.net", "example.com", False),
        ("https://evilexample.com", "example.com", False),
        ("https://www.example.com", "example.com", False),
        ("null", "example.com", False),
        ("", "", False),
        ("file://", "", False),
        ("chrome-extension://example.com", "example.com", False),
        ("http://example.com/path", "example.com", False),
        ("http://example.com:port", "example.com", False),
    ],
)
def test_same_host(origin: str | None, host: str, allowed: bool) -> None:
    assert Origins().allow(origin, host=host) is allowed


@pytest.mark.parametrize(
    ("entry", "origin", "allowed"),
    [
        ("https://app.net", "https://app.net", True),
        ("https://app.net", "HTTPS://APP.NET", True),
        ("https://app.net/", "https://app.net", True),
        ("https://app.net", "http://app.net", False),
        ("https://app.net", "https://app.net:8443", False),
        ("https://*.app.net", "https://a.b.app.net", True),
        ("https://*.app.net", "https://app.net", False),
        ("https://*.app.net", "https://evil.com/.app.net", False),
        ("https://*.app.net", "https://evil.com#.app.net", False),
        ("http://localhost:*", "http://localhost:3000", True),
        ("*", "https://anything.example", True),
        (re.compile(r"https?://localhost:\d+"), "http://localhost:3000", True),
        (
            re.compile(r"https?://localhost:\d+"),
            "http://localhost:3000.evil.net",
            False,
        ),
    ],
)
def test_the_list(entry: str | re.Pattern[str], origin: str, allowed: bool) -> None:
    assert Origins([entry]).allow(origin, host="example.com") is allowed


@pytest.mark.parametrize("entry", ["null", "file://"])
def test_pages_without_a_host(entry: str) -> None:
    assert Origins([entry]).allow(entry, host="example.com")


def test_a_list_is_no_string() -> None:
    with pytest.raises(LocalError, match=r"write \['https://app.net'\]"):
        Origins("https://app.net")


@pytest.mark.parametrize("entry", ["app.net", "app.net:443", "", None, b"https://a"])
def test_what_is_no_origin(entry: Any) -> None:
    with pytest.raises(LocalError, match="is what no page has: write https://"):
        Origins([entry])


def test_an_origin_can_be_required() -> None:
    assert not Origins(required=True).allow(None, host="example.com")


def test_the_own_host_can_be_left_out() -> None:
    origins = Origins(same_host=False)
    assert not origins.allow("https://example.com", host="example.com")
