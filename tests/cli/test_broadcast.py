"""``gateway broadcast``: from a shell to a real Redis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.pubsub.bus import unpack
from tests.support.redis import RedisServer
from tests.test_broadcaster import Ear

CONFIG = """
production:
  adapter: redis
  url: ${REDIS_URL}
  channel_prefix: shop
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis: RedisServer
) -> Path:
    """A folder with a configuration, in production."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "cable.yml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_ENV", "production")
    monkeypatch.setenv("REDIS_URL", redis.url)
    return tmp_path


def run(*arguments: str, said: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["broadcast", *arguments], input=said)


@pytest.mark.usefixtures("project")
def test_one_message(redis: RedisServer) -> None:
    ear = Ear(redis, "shop:chat_1")
    result = run("chat_1", '{"text": "hi"}')
    assert (result.exit_code, result.stderr) == (0, "1 broadcast to chat_1\n")
    assert unpack(ear.hear()).message == b'{"text":"hi"}'


@pytest.mark.usefixtures("project")
def test_lines_of_standard_input(redis: RedisServer) -> None:
    ear = Ear(redis, "other:chat_1")
    result = run("chat_1", "-", "--prefix", "other", said='1\n\n"two"\n')
    assert (result.exit_code, result.stderr) == (0, "2 broadcast to chat_1\n")
    assert [unpack(ear.hear()).message for _ in range(2)] == [b"1", b'"two"']


@pytest.mark.usefixtures("project")
def test_what_came_before_a_bad_line_is_said(redis: RedisServer) -> None:
    ear = Ear(redis, "shop:s")
    result = run("s", "-", said="1\nnot JSON\n2\n")
    assert result.exit_code == 1
    assert "line 2 is not JSON" in result.stderr
    assert unpack(ear.hear()).message == b"1"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("line", [b"\xff", b'"\\ud800"', b"{"])
def test_lines_that_are_no_json(line: bytes) -> None:
    result = run("s", "-", said=b"1\n" + line + b"\n")
    assert (result.exit_code, result.exception) == (1, result.exception)
    assert result.stderr.startswith("Error: line 2 is not JSON")


def test_no_input_at_all(tmp_path: Path) -> None:
    command = f"{sys.executable} -m gateway broadcast s - --url redis://h <&-"
    told = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr == "Error: there is no standard input to read from\n"


def test_by_another_file(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.yml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    for name, value in (("CONFIG", "other.yml"), ("ENV", "production")):
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    monkeypatch.setenv("REDIS_URL", redis.url)
    ear = Ear(redis, "shop:s")
    assert run("s", "1").exit_code == 0
    assert unpack(ear.hear()).message == b"1"
    monkeypatch.setenv("GATEWAY_CONFIG", "missing.yml")
    result = run("s", "1")
    assert result.exit_code == 1
    assert "'missing.yml' cannot be used: it cannot be read" in result.stderr


def test_by_the_settings_of_flasks_app(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from flask import Flask\n"
        "from gateway import Gateway\n"
        "def create_app():\n"
        "    app = Flask('shop')\n"
        f"    app.config.update(GATEWAY_ADAPTER='redis', GATEWAY_URL={redis.url!r},\n"
        "                      GATEWAY_CHANNEL_PREFIX='of-the-app')\n"
        "    Gateway(app)\n"
        "    return app\n"
    )
    ear = Ear(redis, "of-the-app:s")
    command = [sys.executable, "-m", "flask", "--app", "shop", "gateway", "broadcast"]
    subprocess.run([*command, "s", "1"], cwd=tmp_path, check=True)
    assert unpack(ear.hear()).message == b"1"


def test_anywhere_by_url(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ear = Ear(redis, "s")
    assert run("s", "null", "--url", redis.url).exit_code == 0
    assert unpack(ear.hear()).message == b"null"


def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_ENV", "development")
    for arguments, sentence in [
        (("s", "1"), "adapter = 'memory' cannot be used: other processes hear nothing"),
        (("s", "1", "--url", f"unix://{tmp_path}/nobody"), "did not take a message"),
        (("s", "1", "--url", "nonsense"), "url = 'nonsense' cannot be used"),
        (("s", "{", "--url", f"unix://{tmp_path}/nobody"), "what you say is not JSON"),
        (("s", "NaN", "--url", f"unix://{tmp_path}/nobody"), "is not JSON"),
        (("", "1", "--url", f"unix://{tmp_path}/nobody"), "name a stream"),
        (("s", "1", "--url", "redis://h/0?x=1"), "leave 'x' out"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1
