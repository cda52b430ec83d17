"""Who speaks: at intended times, whatever became of the messages before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time, time_ns

import gevent
from gevent.event import Event

from gateway.errors import ConnectionClosed
from gateway.reasons import CloseReason
from gateway.websocket import WebSocket
from loadtest.dialects import Dialect
from loadtest.failures import explain
from loadtest.ledger import Speech
from loadtest.samples import LATE_S, Samples
from loadtest.stamps import Stamp, find, read

__all__ = ["Speaker"]

_PATIENCE_S = 30.0
_SOON_NS = 100_000_000
"""From when the speech is announced to its first word."""


class Speaker:
    """One socket that speaks in ``rooms`` in turn, ``rate`` times a second in each.

    ``refusal`` is a sentence once the server does not let it speak (any more). Raises
    what :func:`gateway.websocket.connect` raises, or :exc:`TimeoutError` if it is not
    let in.
    """

    def __init__(
        self,
        url: str,
        open_socket: Callable[[], WebSocket],
        dialect: Dialect,
        rooms: Sequence[str],
        samples: Samples,
        *,
        run: int,
        rate: float,
        size: int,
    ) -> None:
        self.rooms = list(rooms)
        self.refusal: str | None = None
        self.latest_s = 0.0
        """How late the latest of its sends was."""
        self._pause_ns = max(1, round(1e9 / rate / len(self.rooms)))
        self._url, self._size, self._run = url, size, run
        self._dialect, self._samples = dialect, samples
        self._start_ns = 0
        self._turn = 0
        self._awaited = list(rooms)
        self._ready = Event()
        self._stopped = Event()
        self._ws = open_socket()
        self._ws.listen(self)
        self._look(None)
        if not self._ready.wait(_PATIENCE_S):
            raise TimeoutError(
                f"{url} did not let the speaker in within {_PATIENCE_S:g} s"
            )
        if self.refusal:
            raise TimeoutError(self.refusal)

    @property
    def speeches(self) -> dict[str, Speech]:
        """What is said by room, and has been until now."""
        number = len(self.rooms)
        every_ns = number * self._pause_ns
        return {
            room: Speech(
                self._start_ns + place * self._pause_ns,
                every_ns,
                (self._turn + number - 1 - place) // number,
            )
            for place, room in enumerate(self.rooms)
        }

    @property
    def sent(self) -> int:
        """Messages sent until now."""
        return self._turn

    # What the socket says.

    def received(self, message: str | bytes) -> None:
        """A frame: ours come back, too."""
        text = message if isinstance(message, str) else message.decode()
        stamp = read(find(text))
        if stamp is not None and stamp.run != self._run:
            pass  # somebody else's
        elif stamp is not None:
            self._samples.latency("rtt", (time_ns() - stamp.intended_ns) / 1e9)
        elif self._awaited and (why := self._dialect.refusal(text)) is not None:
            self.refusal = f"{self._url}: {why}"
            self._ready.set()
        else:
            self._look(text)
            if (answer := self._dialect.answer(text)) is not None:
                self._ws.send(answer)

    def closed(self, ws: WebSocket) -> None:
        """The server is gone, or does not want us."""
        if self.refusal is None:
            code, why = ws.close_code, ws.close_reason
            text = f" {why.name}" if why is not None else ""
            self.refusal = f"{self._url} closed the speaker's socket: {code}{text}"
        self._ready.set()
        self._stopped.set()

    def farewell(self, reason: CloseReason) -> str | None:
        return None

    # Speaking.

    def announce(self) -> float:
        """Begin soon, at the time that is returned; ``speeches`` tell of it now."""
        self._start_ns = time_ns() + _SOON_NS
        return self._start_ns / 1e9

    def speak(self, seconds: float) -> None:
        """Speak in a greenlet, for so many seconds or until :meth:`stop`."""
        gevent.spawn(self._speak, self._start_ns + round(seconds * 1e9))

    def stop(self) -> None:
        """Say no more."""
        self._stopped.set()

    def close(self) -> None:
        """Hang up."""
        self._ws.abort()

    def _look(self, text: str | None) -> None:
        """Whether it is the time to join a room, or the next."""
        dialect, come = self._dialect, False
        while self._awaited and dialect.is_ready(text, self._awaited[0]):
            self._awaited.pop(0)
            come = True
            if text is not None:
                break  # one frame is about one room
        if not self._awaited:
            self._ready.set()
        elif come or dialect.invites(text):
            self._ws.send(dialect.join(self._awaited[0]))

    def _speak(self, until_ns: int) -> None:
        while True:
            intended_ns = self._start_ns + self._turn * self._pause_ns
            if intended_ns >= until_ns:
                return
            if self._stopped.wait(max(0.0, intended_ns / 1e9 - time())):
                return
            try:
                self._say(intended_ns)
            except ConnectionClosed:
                return  # closed() says why
            except Exception as exc:
                self.refusal = f"the speaker failed: {explain(exc, self._url)}"
                raise

    def _say(self, intended_ns: int) -> None:
        number = len(self.rooms)
        before, place = divmod(self._turn, number)
        room, every_ns = self.rooms[place], number * self._pause_ns
        stamp = Stamp(room, self._run, before + 1, intended_ns, every_ns)
        self._ws.send(self._dialect.speak(stamp.text(self._size), room))
        self._turn += 1
        self._samples.count("sent")
        late_s = (time_ns() - intended_ns) / 1e9
        self.latest_s = max(self.latest_s, late_s)
        if late_s > LATE_S:
            self._samples.count("late")
