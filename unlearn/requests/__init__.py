"""Deletion requests: a ledger of them, the runs that serve them, and what proves it."""

from unlearn.requests.entries import Request, Status
from unlearn.requests.ledger import Ledger
from unlearn.requests.shelf import Head

__all__ = ["Head", "Ledger", "Request", "Status"]
