"""Deletion requests: the rows that one is about, a ledger of them, the runs, and what proves it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn.requests.entries import Request, Status
    from unlearn.requests.ledger import Ledger
    from unlearn.requests.shelf import Head

__all__ = ["Head", "Ledger", "Request", "Status"]

HOMES = {"Head": "shelf", "Ledger": "ledger", "Request": "entries", "Status": "entries"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: finding rows needs no ledger, and a ledger needs torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'unlearn.requests' has no attribute {name!r}")
    return getattr(import_module(f"unlearn.requests.{HOMES[name]}"), name)
