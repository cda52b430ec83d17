"""What can be asked for as a limit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from gateway.errors import LocalError
from gateway.websocket import Limits

NAMES = [field.name for field in fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, "1MB", True, None, [], float("nan")])
def test_limits_that_make_no_sense(name: str, value: Any) -> None:
    if value is None and fields(Limits)[NAMES.index(name)].default is None:
        assert getattr(Limits(**{name: None}), name) is None
        return
    with pytest.raises(LocalError) as refused:
        Limits(**{name: value})
    assert str(refused.value).startswith(f"{name} = {value!r} cannot be used: give ")


def test_counts_are_whole_and_times_are_not_endless() -> None:
    with pytest.raises(LocalError, match="max_headers = 1.5 .* an int of at least 1$"):
        Limits(max_headers=1.5)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="max_sockets = 0 .* at least 1, or None"):
        Limits(max_sockets=0)
    with pytest.raises(LocalError, match="close_timeout_s = inf .* seconds, over 0"):
        Limits(close_timeout_s=float("inf"))


@pytest.mark.parametrize("name", NAMES)
def test_limits_that_do(name: str) -> None:
    assert getattr(Limits(**{name: 1}), name) == 1
