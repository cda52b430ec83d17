"""``gateway channels``: what clients may subscribe to and call, as a table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli

APP = '''
from dataclasses import dataclass
from typing import Annotated
import msgspec
from flask import Flask
from gateway import Channel, Gateway, action

app = Flask(__name__)
gateway = Gateway(app)
bare = Flask("bare")
silent = Flask("silent")
Gateway(silent)

class Base(msgspec.Struct, rename="camel"):
    shop_id: int

class Order(Base):
    item: Annotated[str, msgspec.Meta(min_length=1)]
    count: int | None = None

@dataclass
class Point:
    x: int

@dataclass
class Place(Point):
    name: str

@gateway.channel
class OrdersChannel(Channel):
    """Orders of a shop.

    And more that is not shown.
    """

    def subscribed(self):
        if "shop" in self.params and self.params.get("since"):
            self.stream_from(self.params["region"])

    @action
    def place(self, order: Order): ...

    @action
    def go(self, place: Place | None): ...

    @action
    def many(self, data: dict[str, int], again: bool = False): ...

    @action
    def cancel(self, data): ...

    @action
    def refresh(self): ...

def create_app(name="made"):
    made = Flask(name)
    gateway.init_app(made)
    return made

def wrong():
    made = Flask("wrong")
    made.config["GATEWAY_PATH"] = "nowhere"
    Gateway(made)

gateway.channel(type("MadeChannel", (Channel,), {"__module__": "nowhere"}))
'''


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "orders.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "orders", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["channels", *arguments])


def test_channels_are_listed_with_parameters_and_actions(listed: Path) -> None:
    result = run("orders:app")
    assert result.output.splitlines() == [
        "MadeChannel()  nowhere",
        "OrdersChannel(region, shop, since)  orders",
        "    Orders of a shop.",
        "    place(shopId: int, item: str, count: int | None)",
        "    go(x: int, name: str)",
        "    many(data)",
        "    cancel(data)",
        "    refresh()",
    ]
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "name", ["orders", "orders.py", "orders:create_app", "orders:create_app('other')"]
)
def test_apps_are_named_as_flask_does(listed: Path, name: str) -> None:
    if name in ("orders", "orders.py"):
        (listed / "orders.py").write_text(APP.replace("bare = ", "bare = app; "))
    result = run(name)
    assert result.output.startswith("MadeChannel()")


def test_flasks_app_is_meant_if_none_is_named(listed: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "orders:create_app"]
    told = subprocess.run(
        [*command, "gateway", "channels"],
        cwd=listed,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.startswith("MadeChannel()")


def test_an_app_without_channels_says_so(listed: Path) -> None:
    assert run("orders:silent").output == "No channels are registered.\n"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere:app", "no app at 'nowhere:app': Could not import 'nowhere'."),
        ("orders:nothing", "no app at 'orders:nothing': Failed to find attribute"),
        ("orders:wrong()", "path = 'nowhere' cannot be used: write an absolute"),
        ("orders:bare", "orders:bare has no gateway: Gateway(app) gives it one"),
    ],
)
def test_what_cannot_be_listed_is_named(listed: Path, name: str, sentence: str) -> None:
    result = run(name)
    assert result.exit_code == 1
    assert sentence in result.output
