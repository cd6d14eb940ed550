"""What a search found, in numbers and in the rows that its page shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearn.requests.finding.subject import Subject


@dataclass
class Finding:
    """What a search found."""

    folder: Path
    subject: Subject
    sources: list[str]
    rows: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """Rows in forget, unsure and retain."""
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by (split, kind)."""
    spellings: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by (split, spelling as it stands in them)."""
    shown: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """The first rows of each (split, kind), for the page."""
    untrainable: list[str] = field(default_factory=list)
    """Rows that were found and that no reader takes, with why; the first of them."""
    untrainable_rows: int = 0

    @property
    def rate(self) -> float:
        """Rows a second, both passes together."""
        return self.rows / max(self.seconds, 1e-9)
