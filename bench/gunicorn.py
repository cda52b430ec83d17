"""As ``config/gunicorn.py``, but no line is logged for each request: peers log none."""

import os

os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")

from gevent import monkey

monkey.patch_all()  # before anything else is imported

from gateway.serving import *  # noqa: E402, F403

accesslog = None
