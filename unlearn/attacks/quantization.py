"""Quantization: does what was forgotten come back when the weights are rounded?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.attacks.changed_weights import DETAILS, most_found, scored_with
from unlearn.attacks.rounding import by_torchao, has_torchao, round_to_nearest
from unlearn.errors import to_install
from unlearn.metrics.catalogue import Way
from unlearn.options.declared import Range, option, range_problems, refuse

METHODS = ("auto", "torchao", "round_to_nearest")


@dataclass
class Quantization(Attack):
    """Score the forget rows again with the weights of all linear layers rounded to few bits.

    x = mean probability exp(−mean NLL) of the forget answers; the width that brings back most
    counts. Small updates may vanish in the rounding, and with them the unlearning (Zhang et al.
    2024, arXiv 2410.16454). Embeddings and output layer stay as they are, as in the usual
    libraries; activations are not quantized. The retain rows' probability is told beside it: at a
    width at which that is lost, too, nothing follows from a low share.

    Raises ConfigurationError for a width or a method that is not allowed.
    """

    needs = "nothing; uses torchao where it is installed"
    examples = ("", "attack.quantization.bits=[8,4,3]")

    bits: list[int] = option([8, 4], Range("each 2 to 8"))
    """Widths of a weight in bits."""
    method: str = option("auto", Range(", ".join(METHODS), METHODS.__contains__))
    """torchao (signed integers, one scale a group of 32 columns at up to 4 bits, else one a row),
    round_to_nearest (symmetric, one scale an output row); auto: torchao where it is installed."""

    def __post_init__(self) -> None:
        missing = self.method == "torchao" and not has_torchao()
        refuse(
            *range_problems(self),
            None if self.bits else "bits: empty; give some of 2 to 8, such as [8, 4]",
            *(
                f"bits: {width}; allowed: 2 to 8, each once"
                for width in dict.fromkeys(self.bits)
                if not 2 <= width <= 8 or self.bits.count(width) > 1
            ),
            f"method: torchao is not installed; {to_install('quantization')}, or "
            "method=round_to_nearest"
            if missing
            else None,
        )

    @property
    def uses_torchao(self) -> bool:
        """Whether torchao rounds."""
        return self.method == "torchao" or (self.method == "auto" and has_torchao())

    @property
    def identity(self) -> str | None:
        known = super().identity
        return known and f"{known} {version('torchao') if self.uses_torchao else ''}"

    def names(self) -> list[str]:
        return [f"int{width}_{kind}" for width in self.bits for kind in DETAILS]

    def directions(self) -> Mapping[str, Way]:
        return {f"int{width}_retain_probability": "higher" for width in self.bits}

    def run(self, subject: Subject) -> Found:
        rounded = by_torchao if self.uses_torchao else round_to_nearest
        name = "torchao" if self.uses_torchao else "round-to-nearest"
        notes = [f"weights rounded by {name}"]
        widths = {f"int{width}": partial(rounded, bits=width) for width in self.bits}
        details = scored_with(subject, widths)
        return Found(subject.recovered(most_found(details), notes), details, notes)
