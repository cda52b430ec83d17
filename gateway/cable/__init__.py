"""The Action Cable domain: connections, channels, streams. Pure Python, no I/O, no
clock.

Where to start reading: ``channel`` and ``connection`` (what an application writes),
``subscriptions`` (what a client's commands do), ``hub`` (how a message finds readers).
"""
