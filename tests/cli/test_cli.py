"""The group of commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli import cli


def test_the_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert __version__ in result.output


COMMANDS = ("serve", "broadcast", "connect", "echo", "channels", "generate")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_all_commands(option: str) -> None:
    result = CliRunner().invoke(cli, [option])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {command} [OPTIONS]")


def test_a_command_that_is_none() -> None:
    result = CliRunner().invoke(cli, ["dance"])
    assert result.exit_code == 2
    assert "No such command 'dance'" in result.output


@pytest.mark.process
def test_the_console_script() -> None:
    script = Path(sys.executable).parent / "gateway"
    done = subprocess.run(
        [script, "--help"], capture_output=True, text=True, check=True
    )
    assert "serve" in done.stdout
