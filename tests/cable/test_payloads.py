"""Actions that say what they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from gateway.cable.payloads import PayloadRefused, bind
from gateway.errors import LocalError


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: int
    label: str = "none"


class Dotted(msgspec.Struct, rename={"x": "deep.x"}):
    x: int


class Lines(msgspec.Struct):
    named: dict[str, Point]
    anything: Any


@dataclass
class Line:
    start: Point
    ends: list[Point]


class Star(msgspec.Struct, tag=True):
    rays: int


class Disc(msgspec.Struct, tag=True):
    radius: float


class Board:
    def nothing(self) -> str:
        return "nothing"

    def anything(self, data: dict[str, Any]) -> Any:
        return data

    def point(self, point: Point) -> Any:
        return point

    def line(self, line: Line) -> Any:
        return line

    def lines(self, lines: Lines) -> Any:
        return lines

    def dotted(self, dotted: Dotted) -> Any:
        return dotted

    def perhaps(self, point: Point | None) -> Any:
        return point

    def marked(self, point: Annotated[Point, "for people"], again: bool = False) -> Any:
        return point

    def shape(self, shape: Star | Disc) -> Any:
        return shape

    def untyped(self, data, *rest) -> Any:  # type: ignore[no-untyped-def]
        return data

    def many(self, *data: Any) -> Any:
        return data[0]

    def unknown_result(self, point: Point) -> Mapping[str, Any]:  # type: ignore[name-defined]  # noqa: F821
        return {"x": point.x}


def call(name: str, **data: Any) -> Any:
    return bind(getattr(Board, name))(Board(), {"action": name, **data})


def test_what_is_given() -> None:
    assert call("nothing", ignored=1) == "nothing"
    assert call("anything", a=1) == {"action": "anything", "a": 1}
    assert call("untyped", a=1) == {"action": "untyped", "a": 1}
    assert call("many", a=1) == {"action": "many", "a": 1}
    assert call("point", x=3) == Point(3)
    assert call("marked", x=3) == Point(3)
    assert call("line", start={"x": 1}, ends=[], more=1) == Line(Point(1), [])
    assert call("unknown_result", x=3) == {"x": 3}


def test_what_may_be_left_out() -> None:
    assert call("perhaps", x=3) == Point(3)
    assert call("perhaps") is None


def test_one_of_several() -> None:
    assert call("shape", type="Disc", radius=2) == Disc(2.0)


@pytest.mark.parametrize(
    ("name", "data", "field", "problem"),
    [
        ("point", {}, "x", "Missing; expected `int`"),
        ("perhaps", {"label": "a"}, "x", "Missing; expected `int`"),
        ("marked", {"x": "1"}, "x", "Expected `int`, got `str`"),
        ("point", {"x": "1"}, "x", "Expected `int`, got `str`"),
        ("point", {"x": 1, "y": 2}, "y", "Unknown field"),
        ("line", {"ends": []}, "start", "Missing; expected `object`"),
        ("line", {"start": {}, "ends": []}, "start.x", "Missing; expected `int`"),
        ("line", {"start": {"x": 1}, "ends": [{"x": None}]}, "ends[0].x", "Expected"),
        ("line", {"start": {"x": 1}, "ends": [{}]}, "ends[0].x", "Missing; expected"),
        ("line", {"start": {"x": 1, "y": 2}}, "start.y", "Unknown field"),
        ("lines", {"named": {"a.b": {}}}, "named[...].x", "Missing"),
        ("lines", {"named": {}}, "anything", "Missing"),
        ("dotted", {}, "deep.x", "Missing"),
        ("shape", {"type": "Ring"}, "type", "Invalid value 'Ring'"),
    ],
)
def test_what_does_not_fit(
    name: str, data: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(PayloadRefused) as refused:
        call(name, **data)
    assert refused.value.field == field
    assert refused.value.problem.startswith(problem)
    assert str(refused.value) == f"{field}: {refused.value.problem}"


def test_data_as_a_whole_may_not_fit() -> None:
    assert str(PayloadRefused("", "too much")) == "data: too much"


def test_the_kind_may_be_a_class_of_the_channel() -> None:
    class Shop:
        class Order(msgspec.Struct):
            item: str

        def place(self, order: Order) -> Any:
            return order.item

    place = bind(Shop.place, vars(Shop))
    assert place(Shop(), {"action": "place", "item": "tea"}) == "tea"


# What cannot be an action


def takes_two(self: object, item: str, count: int) -> None: ...


def takes_keywords(self: object, **data: Any) -> None: ...


def takes_a_keyword(self: object, data: Any, *, count: int) -> None: ...


@pytest.mark.parametrize("method", [takes_two, takes_keywords, takes_a_keyword])
def test_an_action_takes_one_thing(method: Callable[..., object]) -> None:
    with pytest.raises(LocalError, match=f"{method.__name__}.* takes the data, as one"):
        bind(method)


def test_a_type_that_is_known_to_checkers_only() -> None:
    def place(self: object, order: Order) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(LocalError) as raised:
        bind(place)
    assert "place: name 'Order' is not defined" in str(raised.value)
    assert "at the top of its module, outside `if TYPE_CHECKING`" in str(raised.value)


def test_a_type_that_cannot_be_told_from_another() -> None:
    def place(self: object, point: Point | Star) -> None: ...

    with pytest.raises(LocalError, match=r"place takes .* Struct types must be tagged"):
        bind(place)


class Unfinished(msgspec.Struct):
    line: Unknown  # type: ignore[name-defined]  # noqa: F821


def test_a_type_with_a_field_of_a_type_that_is_not_there() -> None:
    def place(self: object, order: Unfinished) -> None: ...

    with pytest.raises(LocalError, match=r"Unfinished'>: name 'Unknown' is not defin"):
        bind(place)
