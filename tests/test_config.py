"""Settings: where they come from, and how wrong ones are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.cable.history import Retention
from gateway.config import Settings
from gateway.control import CONTROL
from gateway.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_ENV", "FLASK_ENV", "GATEWAY_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def write(folder: Path, text: str) -> Path:
    file = folder / "cable.yml"
    file.write_text(text)
    return file


# Where they come from


def test_defaults() -> None:
    assert config.load() == Settings()


def test_the_section_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "development: {path: /dev}\nproduction: {path: /prod}\n")
    assert config.load(file).path == "/dev"
    monkeypatch.setenv("FLASK_ENV", "production")
    assert config.load(file).path == "/prod"
    monkeypatch.setenv("GATEWAY_ENV", "prod")
    with pytest.raises(ConfigError, match="did you mean 'production'"):
        config.load(file)


def test_flask_config_then_environment_variables_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "development: {path: /file, ping_interval: 1}\n")
    flask_config = {"GATEWAY_PATH": "/flask", "GATEWAY_COMPRESSION": False, "OTHER": 1}
    settings = config.load(file, flask_config)
    assert (settings.path, settings.ping_interval) == ("/flask", 1)
    assert settings.compression is False
    monkeypatch.setenv("GATEWAY_PATH", "/variable")
    monkeypatch.setenv("GATEWAY_PING_INTERVAL", "2.5")
    monkeypatch.setenv("GATEWAY_ALLOWED_ORIGINS", "[https://a.net, 'https://*.b.net']")
    monkeypatch.setenv("GATEWAY_HISTORY", "")  # as if it were not set
    settings = config.load(file, flask_config)
    assert (settings.path, settings.ping_interval) == ("/variable", 2.5)
    assert settings.allowed_origins == ("https://a.net", "https://*.b.net")
    assert settings.history == 100


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((t, t) for t in ("*a", "@a", "a: b", "a #b", "{", "1234", "0x1F", " a ")),
        ("null", None),
    ],
)
def test_a_text_in_a_variable_is_meant_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str | None
) -> None:
    monkeypatch.setenv("GATEWAY_BROADCAST_KEY", text)
    assert config.load().broadcast_key == value
    monkeypatch.delenv("GATEWAY_BROADCAST_KEY")
    monkeypatch.setenv("KEY", text)
    file = write(tmp_path, "development: {broadcast_key: '${KEY}'}")
    assert config.load(file).broadcast_key == value


def test_variables_hold_other_kinds_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in [("PING", "7"), ("ORIGINS", "[https://a.net]"), ("OFF", "no")]:
        monkeypatch.setenv(name, value)
    settings = config.load(
        write(
            tmp_path,
            "development:\n  ping_interval: ${PING}\n  compression: ${OFF}\n"
            "  allowed_origins: ${ORIGINS}\n  history_ttl: ${TTL:-1.5}\n"
            "  max_sockets: ${MOST:-null}\n",
        )
    )
    assert (settings.ping_interval, settings.compression) == (7, False)
    assert settings.allowed_origins == ("https://a.net",)
    assert (settings.history_ttl, settings.max_sockets) == (1.5, None)


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        (folder / "config").mkdir(parents=True)
    assert config.find((here, there), None) is None
    (there / "config" / "cable.yml").touch()
    assert config.find((here, there), None) == there / "config" / "cable.yml"
    (here / "config" / "cable.yml").touch()
    assert config.find((here, there), None) == here / "config" / "cable.yml"
    assert config.find((here, there), "named.yml") == Path("named.yml")
    monkeypatch.setenv("GATEWAY_CONFIG", "of/the/environment.yml")
    assert config.find((here,), "named.yml") == Path("of/the/environment.yml")


def test_the_projects_own_file_is_valid(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for environment in ("development", "test", "production"):
        monkeypatch.setenv("GATEWAY_ENV", environment)
        config.load(here / "config" / "cable.yml")


def test_the_projects_own_file_explains_every_key(here: Path) -> None:
    text = (here / "config" / "cable.yml").read_text()
    explained = re.findall(r"^# ([a-z_]+)  ", text, re.MULTILINE)
    assert set(explained) == {*Settings.__struct_fields__, "key"}


# What they must be


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"PING_INTERVAL": 0},
            "ping_interval = 0 .*: write a number over 0, such as 3",
        ),
        ({"PING_INTERVAL": "soon"}, "ping_interval = 'soon' .* write a number"),
        ({"PING_INTERVAL": None}, "write a number"),
        ({"PING_INTERVAL": float("inf")}, "write a number, such as 3.0"),
        ({"PING_INTERVAL": float("nan")}, "write a number"),
        ({"MAX_MESSAGE_BYTES": 0}, "write a whole number, 1 or more, such as 1048576"),
        ({"MAX_MESSAGE_BYTES": 1.5}, "write a whole number"),
        ({"MAX_SOCKETS": "many"}, "max_sockets = 'many' .* write a whole number$"),
        ({"HISTORY": -1}, "write a whole number, 0 or more, such as 100"),
        ({"COMPRESSION": "maybe"}, "write true or false$"),
        ({"ON_FAILURE": "wait"}, "on_failure = 'wait' .* write raise or queue"),
        ({"CHANNEL_PREFIX": 42}, "channel_prefix = 42 .* write a text in quotes"),
        ({"FILTER_PARAMETERS": "passw"}, "write a list of words"),
        ({"HISTORY_STREAMS": {"a*": -1}}, r'as in {"dashboard\*": 0'),
        ({"HISTORY_STREAMS": {"a*": {"secs": 1}}}, "write messages by pattern"),
        ({"HISTORY_STREAMS": 5}, "write messages by pattern"),
        (
            {"HISTORY_STREAMS": {"a": {"messages": 1, "seconds": float("inf")}}},
            "write messages by pattern",
        ),
        ({"PATH": "cable"}, "write an absolute path such as /cable"),
        ({"PATH": "/cable/"}, "such as /cable, without a / behind"),
        ({"PATH": "/<name>"}, "such as /name"),
        ({"PATH": ""}, "such as /path"),
        ({"METRICS_PATH": "metrics"}, "write an absolute path such as /metrics"),
        ({"PATH": "/health"}, "health_path = '/health' .* there by path already"),
        ({"METRICS_PATH": "/cable/events"}, "'/cable/events' .* there by path already"),
        ({"METRICS_PATH": "/health/live"}, "is there by health_path already"),
    ],
)
def test_wrong_values_stop_the_start(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config.load(None, {f"GATEWAY_{key}": value for key, value in values.items()})


@pytest.mark.parametrize("value", [".inf", ".nan", "inf", "[1", "{a: 1}"])
def test_wrong_values_in_variables(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GATEWAY_PING_INTERVAL", value)
    with pytest.raises(ConfigError, match=r"write a number|is not YAML") as error:
        config.load()
    assert error.value.key == "ping_interval"


@pytest.mark.parametrize(
    "values",
    [
        {"GATEWAY_BROADCAST_KEY": 12345678},
        {"GATEWAY_BROADCASTKEY": "12345678"},
        {"GATEWAY_SECRET_TOKEN": "12345678"},
        {"GATEWAY_URL": 12345678},
    ],
)
def test_no_refusal_shows_a_secret(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(None, values)
    assert "12345678" not in str(error.value)


def test_an_empty_key_would_open_the_door_to_all(tmp_path: Path) -> None:
    sentence = "write a long random text in quotes, or null"
    with pytest.raises(ConfigError, match=sentence):
        config.load(None, {"GATEWAY_BROADCAST_KEY": ""})
    with pytest.raises(ConfigError, match=sentence):
        config.load(write(tmp_path, "development: {broadcast_key: '${KEY:-}'}"))


def test_origins_by_string_list_or_pattern() -> None:
    def origins(given: object) -> tuple[object, ...]:
        return config.load(None, {"GATEWAY_ALLOWED_ORIGINS": given}).allowed_origins

    pattern = re.compile("https://.*")
    assert origins("https://a.net") == ("https://a.net",)
    assert origins(pattern) == (pattern,)
    assert origins(["*", "null", "http://*.a.net:*", pattern]) == (
        *("*", "null", "http://*.a.net:*"),
        pattern,
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("example.com", "'example.com' .* as in https://example.com, or *"),
        (["https://a.net", "*.a.net"], r"'\*.a.net' .* as in https://\*.a.net"),
        ("https://a.net/chat", "without a path, as in https://a.net"),
        ([7], "allowed_origins = 7 .* write a scheme and a host"),
        (7, "allowed_origins = 7 .* write a scheme and a host"),
        ("", "as in https://example.com"),
    ],
)
def test_what_is_no_origin(given: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config.load(None, {"GATEWAY_ALLOWED_ORIGINS": given})


def test_how_much_is_kept(tmp_path: Path) -> None:
    retentions = config.load(
        write(
            tmp_path,
            "development:\n  history: 5\n  history_ttl: 60\n  history_streams:\n"
            "    a*: 0\n    b*: 7\n    c*: {messages: 8, seconds: 9}\n"
            "    d*: {messages: 10}\n    '*': 11\n",
        )
    ).retentions()
    assert [retentions.of(name) for name in ("a1", "b1", "c1", "d1", "e1")] == [
        Retention(0, 60),
        Retention(7, 60),
        Retention(8, 9),
        Retention(10, 60),
        Retention(11, 60),
    ]
    assert retentions.of(CONTROL).is_kept  # whatever is written


# Keys that are none


def test_unknown_keys_in_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "development: {ping_intervall: 3}\n")
    with pytest.raises(ConfigError, match="did you mean 'ping_interval'") as error:
        config.load(file)
    assert error.value.key == "ping_intervall"
    file = write(tmp_path, "development: {xyz: 3, 1: 2}\n")
    with pytest.raises(ConfigError, match="remove it"):
        config.load(file)


def test_unknown_keys_in_flasks_config() -> None:
    config.load(None, {"GATEWAY_ENV": "x", "GATEWAY_CONFIG": "y", "GATEWAYS": 1})
    with pytest.raises(ConfigError, match="did you mean 'GATEWAY_ADAPTER'"):
        config.load(None, {"GATEWAY_ADAPTR": "redis"})
    with pytest.raises(ConfigError, match="the Flask config knows no such key; remove"):
        config.load(None, {"GATEWAY_XYZ": 1})


def test_unknown_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes tells of a service called gateway by variables of such names."""
    for name in ("SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_80_TCP_ADDR"):
        monkeypatch.setenv(f"GATEWAY_{name}", "10.0.0.1")
    config.load()
    monkeypatch.setenv("GATEWAY_ADAPTR", "redis")
    with pytest.raises(ConfigError, match="the environment .*'GATEWAY_ADAPTER'"):
        config.load()
