"""Whether a worker process can serve its app: looked at once, when it has loaded it."""

from __future__ import annotations

import resource
import sys
from typing import Any

from gevent import ssl as gevent_ssl

from gateway.errors import ConfigError
from gateway.server import CableServer

__all__ = ["check", "check_patches", "raise_descriptors"]

_RESERVED_DESCRIPTORS = 64


def raise_descriptors(log: Any) -> None:
    """Open files are what limits sockets: take all that the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.info("Open files: raised from %d to the hard limit of %d", soft, hard)


def check_patches() -> None:
    """Modules that took a class of ``ssl`` before gevent patched it cannot use TLS.

    Raises:
        ConfigError: there are such; names them and the fix.
    """
    unpatched = vars(gevent_ssl)["orig_SSLContext"]
    late = sorted(
        name
        for name, module in list(sys.modules.items())
        if getattr(module, "__dict__", {}).get("SSLContext") is unpatched
    )
    if late:
        raise ConfigError(
            "the order of imports",
            ", ".join(late),
            "imported before gevent patched the standard library, so that TLS would "
            "fail there: put `from gevent import monkey; monkey.patch_all()` first in "
            "wsgi.py and config/gunicorn.py",
        )


def check(server: CableServer, cfg: Any, log: Any) -> None:
    """Warn of what will go wrong with these settings of gunicorn's and ours.

    Raises:
        ConfigError: the adapter cannot be used.
    """
    settings = server.settings
    pubsub = server.pubsub  # made now, so that a wrong url or late patches stop us
    if cfg.workers > 1 and not pubsub.shared:
        log.warning(
            "%d workers with `adapter: %s`: a broadcast reaches the clients of one "
            "worker only. Write `adapter: redis` in config/cable.yml, or run one "
            "worker",
            cfg.workers,
            settings.adapter,
        )
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if settings.max_sockets and settings.max_sockets + _RESERVED_DESCRIPTORS > soft:
        log.warning(
            "max_sockets = %d, but the process may open %d files: raise its hard limit "
            "(ulimit -Hn, LimitNOFILE=), or lower max_sockets",
            settings.max_sockets,
            soft,
        )
    budget = settings.shutdown_delay + settings.drain_seconds
    if budget > cfg.graceful_timeout:
        log.warning(
            "shutdown_delay + drain_seconds = %g s, but gunicorn kills a worker after "
            "graceful_timeout = %g s: raise that",
            budget,
            cfg.graceful_timeout,
        )
