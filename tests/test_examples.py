"""The examples in docstrings run, and every public class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import gateway


@pytest.fixture(autouse=True)
def _environ_as_before() -> Iterator[None]:
    """Settings for gunicorn are among the modules; they set variables for workers."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def modules() -> list[str]:
    found = pkgutil.walk_packages(gateway.__path__, "gateway.")
    return [m.name for m in found if m.name not in ("gateway.__main__",)]


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str) -> None:
    module = load(name)
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def public_classes() -> list[Any]:
    """What people import: the exports of the package and of its usable rooms."""
    rooms = [gateway, load("gateway.websocket")]
    exports = [getattr(room, name) for room in rooms for name in room.__all__]
    return [value for value in exports if inspect.isclass(value)]


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__qualname__)
def test_public_classes_show_an_example(cls: Any) -> None:
    is_protocol = getattr(cls, "_is_protocol", False)
    if not is_protocol and not issubclass(cls, BaseException):
        assert ">>>" in cls.__doc__, f"{cls.__qualname__} shows no example"


def test_the_exports_exist() -> None:
    assert {getattr(gateway, name).__name__ for name in gateway.__all__} == set(
        gateway.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gateway.nothing
