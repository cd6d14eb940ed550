"""Deletion requests: the rows that one is about, a ledger of them, the runs, and what proves it."""

from unlearn.requests.entries import Request, Status
from unlearn.requests.ledger import Ledger
from unlearn.requests.shelf import Head

__all__ = ["Head", "Ledger", "Request", "Status"]
