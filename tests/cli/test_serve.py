"""``gateway serve``: the gunicorn command it becomes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import cli
from tests.support.live import LiveServer


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The gunicorn command that `gateway serve` becomes, instead of becoming it."""
    seen: list[str] = []
    monkeypatch.setattr(os, "execv", lambda path, args: seen.extend(args[3:]))
    return seen


def test_serve_uses_the_projects_configuration(command: list[str], here: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert CliRunner().invoke(cli, ["serve"]).exit_code == 0
    assert command == ["--config", "config/gunicorn.py", "wsgi:app"]


def test_serve_brings_its_own_configuration(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [
        "serve",
        "shop:app",
        "--bind",
        "0.0.0.0:80",
        "--workers",
        "2",
        "--reload",
    ]
    assert CliRunner().invoke(cli, options).exit_code == 0
    assert command == [
        *("--config", "python:gateway.serving"),
        *("--bind", "0.0.0.0:80"),
        *("--workers", "2"),
        "--reload",
        "shop:app",
    ]


def test_serve_takes_another_configuration(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.touch()
    (tmp_path / "wsgi.py").touch()
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["serve", "--config", str(file)]).exit_code == 0
    assert command == ["--config", str(file), "wsgi:app"]


def test_a_folder_without_an_app(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["serve"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: there is no wsgi.py in this folder: name the app, as in gateway serve "
        "shop:app\n"
    )
    assert command == []


@pytest.mark.parametrize(
    "options", [["--workers", "0"], ["--config", "missing.py"], ["--nonsense"]]
)
def test_wrong_options(command: list[str], options: list[str]) -> None:
    result = CliRunner().invoke(cli, ["serve", *options])
    assert result.exit_code == 2
    assert "Error" in result.output
    assert command == []


APP = """
from gevent import monkey; monkey.patch_all()
from flask import Flask
from gateway import Gateway

gateway = Gateway()

def create_app(name="shop"):
    app = Flask(name)
    gateway.init_app(app)
    return app

@gateway.websocket("/hello")
def hello(ws):
    ws.send("hello")

app = create_app()
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    [
        ("gateway", "serve", "shop:app"),
        ("gateway", "serve", "shop:create_app('made')"),
        ("flask", "--app", "shop", "gateway", "serve"),
        ("flask", "--app", "shop.py:create_app", "gateway", "serve"),
        ("flask", "gateway", "serve", "shop:app"),
    ],
    ids=" ".join,
)
def test_an_app_of_ones_own(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Nothing but a file with an app in it, served by both commands."""
    (tmp_path / "shop.py").write_text(APP)
    arguments = (sys.executable, "-m", *command)
    with LiveServer(tmp_path, command=arguments, cwd=tmp_path) as server:
        with server.connect("/hello") as ws:
            assert ws.receive(5) == "hello"
        server.terminate()
        assert server.wait() == 0
