"""A module of a user's that cannot be imported; test_bad_measurement.py names it."""

raise RuntimeError("this module needs a database")
