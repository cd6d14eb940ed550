"""JensUn: learn to refuse, by a divergence that has a ceiling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.objectives.idk import IdkNLL


@dataclass
class JensUn(IdkNLL):
    """Mean Jensen-Shannon divergence of the prediction to each token of a refusal.

        JS(p ‖ onehot(y)) = log 2 − ½·(p_y·ℓ + (1 + p_y)·log(1 + p_y)),  ℓ = −log p_y

    Singh et al. 2025, arXiv 2509.02820 (JensUn); derived: a divergence to a certain token depends
    on that token's probability alone. It lies between 0 and log 2, so a token that the model finds
    impossible pulls no harder than others: the slope by ℓ, ½·p_y·(ℓ + log(1 + p_y)), is ½·log 2 at
    most and vanishes at p_y → 0. Its counterpart on the retain rows is `jensen_shannon`.

    Where we deviate: the refusal is one drawn for each row and follows the question, token by
    token, with its end token. The authors' code puts a mass of 1 on each of the tokens of one
    refusal ("No idea") at every position of question, forgotten answer and padding alike.
    """

    def of_tokens(self, losses: Tensor) -> Tensor:
        p = (-losses).exp()
        return math.log(2) - (p * losses + (1 + p) * p.log1p()) / 2
