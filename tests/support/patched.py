"""A pytest plugin: gevent's patches, before anything else. ``-p tests.support.patched``

What needs them (the Redis adapter) is tested in ``patched`` folders, whose files
``tests/test_patched.py`` runs in processes of their own.
"""

from gevent import monkey

monkey.patch_all()
