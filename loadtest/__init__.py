"""A capacity lab on Locust: how many sockets does a box hold, and how well?

The library is in the modules; each scenario is a file of its own that Locust can run:
``locust -f loadtest/fanout.py``. ``gateway loadtest`` runs them and writes the report.
"""
