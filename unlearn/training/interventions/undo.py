"""UNDO: begin from a noised copy of the model, which then learns what the model says."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.options.beside import Beside
from unlearn.options.declared import SEED, SHARE, ZERO_OR_MORE, option
from unlearn.training.interventions.base import Intervention, Start


@dataclass
class UNDO(Intervention):
    """Shrink the weights before the first step and add noise: θ ← (1 − α)·θ + α·β·N.

    Lee et al., NeurIPS 2025, arXiv 2506.06278 (unlearn, noise, distil on outputs): what a model has
    forgotten on the outside only is not handed on to a copy that has to learn from its outputs. The
    target is a model that was unlearned by some method; the copy learns its predictions on the
    retain rows by `kl` or `jensen_shannon`. N is drawn anew as weights are before training: Xavier
    uniform for matrices, zero for vectors, which therefore shrink. α trades the work of learning
    back for how little is left; at 1 nothing of the weights is.

    Where we differ: one seed draws all noise on the CPU, whatever the device; and the rows are
    those of the run, where the authors distil on texts of pretraining, forget texts among them.
    """

    needs = "a retain objective that compares with the target, and a target that is unlearned"
    examples = ("method=graddiff_kl scheduler=cosine optimizer.lr=1e-5",)

    alpha: float = option(0.6, SHARE)
    """α, the share of the weights that is taken away; 0: nothing happens."""
    beta: float = option(0.1, ZERO_OR_MORE)
    """β, the size of the noise beside that of fresh weights."""
    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of N."""

    def problems_beside(self, method: Beside) -> list[str]:
        problems = []
        if method.adapter:
            problems.append(
                "noises the weights of the model itself, which an adapter leaves as they are; use "
                "it without model/adapter=lora"
            )
        if not (method.retain.trains and method.retain.zero_at_target):
            problems.append(
                "loses what nothing brings back: the retain objective must compare with the "
                "target; allowed with it: kl, jensen_shannon"
            )
        return problems

    @torch.no_grad()
    def begin(self, start: Start) -> None:
        # Drawn on the CPU: a seed must name the same noise whatever the device.
        generator = torch.Generator().manual_seed(self.seed)
        for parameter in start.parameters:
            parameter.mul_(1 - self.alpha)
            if parameter.dim() > 1:
                noise = self._fresh(parameter.shape, generator)
                parameter.add_(noise.to(parameter), alpha=self.alpha * self.beta)

    @staticmethod
    def _fresh(shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.nn.init.xavier_uniform_(torch.empty(shape), generator=generator)
