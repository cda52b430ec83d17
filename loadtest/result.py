"""What a run has found, as plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadtest.machine import describe
from loadtest.target import LEAST_SOCKETS, Target, summary

if TYPE_CHECKING:
    from loadtest.lab import Lab
    from loadtest.phases import Run

__all__ = ["build"]


def build(lab: Lab, run: Run, target: Target) -> dict[str, Any]:
    """Everything about ``run``."""
    options, record = lab.options, run.record
    phases = run.phases
    told = [one for one in target.figures if one["at"] <= phases["end"] + 1]
    return {
        "scenario": lab.scenario.name,
        "url": lab.url,
        "sockets": run.asked,
        "latency": lab.scenario.latencies[0],
        "ramp": options.ramp,
        "run": {
            "sockets": run.asked,
            "arrivals a second": run.arrival_rate,
            "messages a second": lab.rate if run.sent else 0,
            "rooms": len(run.speaker.rooms) if run.speaker is not None else 0,
            "bytes of a message": options.size,
            "seconds": options.hold,
            "processes": options.processes or 1,
            "source addresses": options.source_addresses,
            "subprotocols": ", ".join(lab.dialect.subprotocols),
        },
        "error": run.error,
        "notes": run.notes,
        "phases": phases,
        "counts": dict(record.counts),
        "ledger": run.figures(),
        "throughput": _throughput(run),
        "latest_send_s": run.speaker.latest_s if run.speaker is not None else 0.0,
        "latencies": record.latencies(),
        "lag": {
            name: record.while_measured("lag", name) for name in lab.scenario.latencies
        },
        "series": record.series(phases["start"], phases["end"]),
        "errors": dict(record.errors),
        "processes": record.processes,
        "generator": _generator(record.processes),
        "server": summary(told, phases),
        "target": [one for one in told if one["at"] >= phases["start"] - 1],
        "machine": describe(lab.url),
    }


def _throughput(run: Run) -> float:
    """Deliveries a second, while messages were sent: not what came in behind them."""
    phases, counts = run.phases, run.record.counts
    if "hold" not in phases:
        return 0.0
    seconds = phases.get("drain", phases["end"]) - phases["hold"]
    came = counts["received"] - counts["received_behind"]
    return round(came / max(seconds, 1e-3), 1)


def _generator(processes: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """What a socket costs the generator, of all its processes that hold some."""
    sockets, grown = 0.0, 0.0
    for usage in processes.values():
        held = max(one["sockets"] for one in usage)
        if held:
            sockets += held
            grown += max(one["rss"] - one["base"] for one in usage)
    enough = sockets >= LEAST_SOCKETS
    return {
        "sockets": sockets,
        "memory_bytes_per_socket": round(grown / sockets) if enough else None,
    }
