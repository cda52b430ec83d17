"""The house's walls (docs/design.md): imports point inward only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gateway"

# What each room may import of the package. Those not listed may import all.
ROOMS = {
    "reasons": set(),
    "errors": {"reasons"},
    "cable_yml": {"errors"},
    "config": {"errors", "cable_yml", "cable", "control"},
    "websocket": {"errors", "reasons", "websocket"},
    "cable": {"errors", "reasons", "cable"},
    "pubsub": {"errors", "cable", "pubsub"},
    "signals": set(),
    "clock": set(),
    "serving": {"errors"},
    "control": {"errors", "cable"},
    "events": {
        *("errors", "reasons", "clock", "signals", "session"),
        *("websocket", "cable", "server", "events"),
    },
    "posting": {"errors", "cable", "control"},
    "broadcaster": {"errors", "cable", "control", "pubsub"},
    "metrics": {"clock", "server"},
    "session": {
        "errors",
        "reasons",
        "clock",
        "signals",
        "websocket",
        "cable",
        "server",
    },
    "server": {
        *("errors", "reasons", "config", "clock", "signals", "session"),
        *("control", "metrics", "events"),
        *("websocket", "cable", "pubsub"),
    },
    "consumer": {"errors", "websocket", "consumer"},
    "boot": {"errors", "server"},
    "logs": set(),
    "worker": {"errors", "server", "websocket", "boot", "logs"},
}

# What only some rooms may import from elsewhere.
KEPT_OUT = {
    "flask": {"extension", "views", "testing", "cli"},
    "werkzeug": {"views"},
    "gevent": {
        *("websocket", "pubsub", "clock", "consumer", "server"),
        *("worker", "boot", "cli", "testing", "events", "views", "session"),
    },
    "geventwebsocket": {"websocket"},
    "websockets": {"websocket"},
    "socket": {"websocket", "testing"},
    "time": {
        *("websocket", "pubsub", "clock", "consumer"),
        *("server", "session", "events", "worker"),
    },
    "datetime.datetime": set(),
    "datetime.date": set(),
    "redis": {"pubsub"},
    "prometheus_client": {"metrics", "serving"},
    "gunicorn": {"worker"},
    "click": {"cli"},
    "yaml": {"cable_yml", "config"},
}


def rooms() -> dict[Path, str]:
    """Each source file, and the room it is in."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {
        file: file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in files
    }


def imports(file: Path) -> set[str]:
    """The modules a file imports, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write absolute imports"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", rooms(), ids=str)
def test_imports_point_inward(file: Path) -> None:
    room = rooms()[file]
    for name in imports(file):
        top, *rest = name.split(".")
        if top == "gateway" and room in ROOMS and file.name != "__init__.py":
            assert rest[0] in ROOMS[room], f"{room} must not import {name}"
        for kept_out in {top, name} & KEPT_OUT.keys():
            assert room in KEPT_OUT[kept_out], f"{room} must not import {name}"


def test_every_room_is_named() -> None:
    outermost = {"__init__", "__main__", "cli", "extension", "testing", "views"}
    assert set(rooms().values()) == {*ROOMS, *outermost}


def test_the_package_patches_nothing() -> None:
    for file in PACKAGE.rglob("*.py"):
        patches = {name for name in imports(file) if name.startswith("gevent.monkey")}
        assert not patches, f"{file}: entry points patch"
