"""Deletion requests: what is asked for, and the rows that it is about."""
