"""``gateway loadtest``: the capacity lab's scenarios, judged and written up."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from loadtest.scenarios import SCENARIOS

__all__ = ["loadtest"]

_POSITIVE = click.FloatRange(min=0, min_open=True)
_AT_LEAST_1 = click.IntRange(min=1)
_RATES = "1; " + ", ".join(
    f"{each.name} {each.rate:g}" for each in SCENARIOS.values() if each.rate != 1
)


class _Advanced(click.Option):
    """An option that few need: it is listed below the others."""


class _Command(click.Command):
    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        for title, advanced in (("Options", False), ("Advanced", True)):
            rows = [
                row
                for param in self.get_params(ctx)
                if isinstance(param, click.Option)
                and isinstance(param, _Advanced) is advanced
                and (row := param.get_help_record(ctx)) is not None
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Scenarios"):
            formatter.write_dl(
                [(each.name, each.summary) for each in SCENARIOS.values()]
            )


_advanced = partial(click.option, cls=_Advanced)


@click.command(cls=_Command, context_settings={"show_default": True})
@click.argument("scenario", type=click.Choice(list(SCENARIOS)), metavar="SCENARIO")
@click.option("--url", default="ws://127.0.0.1:8000/cable", help="The server.")
@click.option("--sockets", type=_AT_LEAST_1, default=100, help="How many to open.")
@click.option(
    "--duration",
    type=_POSITIVE,
    default=30.0,
    help="Seconds to measure for, once all sockets are open.",
)
@click.option(
    "--processes", type=_AT_LEAST_1, default=1, help="Processes to hold them."
)
@click.option(
    "--slo",
    default="lost=0,failed=0,dropped=0",
    help='Objectives, as in "p99<250ms,lost=0".',
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("loadtest-report"),
    help="Folder for the report.",
)
@click.option("--web", is_flag=True, help="Begin when told to on Locust's page.")
@_advanced(
    "--arrival-rate", type=_POSITIVE, default=200.0, help="Sockets opened a second."
)
@_advanced(
    "--rate",
    type=_POSITIVE,
    default=None,
    show_default=_RATES,
    help="Messages a second, in each room.",
)
@_advanced("--size", type=_AT_LEAST_1, default=200, help="Bytes of each.")
@_advanced("--rooms", type=_AT_LEAST_1, default=100, help="In the scenario rooms.")
@_advanced(
    "--dialect",
    type=click.Choice(["cable", "plain", "socketio"]),
    default="cable",
    help="What the server speaks.",
)
@_advanced(
    "--channel",
    default="",
    show_default="ChatChannel; echo EchoChannel",
    help="Subscribe to this one.",
)
@_advanced(
    "--action",
    default="",
    show_default="speak; echo echo",
    help="The channel's action that speaks.",
)
@_advanced("--origin", show_default="none", help="Origin header to send.")
@_advanced(
    "--shape",
    type=click.Choice(["hold", "ramp", "steps", "knee"]),
    default="hold",
    help="ramp: measure while sockets arrive; steps, knee: raise the load.",
)
@_advanced(
    "--raise",
    "raised",
    type=click.Choice(["sockets", "rate"]),
    default="sockets",
    help="What steps and knee raise, up to --sockets or --rate.",
)
def loadtest(scenario: str, slo: str, out: Path, **options: Any) -> None:
    """Measure how many sockets a server holds, and how well.

    Exits with 0 if the objectives are met, 1 if not, 3 if it could not be measured to
    the end, 4 if the generator itself was too busy.
    """
    try:
        from loadtest.session import measure
        from loadtest.slo import parse
    except ImportError as exc:
        raise click.ClickException(
            f"{exc}: the capacity lab needs more; pip install 'gateway[loadtest]'"
        ) from None
    try:
        objectives = parse(slo, SCENARIOS[scenario].latencies)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--slo") from None
    command = shlex.join(["gateway", *sys.argv[1:]])
    try:
        code = measure(objectives, out, command, scenario=scenario, **options)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    raise SystemExit(code)
