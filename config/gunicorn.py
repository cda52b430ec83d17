"""How `gateway serve`, the Procfile and systemd run this project."""

import os

# Greenlets need not remember who started them: it costs 3 KB each.
os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")

from gevent import monkey

monkey.patch_all()  # before anything else is imported: docs/design.md

from gateway.serving import *  # noqa: E402, F403
