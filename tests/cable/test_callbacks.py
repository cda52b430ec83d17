"""Marks on methods, and exceptions that find their handler."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from gateway.cable.callbacks import (
    Rescuers,
    after_command,
    before_command,
    before_subscribe,
    marked,
    periodically,
    rescue_from,
)
from gateway.errors import LocalError


class Base:
    @before_subscribe
    def check(self) -> None: ...

    @before_subscribe
    def dropped(self) -> None: ...

    @periodically(3)
    def tick(self) -> None: ...

    @before_command
    @after_command
    def both(self) -> None: ...


class Mixin:
    @before_subscribe
    def mixed_in(self) -> None: ...


class Child(Mixin, Base):
    def dropped(self) -> None: ...

    @periodically(1)
    def tick(self) -> None: ...


def test_marks_are_collected_from_all_ancestors() -> None:
    assert list(marked(Child, "before_subscribe")) == ["check", "mixed_in"]
    assert marked(Child, "periodically") == {"tick": 1}
    assert marked(Base, "periodically") == {"tick": 3}
    assert list(marked(Child, "before_command")) == ["both"]
    assert list(marked(Child, "after_command")) == ["both"]
    assert marked(Child, "rescue_from") == {}


class Careful:
    def __init__(self) -> None:
        self.caught: list[str] = []

    @rescue_from(LookupError)
    def lookup(self, error: Exception) -> None:
        self.caught.append(f"lookup {error}")

    @rescue_from(KeyError, TypeError)
    def key(self, error: Exception) -> None:
        self.caught.append(f"key {error}")


def test_the_last_declared_handler_that_fits_is_called() -> None:
    careful, rescuers = Careful(), Rescuers.of(Careful)
    assert rescuers.rescue(careful, KeyError("a"))
    assert rescuers.rescue(careful, IndexError("b"))
    assert rescuers.rescue(careful, TypeError("c"))
    assert not rescuers.rescue(careful, ValueError("d"))
    assert careful.caught == ["key 'a'", "lookup b", "key c"]


def test_nobody_takes_what_nobody_declared() -> None:
    assert not Rescuers(()).rescue(object(), ValueError())


@pytest.mark.parametrize("mark", [before_subscribe, before_command, after_command])
def test_marks_leave_the_method_as_it_is(mark: object) -> None:
    def method() -> str:
        return "unchanged"

    assert mark(method) is method  # type: ignore[operator]


@pytest.mark.parametrize("seconds", [0, -1, nan, inf, "3", None])
def test_a_period_lasts(seconds: Any) -> None:
    with pytest.raises(LocalError, match=f"periodically.{seconds!r}.: give seconds"):
        periodically(seconds)


def test_decorators_that_were_told_nothing() -> None:
    with pytest.raises(LocalError, match=r"write @periodically\(seconds\)"):

        @periodically  # type: ignore[arg-type]
        def tick(self: object) -> None: ...

    with pytest.raises(LocalError, match=r"write @rescue_from\(ValueError\), with"):

        @rescue_from  # type: ignore[arg-type]
        def mend(self: object, exc: Exception) -> None: ...

    with pytest.raises(LocalError, match=r"write @rescue_from\(ValueError\), with"):
        rescue_from()
