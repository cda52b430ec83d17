"""What can be said of the Redis adapter in a process that is not patched."""

from __future__ import annotations

import pytest

from gateway import pubsub
from gateway.errors import ConfigError


def test_it_refuses_to_run_without_gevents_patches() -> None:
    with pytest.raises(ConfigError, match=r"monkey.patch_all\(\)` first in wsgi.py"):
        pubsub.create("redis", url="redis://127.0.0.1:1/0")
