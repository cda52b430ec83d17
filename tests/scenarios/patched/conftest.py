"""Redis needs gevent's patches: see ``tests/pubsub/patched/conftest.py``."""

from __future__ import annotations

from gevent import monkey

if not monkey.is_module_patched("socket"):
    collect_ignore_glob = ["test_*.py"]
