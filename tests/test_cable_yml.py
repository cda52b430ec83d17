"""The file ``config/cable.yml``: its sections, and variables in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import cable_yml
from gateway.cable_yml import Expanded
from gateway.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cable.yml"


def test_the_section_of_an_environment(file: Path) -> None:
    file.write_text("development: {path: /dev}\nproduction: {path: /prod}\n")
    assert cable_yml.section(file, "development") == {"path": "/dev"}
    assert cable_yml.section(file, "production") == {"path": "/prod"}


def test_sections_share_what_they_have_in_common(file: Path) -> None:
    """As in Rails."""
    file.write_text(
        "common: &common\n  path: /both\n  history: 5\n"
        "production:\n  <<: *common\n  history: 7\n"
    )
    section = cable_yml.section(file, "production")
    assert section == {"path": "/both", "history": 7}


@pytest.mark.parametrize("environment", ["development", "test"])
@pytest.mark.parametrize("text", ["", "# nothing\n", "production: {path: /p}\n"])
def test_what_is_made_for_the_defaults_needs_no_section(
    file: Path, environment: str, text: str
) -> None:
    file.write_text(text)
    assert cable_yml.section(file, environment) == {}


@pytest.mark.parametrize("text", ["staging:\n", "staging: {}\n", "staging: null\n"])
def test_an_empty_section(file: Path, text: str) -> None:
    file.write_text(text)
    assert cable_yml.section(file, "staging") == {}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ("prodution", "no section 'prodution'. did you mean 'production'"),
        ("staging", "no section 'staging'. Write one, if only `staging: {}`"),
        ("devlopment", "did you mean 'development'"),
    ],
)
def test_a_section_that_is_missing(file: Path, environment: str, sentence: str) -> None:
    file.write_text("development: {}\nproduction: {}\n")
    with pytest.raises(ConfigError, match=sentence):
        cable_yml.section(file, environment)


def test_a_slip_in_the_name_of_a_section(file: Path) -> None:
    file.write_text("devlopment: {path: /x}\n")
    with pytest.raises(ConfigError, match="did you mean 'devlopment'"):
        cable_yml.section(file, "development")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a list", "write sections by environment"),
        ("7", "write sections by environment"),
        ("development: 7", "'development' is to be an environment's section"),
        ("adapter: redis", "'adapter' is to be an environment's section"),
        ("development: {", "it is not YAML"),
        ("development:\n\tpath: x", "it is not YAML"),
        ("production: {}\nproduction: {}", "it is not YAML: 'production' is there tw"),
        ("development: {path: /a, path: /b}", "it is not YAML: 'path' is there twice"),
        ("development: {[1]: 2}\n", "it is not YAML"),
        ("[" * 5000, "it is not YAML"),
    ],
)
def test_files_that_cannot_be_used(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as error:
        cable_yml.section(file, "development")
    assert error.value.value == str(file)


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"development: {path: /\xff}")
    with pytest.raises(ConfigError, match="save it in UTF-8"):
        cable_yml.section(file, "development")


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        cable_yml.section(file, "development")


# Variables


@pytest.mark.parametrize(
    "value",
    ["plain", "*abc", "@abc", "a: b", "abc #def", 'ab"c', "{", "007", "", "${OTHER}"],
)
def test_a_variable_stays_as_it_is(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("VARIABLE", value)
    file.write_text("test: {a: '${VARIABLE}', b: [{c: 'x${VARIABLE}'}], d: 1}\n")
    section = cable_yml.section(file, "test")
    assert section == {"a": value, "b": [{"c": f"x{value}"}], "d": 1}
    assert isinstance(section["a"], Expanded)


def test_a_default_is_for_what_is_not_set_or_empty(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("test: {url: '${WHERE:-redis://here}/0', none: '${WHERE:-}'}\n")
    monkeypatch.delenv("WHERE", raising=False)
    assert cable_yml.section(file, "test") == {"url": "redis://here/0", "none": ""}
    monkeypatch.setenv("WHERE", "")
    assert cable_yml.section(file, "test")["url"] == "redis://here/0"
    monkeypatch.setenv("WHERE", "redis://there")
    assert cable_yml.section(file, "test")["url"] == "redis://there/0"


def test_a_variable_that_is_not_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHERE", raising=False)
    file.write_text("development: {path: /x}\nproduction: {url: '${WHERE}'}\n")
    assert cable_yml.section(file, "development") == {"path": "/x"}
    with pytest.raises(
        ConfigError, match=r"url = '\${WHERE}' .*variable WHERE, or write \${WHERE:-"
    ):
        cable_yml.section(file, "production")
