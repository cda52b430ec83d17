"""``gateway generate channel``: what it writes, and that its test passes as written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli

WSGI = """
from flask import Flask
from gateway import Gateway

app = Flask(__name__)
gateway = Gateway(app)

from channels import game_room
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["generate", "channel", *arguments])


@pytest.mark.slow
def test_the_channel_and_its_test_work_as_written(folder: Path) -> None:
    result = generate("GameRoom", "--action", "play")
    assert result.output.splitlines() == [
        "wrote channels/game_room.py",
        "wrote tests/test_game_room_channel.py",
        "wrote conftest.py",
        "Import channels.game_room where your app is made; run its test with pytest.",
    ]
    (folder / "wsgi.py").write_text(WSGI)
    (folder / "pytest.ini").write_text("[pytest]")
    pytest_program = Path(sys.executable).parent / "pytest"
    tests = subprocess.run(
        [str(pytest_program), "-q"],
        cwd=folder,
        env={"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr


def test_a_conftest_that_is_there_is_left_alone(folder: Path) -> None:
    (folder / "conftest.py").write_text("mine")
    assert "conftest.py" not in generate("GameRoom", "--force").output
    assert (folder / "conftest.py").read_text() == "mine"


def test_it_can_be_put_elsewhere(folder: Path) -> None:
    options = (
        "--folder",
        "shop/live",
        "--tests",
        "checks",
        "--gateway",
        "shop.app:hub",
    )
    assert generate("ChatChannel", *options).exit_code == 0
    written = (folder / "shop" / "live" / "chat.py").read_text()
    assert "from shop.app import hub\n" in written
    assert "@hub.channel\nclass ChatChannel(Channel):" in written
    assert (
        "from shop.live.chat import"
        in (folder / "checks/test_chat_channel.py").read_text()
    )


def test_nothing_is_overwritten_unless_asked(folder: Path) -> None:
    generate("Chat")
    (folder / "channels" / "chat.py").write_text("mine")
    refused = generate("Chat")
    assert refused.exit_code == 1
    assert "channels/chat.py exists; --force overwrites it" in refused.output
    assert (folder / "channels" / "chat.py").read_text() == "mine"
    assert generate("Chat", "--force").exit_code == 0
    assert "class ChatChannel" in (folder / "channels" / "chat.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chat-room"], "'chat-room' is no class name: write Chat, say"),
        (["chat"], "'chat' is no class name: write Chat, say"),
        (["Channel"], "'Channel' is what all of them are: write Chat, say"),
        (["Import"], "'Import' gives a module called import, a word of Python's"),
        (["Chat", "--action", "speak-up"], "'speak-up' is no name for a method"),
        (["Chat", "--action", "class"], "'class' is no name for a method"),
        (["Chat", "--action", "subscribed"], "every channel has a subscribed of its"),
        (["Chat", "--action", "transmit"], "every channel has a transmit of its own"),
        (["Chat", "--folder", "my-channels"], "'my-channels' is no package: write"),
        (["Chat", "--folder", "/channels"], "'/channels' is no package: write"),
        (["Chat", "--folder", "../channels"], "'../channels' is no package: write"),
        (["Chat", "--gateway", "wsgi.py"], "'wsgi.py' is no MODULE:NAME: write wsgi"),
        (["Chat", "--gateway", "a-b:gateway"], "'a-b:gateway' is no MODULE:NAME"),
        (["Chat", "--gateway", "wsgi:my gateway"], "is no MODULE:NAME"),
    ],
)
def test_names_that_cannot_be_are_refused(
    folder: Path, arguments: list[str], sentence: str
) -> None:
    result = generate(*arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
    assert list(folder.iterdir()) == []
