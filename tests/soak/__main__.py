"""``python -m tests.soak``: run a plan, write the report, exit 1 if it failed."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402  # sockets are to be patched first
import sys  # noqa: E402
import tempfile  # noqa: E402
from dataclasses import fields, replace  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.soak.checker import Checker  # noqa: E402
from tests.soak.plan import LONG, SHORT, Plan  # noqa: E402
from tests.soak.report import report, table  # noqa: E402


def main() -> int:
    """Run the checker as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--short", action="store_true", help="seconds, not minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a file to write the report to")
    sizes = [field.name for field in fields(Plan) if field.name != "hasty"]
    for name in sizes:
        kind = type(getattr(LONG, name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    options = vars(parser.parse_args())
    given = {name: options[name] for name in sizes if options[name] is not None}
    plan = replace(SHORT if options["short"] else LONG, **given)
    with tempfile.TemporaryDirectory() as folder:
        checker = Checker(plan, Path(folder), options["seed"])
        verdicts = checker.run()
    print(table(verdicts))
    for verdict in verdicts:
        print(*verdict.faults, sep="\n")
    if options["report"]:
        options["report"].write_text(report(checker, verdicts))
    return 0 if all(verdict.is_clean for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
