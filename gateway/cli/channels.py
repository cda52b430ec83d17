"""``gateway channels``: what clients may subscribe to and call."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

import click

from gateway.cable import payloads
from gateway.cable.channel import Channel
from gateway.cli.apps import load

__all__ = ["channels"]


@click.command()
@click.argument("app", required=False)
def channels(app: str | None) -> None:
    """List the channels of APP, with their parameters and actions.

    APP is module:name or module:factory(). Without it, it is that of flask --app, else
    what wsgi.py or app.py has.
    """
    registry = load(app).channels
    if not registry:
        click.echo("No channels are registered.")
    for name in sorted(registry):
        cls = registry[name]
        params = sorted(set(_params(cls)))
        click.secho(name, bold=True, nl=False)
        click.echo(f"({', '.join(params)})  {cls.__module__}")
        if cls.__doc__:  # its own, not one that it inherits
            click.echo(f"    {inspect.cleandoc(cls.__doc__).splitlines()[0]}")
        for action in cls.actions:
            click.echo(f"    {action}({_payload(cls, action)})")


def _params(cls: type[Channel]) -> Iterator[str]:
    """The names that the channel's code looks up in ``self.params``."""
    for base in cls.__mro__:
        if base in (Channel, *Channel.__mro__):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # made where there is no source
            continue
        for node in ast.walk(tree):
            match node:
                case (
                    ast.Subscript(
                        value=ast.Attribute(attr="params"),
                        slice=ast.Constant(value=str(name)),
                    )
                    | ast.Call(
                        func=ast.Attribute(
                            value=ast.Attribute(attr="params"), attr="get"
                        ),
                        args=[ast.Constant(value=str(name)), *_],
                    )
                    | ast.Compare(
                        left=ast.Constant(value=str(name)),
                        comparators=[ast.Attribute(attr="params")],
                    )
                ):
                    yield name


def _payload(cls: type[Channel], action: str) -> str:
    """What an action takes: the fields of its kind, as clients write them."""
    parameter = payloads.taken(getattr(cls, action), payloads.names_of(cls))
    if parameter is None:
        return ""
    fields = payloads.fields_of(parameter.kind)
    if not fields:
        return parameter.name
    return ", ".join(f"{name}: {_word(kind)}" for name, kind in fields.items())


def _word(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
