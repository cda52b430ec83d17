"""A checker that knows every message sent, while much of what may break is broken.

    python -m tests.soak --help

Clients on several workers with a real Redis; TCP connections are cut, workers killed,
Redis' listeners cut off, and Redis itself stopped. Nobody may lose a message, get one
twice, or get them out of order; who was away for too long must be told so.
"""
