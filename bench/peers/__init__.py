"""Other servers that do the same work, each in a file of its own.

Started with a port and a mode: in ``fanout`` a message that comes in goes to everybody,
in ``echo`` it goes back to its sender.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.dialects import BARE, SOCKETIO, Dialect
from bench.processes import ROOT, Server

__all__ = ["DIALECTS", "start"]

_HERE = Path(__file__).parent
_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_FLOOR = ROOT / "build" / "bench" / "floor"

# Of each its file, and what else it is told.
_PROGRAMS = {
    # As people run it: between messages it looks for the next ten thousand times before
    # it sleeps.
    "uWebSockets (app.run)": ("uwebsockets_server.py", "run"),
    # In its own loop, without asyncio: it sleeps at once.
    "uWebSockets (blocking)": ("uwebsockets_server.py", "block"),
    "python-websockets": ("websockets_server.py",),
    "picows": ("picows_server.py",),
    "Flask-SocketIO": ("flask_socketio_server.py",),
    "Node ws": ("ws_server.mjs",),
    "floor": ("floor.c",),
}

DIALECTS: dict[str, Dialect] = {
    name: SOCKETIO if name == "Flask-SocketIO" else BARE for name in _PROGRAMS
}


def start(name: str, mode: str) -> Server | None:
    """A peer, or None (and a word about it) where it cannot run."""
    file, *more = _PROGRAMS[name]
    path = _HERE / file
    if path.suffix == ".py" and _PYTHON.exists():
        return Server(str(_PYTHON), str(path), "{port}", mode, *more)
    if path.suffix == ".mjs" and (node := shutil.which("node")):
        return Server(node, str(path), "{port}", mode)
    if path.suffix == ".c" and (cc := shutil.which("cc")):
        _FLOOR.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([cc, "-O2", "-o", str(_FLOOR), str(path)], check=True)
        return Server(str(_FLOOR), "{port}", mode)
    print(f"{name} is left out: `make bench` installs what it needs", flush=True)
    return None
