"""How a publication looks on a broker.

Most are the bare JSON of the message, as Rails' Redis adapter has it, so that a Rails
app and ours can share streams. One that carries more begins with a byte that no JSON
begins with, then says what in one line of JSON, then comes the message.
"""

from __future__ import annotations

import msgspec

from gateway.cable.publication import Publication

__all__ = ["pack", "unpack"]


_NO_TIME = 0.0  # the one object that msgspec takes for the default, and leaves out


class _Header(msgspec.Struct, omit_defaults=True, rename={"offset": "o", "epoch": "e"}):
    exclude: str = ""
    presence: bool = False
    transient: bool = False
    epoch: str = ""
    offset: int = 0
    time: float = _NO_TIME


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Header).decode


def pack(publication: Publication) -> bytes:
    """The bytes to publish."""
    header = _Header(
        publication.exclude,
        publication.presence,
        publication.transient,
        publication.epoch,
        publication.offset,
        publication.time or _NO_TIME,
    )
    line = _encode(header)
    if line == b"{}":
        return publication.message
    return b"\x01%b\n%b" % (line, publication.message)


def unpack(data: bytes) -> Publication:
    """The publication in what was published.

    Raises:
        ValueError: it is none of ours.
    """
    if data[:1] != b"\x01":
        return Publication(data)
    line, _, message = data[1:].partition(b"\n")
    try:
        header = _decode(line)
    except msgspec.DecodeError as exc:
        raise ValueError(f"not a publication: {exc}") from None
    return Publication(
        message,
        header.exclude,
        header.transient,
        header.presence,
        header.epoch,
        header.offset,
        header.time,
    )
