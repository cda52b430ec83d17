"""What a scenario is made of: a :class:`Lab`, which its users and its speaker share.

A Locust file makes one, and gives it to its users::

    lab = Lab(Scenario("news", "one tells, all read"), rooms=lambda options: ["news"])

    class Reader(CableUser):
        lab = lab

Importing this module adds the lab's options to Locust's, and has a lab run whenever
Locust does. The workers hold the sockets and the master speaks, so that a busy receiver
does not delay the intended send times (see ``crew`` and ``phases``).
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from functools import cache
from time import time_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import locust.runners
from locust import argument_parser, events

from gateway.websocket import WebSocket, connect
from loadtest.arrivals import Arrivals
from loadtest.crew import Worker
from loadtest.dialects import Dialect
from loadtest.ledger import Ledger, Speech
from loadtest.locust_statistics import LocustStatistics
from loadtest.master import Master
from loadtest.options import add_options, dialect_of
from loadtest.samples import Samples
from loadtest.scenarios import Scenario
from loadtest.sequence import Sequence
from loadtest.speaker import Speaker

if TYPE_CHECKING:
    from loadtest.users import WebSocketUser

__all__ = ["Lab", "run"]

_OPEN_TIMEOUT_S = 30.0

locust.runners.WORKER_REPORT_INTERVAL = 1.0
locust.runners.HEARTBEAT_LIVENESS = 10  # a worker may be busy for seconds
# A worker asks for these some sixty times with each message that tells it to spawn, and
# Locust makes a parser each time: once a second, sockets opened a tenth of one late.
argument_parser.default_args_dict = cache(argument_parser.default_args_dict)


class Lab:
    """One scenario in one process: its options, its sockets, what they measured.

    ``rooms`` says, given the options, where the speaker speaks; without it nobody does.

    >>> lab = Lab(Scenario("news", "…", rate=2.0), rooms=lambda options: ["news"])
    >>> lab.sockets
    0
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        rooms: Callable[[Any], Many[str]] = lambda options: (),
    ) -> None:
        self.scenario = scenario
        self.options: Any = None
        self.dialect = Dialect()
        self.samples = Samples()
        self.run = 0
        self.sockets = 0
        self.measuring = False  # whether the time has begun to send
        self.quiet = False  # whether it is over, also to cut connections
        self._rooms = rooms
        self._everybody: list[WebSocketUser] = []
        self._left = Ledger()  # of those who have
        self._speeches: dict[str, Speech] = {}
        self._arrivals: Arrivals | None = None
        self._number = 0

    def set_up(self, options: Any, own: Dialect, statistics: LocustStatistics) -> None:
        """Take the command line's ``options``, and the users' ``own`` dialect.

        Raises:
            ValueError: an option makes no sense; says which.
        """
        for name in ("hold", "size", "room_count", "source_addresses"):
            if getattr(options, name) <= 0:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} is {getattr(options, name)}: not above 0")
        self.options = options
        if self.rate <= 0:
            raise ValueError(f"--rate is {self.rate:g}: not above 0")
        dialect = options.dialect or "cable"
        why = self.scenario.refusal(self.rate, options.hold, dialect)
        if why is not None:
            raise ValueError(why)
        self._own = own
        self.dialect = dialect_of(own, options)
        self._statistics = statistics

    def adopt(self, options: Mapping[str, Any]) -> None:
        """Take the master's options: those of a worker elsewhere may be others."""
        vars(self.options).update(options)
        self.dialect = dialect_of(self._own, self.options)

    def begin(self, run: int, arrival_rate: float) -> None:
        """A run begins: forget all before it."""
        self.run = run
        if self._arrivals is not None:
            self._arrivals.stop()
        self._arrivals = Arrivals(arrival_rate)
        self.samples = Samples(self._statistics)
        self.sockets = 0
        self.measuring = self.quiet = False
        self._everybody = []
        self._left = Ledger()
        self._speeches = {}

    def announce(self, speeches: dict[str, Speech]) -> None:
        """What is measured begins now; and what will be said, by room."""
        self._speeches = speeches
        self.measuring = True
        for user in self._everybody:
            user.begin()

    def audit(self, speeches: dict[str, Speech]) -> Ledger:
        """What all subscribers were owed until now, and got."""
        ledger = Ledger()
        ledger.merge(self._left.figures())
        for user in self._everybody:
            user.account(ledger, speeches.get(user.room))
        return ledger

    def speaker(self) -> Speaker | None:
        """Who speaks in this scenario, connected."""
        rooms = self._rooms(self.options)
        if not rooms:
            return None
        return Speaker(
            self.url,
            self.connect,
            self.dialect,
            rooms,
            self.samples,
            run=self.run,
            rate=self.rate,
            size=self.options.size,
        )

    @property
    def rate(self) -> float:
        """Messages a second, in each room."""
        rate: float | None = self.options.rate
        return self.scenario.rate if rate is None else rate

    @property
    def url(self) -> str:
        """``--host``, with the dialect's path if it has none."""
        url: str = self.options.host or "ws://127.0.0.1:8000"
        path = self.dialect.path
        return url if urlsplit(url).path.strip("/") else url.rstrip("/") + path

    # For users.

    def arrive(self, user: WebSocketUser) -> None:
        """``user`` opens when its turn comes."""
        assert self._arrivals is not None
        user.index = len(self._everybody)
        self._everybody.append(user)
        self._arrivals.add(user.open)

    def connect(self) -> WebSocket:
        """A socket to the server, from one of our source addresses."""
        addresses = self.options.source_addresses
        source = None
        if addresses > 1:
            self._number += 1
            source = f"127.0.0.{2 + self._number % addresses}"
        return connect(
            self.url,
            subprotocols=self.dialect.subprotocols,
            origin=self.options.origin,
            compression=False,
            ping_interval=None,
            open_timeout=_OPEN_TIMEOUT_S,
            source_address=source,
        )

    def left(self, room: str, let_in_ns: int, heard: Sequence | None) -> None:
        """A subscriber has left ``room`` of its own will: enter its stay."""
        speech = self._speeches.get(room)
        self._left.enter_stay(speech, let_in_ns, heard, time_ns())


def run(environment: Any, runner: Any) -> Master | None:
    """Have the lab of the environment's users run whenever ``runner`` does.

    Returns the one who conducts it, if that is in this process.

    Raises:
        ValueError: the options make no sense, or there are two labs.
    """
    users = [user for user in environment.user_classes if hasattr(user, "lab")]
    labs: set[Lab] = {user.lab for user in users}
    if not labs:
        return None
    if len(labs) > 1:
        names = " and ".join(sorted(lab.scenario.name for lab in labs))
        raise ValueError(f"{names} cannot run at once: start a Locust for each")
    (lab,) = labs
    statistics = LocustStatistics(environment.stats)
    lab.set_up(environment.parsed_options, users[0].dialect, statistics)
    _raise_descriptors()
    if isinstance(runner, locust.runners.WorkerRunner):
        Worker(lab, environment, runner)
        return None
    return Master(lab, environment, runner)


def _raise_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _init(environment: Any, runner: Any, **_: Any) -> None:
    try:
        run(environment, runner)
    except ValueError as exc:
        worker = isinstance(runner, locust.runners.WorkerRunner)
        raise SystemExit(1 if worker else f"Error: {exc}") from None


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(_init)
