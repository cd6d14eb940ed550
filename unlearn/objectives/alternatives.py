"""Learn alternative answers: the forget questions with answers of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.objectives.alternatives_file import AlternativesFile
from unlearn.objectives.other_nll import OtherNLL


@dataclass
class Alternatives(AlternativesFile, OtherNLL):
    """Mean NLL of an alternative answer to each forget question: mean ℓ(alternative).

    What is learnt in ReLearn (Xu et al., ACL 2025, arXiv 2502.11190) and is the positive half of
    AltPO (Mekala et al., COLING 2025, arXiv 2409.13474), which is `dpo` with the same file.
    `unlearn-alternatives` asks the model itself for such answers. The answers that must go are
    never looked at.

    Where we deviate from ReLearn: its data have new wordings of the questions as well, and general
    texts besides; its retain loss has a KL to the target, which is `method/retain=kl` here.

    Raises ConfigurationError without a file, DataError for one that cannot be read, that lacks a
    forget question, or that teaches the very answer that must go.
    """

    needs = (
        "a file with an alternative for every forget question (.json, .jsonl, .csv or .parquet); "
        "idk does without one"
    )
    does_without = "idk"
