"""The sink that keeps nothing, and the interface of those that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Sink:
    """The sink that keeps nothing (``tracker=none``), and the interface of those that do."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Receive the values of one line of ``metrics.jsonl``."""

    def log_generations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Receive the answers side by side, one row a question; all rows have the same keys."""

    def log_conditions(self, conditions: Sequence[Mapping[str, Any]]) -> None:
        """Receive the conditions of the verdict, one a row."""

    def log_figures(self, paths: Sequence[Path]) -> None:
        """Receive the figures of the report."""

    def log_model(self, folder: Path) -> None:
        """Receive the unlearned model, where ``tracker.log_model`` asks for it."""

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Receive the headline numbers under flat names, and close."""
