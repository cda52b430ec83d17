"""Names that mean the same in every process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest

from gateway.cable.naming import channel_name, param, stream_name
from gateway.errors import LocalError


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("ChatChannel", "chat"),
        ("ChatRoomChannel", "chat_room"),
        ("Admin::ChatRoomChannel", "admin:chat_room"),
        ("HTTPStatusChannel", "http_status"),
        ("V2Channel", "v2"),
        ("Feed", "feed"),
    ],
)
def test_channels(class_name: str, name: str) -> None:
    assert channel_name(class_name) == name


@dataclass
class Room:
    id: int | None


class Slug:
    def to_param(self) -> str:
        return "a-slug"


class Global(Slug):
    def to_gid_param(self) -> str:
        return "gid"


class Document:
    """Something with an id that can be walked through."""

    def __init__(self, number: int) -> None:
        self.id = number

    def __iter__(self) -> Iterator[str]:
        return iter(["id", "name"])


class Proxy:
    """As werkzeug's LocalProxy, which flask_login.current_user is."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def _get_current_object(self) -> object:
        return self._thing

    def __getattr__(self, name: str) -> object:
        return getattr(self._thing, name)


ID = UUID(int=7)


@pytest.mark.parametrize(
    ("thing", "word"),
    [
        ("a", "a"),
        (7, "7"),
        (ID, str(ID)),
        (("a", 7), "a:7"),
        ([Room(3), ("b",)], "Room/3:b"),
        (Room(3), "Room/3"),
        (Slug(), "a-slug"),
        (Global(), "gid"),
        (Document(3), "Document/3"),
        (Proxy(Room(3)), "Room/3"),
        (Proxy("ann"), "ann"),
    ],
)
def test_things(thing: object, word: str) -> None:
    assert param(thing) == word
    assert stream_name("chat", thing) == f"chat:{word}"


class Unsaved:
    def to_param(self) -> None:
        return None


@pytest.mark.parametrize(
    "thing",
    [
        *(Room(None), object(), None, 1.5, {"id": 1}, b"ab", {1, 2}, range(2)),
        *(Room, Slug, Unsaved()),
        *((), ("rooms", {"id": 1})),
    ],
)
def test_things_without_a_name_that_others_know(thing: object) -> None:
    with pytest.raises(LocalError, match="no name that other processes"):
        param(thing)
