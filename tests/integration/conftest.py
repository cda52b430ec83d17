"""Real counterparties: the npm clients in Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.live import ROOT, LiveServer


class Node:
    """A Node program, talking over its standard input and output, line by line."""

    def __init__(self, folder: Path, script: str, *arguments: str) -> None:
        node = shutil.which("node") or shutil.which(
            "node", path=str(ROOT / ".venv/bin")
        )
        if node is None:
            pytest.skip("no node: type `make setup`")
        self._output = folder / "node.log"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [node, ROOT / "tests/integration/node" / script, *arguments],
                cwd=ROOT,
                env={**os.environ, "NODE_PATH": str(ROOT / "node_modules")},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def lines(self) -> list[str]:
        """What it has printed so far."""
        return self._output.read_text().splitlines()

    def wait_for(self, line: str, timeout: float = 30) -> None:
        """Wait until it prints this line."""
        try:
            eventually(lambda: line in self.lines or self.process.poll(), timeout)
        finally:
            assert line in self.lines, f"no {line!r} in {self.lines}"

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Runs programs of tests/integration/node."""
    running: list[Node] = []

    def start(script: str, *arguments: str) -> Node:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Node(folder, script, *arguments))
        return running[-1]

    yield start
    for program in running:
        program.stop()


__all__ = ["LiveServer", "Node"]
