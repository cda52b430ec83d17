"""Measures the gateway against its bars, and beside its peers: ``make bench``.

Each case is a file that runs alone: ``python -m bench.fanout --quick``. What counts is
the CPU time that a server spends per message, pinned to a core of its own: other than
seconds, that does not depend on how fast the load is. ``docs/performance.md`` tells
the method.
"""
