"""What every reader returns: rows to forget, rows to retain, and the rows that are scored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Row:
    """One question with its answer; plain text is an answer without a question."""

    question: str
    answer: str
    paraphrased_answer: str | None = None
    perturbed_answers: tuple[str, ...] = ()
    paraphrased_question: str | None = None


@dataclass(frozen=True)
class Splits:
    """One forget request: what must go, what must stay, and what is measured."""

    name: str
    forget: list[Row]
    retain: list[Row]
    evaluated: dict[str, list[Row]]
    """Scored rows by split name: forget, retain, real_authors, world_facts, holdout."""
    general: list[Row] = field(default_factory=list)
    """What a base model is expected to know already. A base without pretraining (`model=tiny`)
    learns these rows along with the rest, in target and reference alike."""

    @property
    def sha256(self) -> str:
        """Hash of every row in order, so that a cached model or a score names its data."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
