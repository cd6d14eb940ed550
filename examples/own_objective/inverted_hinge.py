"""An objective of one's own, the inverted hinge: it is over where another token has clearly won."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import answer_logits
from unlearn.objectives import Objective


@dataclass
class InvertedHinge(Objective):
    """Mean of max(0, m + p_y − max_{k≠y} p_k) over answer tokens y (arXiv 2408.06621: m = 1)."""

    margin: float = 1.0
    vanishes = True  # at zero the gradient is, too: MGDA and its like are refused beside it

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 1:
            raise ConfigurationError(f"margin: {self.margin}; allowed: above 0 up to 1")

    def sum(self, model: Any, batch: Batch) -> Tensor:
        logits, labels, _ = answer_logits(model, batch)  # (N, V), (N,)
        p = logits.softmax(dim=1)
        right = p.gather(1, labels[:, None])[:, 0]  # (N,)
        other = p.scatter(1, labels[:, None], 0.0).amax(dim=1)  # (N,)
        return (self.margin + right - other).relu().sum()
