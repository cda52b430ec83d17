"""The few files that browsers get from npm packages, under names of our own.

They are installed by lock file (``make setup``), unmodified, and not kept in git.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["MISSING", "find"]

_PACKAGES = Path(__file__).parent.parent / "node_modules"

_FILES = {
    "actioncable.js": _PACKAGES
    / "@rails/actioncable/app/assets/javascripts/actioncable.esm.js",
    "nanoevents.js": _PACKAGES / "nanoevents/index.js",
    "uplot.js": _PACKAGES / "uplot/dist/uPlot.esm.js",
    "uplot.css": _PACKAGES / "uplot/dist/uPlot.min.css",
}

_MODULES = {
    "anycable-core": _PACKAGES / "@anycable/core",
    "anycable-web": _PACKAGES / "@anycable/web",
}
"""Packages of many files, which import each other by their paths."""

MISSING = "The demo's browser code is not installed: run `make setup` (or `npm ci`).\n"


def find(name: str) -> Path | None:
    """The file of that name, whether it is installed or not; None: there is none."""
    package, _, path = name.partition("/")
    if package in _MODULES and path.endswith(".js") and ".." not in path:
        return _MODULES[package] / path
    return _FILES.get(name)
