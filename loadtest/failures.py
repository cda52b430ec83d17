"""What went wrong, in a sentence: what, where, and what may help."""

from __future__ import annotations

import re
from html import unescape

from gateway.errors import GatewayError, HandshakeRefused

__all__ = ["explain"]

_HINTS = {
    401: "does it want a cookie or a token?",
    403: "may pages of this origin connect? See --origin",
    404: "is the path right, and may pages of this origin connect? See --origin",
    429: "it lets in no more from one address",
    503: "it is full, or about to stop",
}
_TAGS = re.compile(r"<[^>]*(>|$)")


def explain(error: BaseException, url: str) -> str:
    """Why ``url`` could not be reached, or what else has failed.

    >>> explain(ConnectionRefusedError(111, "Connection refused"), "ws://here/cable")
    'cannot connect to ws://here/cable: Connection refused'
    """
    if isinstance(error, HandshakeRefused):
        text = " ".join(unescape(_TAGS.sub(" ", error.explanation)).split())
        hint = _HINTS.get(error.status)
        return text if hint is None else f"{text} ({hint})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot connect to {url}: {error.strerror}"
    if isinstance(error, (GatewayError, TimeoutError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
