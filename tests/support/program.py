"""``gateway …`` as a process of its own, in a pipe or at a terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

from tests.support import eventually
from tests.support.live import ROOT

__all__ = ["Program", "Terminal"]


class Program:
    """A command whose input is a pipe, and whose output can be read as it comes."""

    def __init__(self, folder: Path, *arguments: str, **options: Any) -> None:
        self._out = folder / f"{id(self)}.out"
        self._err = folder / f"{id(self)}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *arguments],
                cwd=ROOT,
                **{"stdin": subprocess.PIPE, "stdout": out, "stderr": err, **options},
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def errors(self) -> str:
        """What it has complained about."""
        return self._err.read_text()

    def say(self, data: str | bytes) -> None:
        """Write to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(data if isinstance(data, bytes) else data.encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        """There is no more to come."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return eventually(self._ended, timeout=30)[0]

    def stop(self) -> None:
        """End it, however it is, and read the rest of what it has to say."""
        self.process.kill()
        self.process.communicate()

    def _ended(self) -> tuple[int] | None:
        code = self.process.poll()
        return None if code is None else (code,)


class Terminal(Program):
    """A command at a terminal of its own: what is typed and what is seen."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._keyboard, screen = os.openpty()
        os.set_blocking(self._keyboard, False)
        self._seen = b""
        try:
            super().__init__(
                folder,
                *arguments,
                stdin=screen,
                stdout=screen,
                stderr=screen,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(screen)

    @property
    def screen(self) -> str:
        """All that has been on the screen, typed or printed."""
        try:
            while data := os.read(self._keyboard, 2**16):
                self._seen += data
        except OSError:  # nothing more yet; or nobody to print it
            pass
        return self._seen.decode().replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        """Press some keys. Control and D is ``\\x04``."""
        os.write(self._keyboard, keys.encode())

    def stop(self) -> None:
        super().stop()
        os.close(self._keyboard)
