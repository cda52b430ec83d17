"""``gateway generate``: begin a channel with its test."""

from __future__ import annotations

from keyword import iskeyword
from pathlib import Path

import click

from gateway.cable.channel import Channel
from gateway.cable.naming import channel_name

__all__ = ["generate"]

_CHANNEL = '''\
"""What clients hear and do about {words}."""

from __future__ import annotations

from typing import Any

from {module} import {variable}
from gateway import Channel, action


@{variable}.channel
class {cls}(Channel):
    """Subscribe with an ``id``: whose {words}."""

    def subscribed(self) -> None:
        if "id" not in self.params:
            self.reject()
            return
        self.stream_for(self.params["id"])

    @action
    def {action}(self, data: dict[str, Any]) -> None:
        """Tell everybody who listens."""
        self.broadcast_to(self.params["id"], data["message"])
'''

_TEST = """\
from __future__ import annotations

from {package}.{name} import {cls}
from gateway.testing import assert_broadcast_on, assert_has_stream_for, subscribe


def test_it_streams_what_is_asked_for() -> None:
    subscription = subscribe({cls}, id=1)
    assert subscription.confirmed
    assert_has_stream_for(subscription, 1)


def test_it_rejects_without_an_id() -> None:
    assert subscribe({cls}).rejected


def test_{action}() -> None:
    subscribe({cls}, id=1).perform("{action}", message="hello")
    assert_broadcast_on("{name}:1", "hello")
"""

_CONFTEST = '''\
"""With this file here, tests find the app's modules; they begin as the app does."""

import {module}  # noqa: F401
'''


@click.group()
def generate() -> None:
    """Write the beginning of something, to be filled in."""


@generate.command()
@click.argument("name")
@click.option("--action", default="speak", show_default=True, help="Its first action.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("channels"),
    show_default=True,
    help="Package for channels.",
)
@click.option(
    "--tests",
    type=click.Path(path_type=Path),
    default=Path("tests"),
    show_default=True,
    help="Folder for tests.",
)
@click.option(
    "--gateway",
    "owner",
    default="wsgi:gateway",
    show_default=True,
    metavar="MODULE:NAME",
    help="Where your Gateway is.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def channel(
    name: str, action: str, folder: Path, tests: Path, owner: str, force: bool
) -> None:
    """Write channel NAME (Chat, or ChatChannel) and its test.

    Tests find the app by a conftest.py in this folder; without one, it is written, too.
    """
    cls = f"{name.removesuffix('Channel')}Channel"
    word = channel_name(cls)
    _check_channel(name, cls, word)
    _check_action(action)
    if not all(map(_is_name, folder.parts)):
        raise click.BadParameter(f"'{folder}' is no package: write channels, say")
    module, _, variable = owner.partition(":")
    if not all(map(_is_name, (*module.split("."), variable))):
        raise click.BadParameter(
            f"{owner!r} is no MODULE:NAME: write wsgi:gateway, say"
        )
    known = {
        "action": action,
        "cls": cls,
        "module": module,
        "name": word,
        "package": ".".join(folder.parts),
        "variable": variable,
        "words": word.replace("_", " "),
    }
    files = {
        folder / f"{word}.py": _CHANNEL,
        tests / f"test_{word}_channel.py": _TEST,
    }
    for file in files:
        if file.exists() and not force:
            raise click.ClickException(f"{file} exists; --force overwrites it")
    if not Path("conftest.py").exists():
        files[Path("conftest.py")] = _CONFTEST
    for file, template in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template.format(**known))
        click.echo(f"wrote {file}")
    if not (folder / "__init__.py").exists():
        (folder / "__init__.py").write_text("")
    click.echo(
        f"Import {'.'.join(folder.parts)}.{word} where your app is made; run its test "
        "with pytest."
    )


def _check_channel(name: str, cls: str, word: str) -> None:
    if not (name.isidentifier() and name[0].isupper()):
        raise click.BadParameter(f"{name!r} is no class name: write Chat, say")
    if cls == "Channel":
        raise click.BadParameter(f"{name!r} is what all of them are: write Chat, say")
    if not _is_name(word):
        raise click.BadParameter(
            f"{name!r} gives a module called {word}, a word of Python's: choose another"
        )


def _check_action(action: str) -> None:
    if not _is_name(action):
        raise click.BadParameter(f"{action!r} is no name for a method: write speak")
    if hasattr(Channel, action):
        raise click.BadParameter(
            f"every channel has a {action} of its own, which clients must not call: "
            "choose another name"
        )


def _is_name(word: str) -> bool:
    return word.isidentifier() and not iskeyword(word)
