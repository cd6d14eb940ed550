"""RMU: lead the hidden states of what must go to a random place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import first_layers_only, hidden_states, number_of_layers
from unlearn.objectives.base import Objective, Resources
from unlearn.options.declared import ABOVE_ZERO, ONE_OR_MORE, SEED, Range, option


@dataclass
class RMU(Objective):
    """Mean squared error of h_L to c·u: ‖h_L − c·u‖²/H, mean over the answer tokens.

    Li et al. 2024 (WMDP), arXiv 2403.03218. h_L (N, H) is the output of layer L at the positions
    that predict the answer (:func:`unlearn.forward.answers.hidden_states`), u (H,) a random unit
    vector, drawn once with entries uniform in [0, 1) before they are normalised. Its counterpart on
    the retain rows is `hidden_state`. Layers above L are not run and get no gradient.

    The paper writes the squared norm; its authors' code divides it by the hidden size H, and so do
    we: the loss is 1/H of the paper's. `hidden_state` has the same factor, so shares mean the same.

    Where we deviate: the authors train the MLP outputs of three layers up to L only; here all
    parameters up to L that the run trains. They take every token of a text without a prompt; here
    the states that predict the answer.

    Raises ConfigurationError for a layer that the model does not have.
    """

    needs = "nothing; its usual companion is method/retain=hidden_state"
    examples = ("method.forget.layer=2",)

    layer: int | None = option(None, Range("null, or 1 to the model's depth", ONE_OR_MORE.holds))
    """The layer L, counted from 1; null = 7/16 of the model's depth, rounded."""
    coefficient: float = option(2.0, ABOVE_ZERO)
    """c, the length of the place that states are led to."""
    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of u."""

    @property
    def at_hidden_layer(self) -> bool:
        return True

    def prepare(self, resources: Resources, other: Objective) -> None:
        depth = number_of_layers(resources.model)
        if self.layer is None:
            self.layer = max(1, round(7 * depth / 16))
        if self.layer > depth:
            raise ConfigurationError(
                f"method.forget.layer: {self.layer}; allowed: 1 to {depth}, the layers of the model"
            )
        with first_layers_only(resources.model, self.layer):
            trained = any(p.requires_grad for p in resources.model.base_model.parameters())
        if not trained:
            raise ConfigurationError(
                f"method.forget.layer: {self.layer}, but no layer up to it has anything that is "
                "trained; give model.adapter.target_modules that lie there, or a higher layer"
            )
        # Drawn on the CPU: a seed must name the same u whatever the device.
        generator = torch.Generator().manual_seed(self.seed)
        direction = torch.rand(resources.model.config.hidden_size, generator=generator)
        direction = self.coefficient * direction / direction.norm()
        self.place = direction.to(resources.model.device)  # (H,) c·u

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        assert self.layer is not None  # since `prepare`
        states = hidden_states(model, batch, self.layer)
        return (states - self.place).square().mean(dim=1).sum()
