"""``python -m bench [--quick] [CASE …]``: run the cases, write a report.

Each case has a process of its own, so one that fails takes no other with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from time import monotonic

from bench import report
from bench.case import Result, table
from bench.processes import ROOT

__all__ = ["CASES", "QUICK", "measure"]

CASES = (
    "fanout",
    "turn",
    "deflate",
    "inbound",
    "echo",
    "storm",
    "memory",
    "idle",
    "stalled",
    "stall",
    "throttle",
    "leak",
    "redis_hop",
    "history",
    "scale",
    "restart",
    "faults",
)

QUICK = (
    "fanout",
    "turn",
    "deflate",
    "inbound",
    "storm",
    "memory",
    "throttle",
    "scale",
)
"""Those whose figures show within two minutes whether something has become slower."""


def measure(case: str, *, quick: bool) -> list[Result]:
    """Run one case, and show its figures as they come; one that fails says why."""
    command = [sys.executable, "-m", f"bench.{case}", "--json"]
    results: list[Result] = []
    with subprocess.Popen(
        [*command, "--quick"] if quick else command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                print(line, end="")
                continue
            result = Result.from_json(line)
            results.append(result)
            print(f"{case}: {result}", flush=True)
    if process.returncode and not any(each.is_failure for each in results):
        why = f"its process ended with {process.returncode}; run it alone"
        results.append(Result.failure(case, why))
        print(f"{case}: {results[-1]}", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    quick = f"fewer, shorter runs; without CASE, only of {', '.join(QUICK)}"
    parser.add_argument("--quick", action="store_true", help=quick)
    options = parser.parse_args()
    began = monotonic()
    results: list[Result] = []
    for case in options.cases or (QUICK if options.quick else CASES):
        results += measure(case, quick=options.quick)
    print(table(results))
    took_s = monotonic() - began
    if options.cases:
        print(f"\n{took_s:.0f} s")
    else:
        written = report.write(results, quick=options.quick)
        print(f"\n{took_s:.0f} s; written to {written}")
    return int(any(each.is_failure for each in results))


if __name__ == "__main__":
    sys.exit(main())
