"""The command line: ``gateway …``, and the same commands as ``flask gateway …``.

One file per command, loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ["cli", "main"]

_COMMANDS = (
    *("serve", "broadcast", "connect", "echo"),
    *("channels", "generate", "loadtest"),
)


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"gateway.cli.{name}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gateway")
def cli() -> None:
    """Real time for Flask: WebSockets, channels and broadcasts."""


def main() -> None:
    """The console script."""
    cli()
