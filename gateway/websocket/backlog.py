"""What a slow reader has not read yet: its own memory, and nobody else's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

__all__ = ["Backlog"]

_CHUNK_BYTES = 2**16
"""How much of a backlog is offered to the kernel at a time."""

_WRITE = 2  # libev's event mask


class Backlog:
    """What waits for room in one peer's kernel buffer; exists only while something
    does.

    ``head`` is being written and stays as it is (TLS wants the same bytes again); the
    write deadline judges how that goes. Behind it wait whole frames in order, whose
    bytes are bounded. One under a key is replaced in its place by the next one under
    that key: a reader who lags gets the newest value.

    ``has_room`` is called when the kernel has room again, ``out_of_patience`` when the
    peer has taken nothing for ``patience_s``.
    """

    __slots__ = (
        "_frames",
        "_number",
        "_out_of_patience",
        "_timer",
        "_watcher",
        "accused",
        "behind",
        "head",
    )

    def __init__(
        self,
        loop: Any,
        fileno: int,
        head: memoryview,
        *,
        has_room: Callable[[Backlog], None],
        patience_s: float,
        out_of_patience: Callable[[], None],
    ) -> None:
        self.head = head
        self.behind = 0  # bytes
        self.accused = False  # of being too large; the loop will see
        self._frames: OrderedDict[Hashable, bytes] = OrderedDict()
        self._number = 0  # key of the next frame that has none
        self._watcher = loop.io(fileno, _WRITE)
        self._watcher.start(has_room, self)
        self._timer = loop.timer(patience_s, patience_s)
        self._out_of_patience = out_of_patience
        self._timer.start(out_of_patience)

    def add(self, frames: bytes, key: Hashable) -> bool:
        """Keep ``frames`` until there is room; True if they replace others."""
        if key is None:
            key = self._number
            self._number += 1
        replaced = self._frames.get(key, b"")
        self.behind += len(frames) - len(replaced)
        self._frames[key] = frames
        return bool(replaced)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return len(self.head) + self.behind

    def written(self, sent: int) -> bool:
        """The kernel took ``sent`` bytes of ``head``. True if nothing is left."""
        if sent:
            # Stopped and started, a timer of libev goes on with what time it had left.
            self._timer.again(self._out_of_patience)
        self.head = self.head[sent:]
        if not self.head:
            self.head = self._next_head()
        return not self.head

    def discard_unsent(self) -> None:
        """Keep only what is being written."""
        self._frames.clear()
        self.behind = 0

    def close(self) -> None:
        """Stop waiting."""
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()

    def _next_head(self) -> memoryview:
        chunk: list[bytes] = []
        size = 0
        while self._frames and size < _CHUNK_BYTES:
            frames = self._frames.popitem(last=False)[1]
            chunk.append(frames)
            size += len(frames)
        self.behind -= size
        return memoryview(b"".join(chunk))
