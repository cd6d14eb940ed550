"""Activations that are computed again in the backward pass, and nothing else changed.

transformers recomputes a layer only in training mode, in which dropout, noise of a router and
layers left out at random are on, each under a name of its own. Here the model stays in evaluation
mode: a layer's own flag is set just so long as it decides to recompute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unlearn.compute.model import LanguageModel, plain_output
from unlearn.errors import ConfigurationError, first_line

OPTION = "model.gradient_checkpointing: true"


@dataclass
class Recomputed:
    """Runs one layer as in evaluation mode, and again in the backward pass."""

    layer: nn.Module
    times: int = 0

    def __call__(self, run: Callable[..., Any], *inputs: Any) -> Any:
        """Return what `run` makes of the inputs; called by the layer in place of `checkpoint`."""
        self.times += 1
        return checkpoint(self._quietly, run, *inputs, use_reentrant=False)

    def _quietly(self, run: Callable[..., Any], *inputs: Any) -> Any:
        flag, self.layer.training = self.layer.training, False
        try:
            return run(*inputs)
        finally:
            self.layer.training = flag


def recompute_activations(model: LanguageModel) -> None:
    """Let every layer of a model in evaluation mode be recomputed in the backward pass.

    Raises ConfigurationError for a model that cannot, or whose numbers would not be those that it
    has without.
    """
    name = type(model).__name__
    try:
        # The same under its new name in later versions of transformers 5, where the old one warns.
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    except ValueError as error:
        raise ConfigurationError(f"{OPTION}: {first_line(error)}; leave it out") from error
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[Any] = [
        part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)
    ]
    model.eval()
    with torch.no_grad():
        expected = _logits(model)
    calls = [Recomputed(layer) for layer in layers]
    for layer, call in zip(layers, calls, strict=True):
        layer._gradient_checkpointing_func = call
        layer.training = True  # its own alone: what lies in it stays in evaluation mode
    found = [_logits(model) for _ in range(2)]
    if not any(call.times for call in calls):
        raise ConfigurationError(f"{OPTION}: {name} recomputes no layer; leave it out")
    if not all(torch.allclose(logits, expected, rtol=1e-3, atol=1e-3) for logits in found):
        raise ConfigurationError(
            f"{OPTION}: {name} then computes other numbers than in evaluation mode, so that "
            "training and measuring would not speak of one model; leave it out"
        )


def _logits(model: LanguageModel) -> Tensor:
    """Return the logits of a few arbitrary tokens."""
    count = model.get_input_embeddings().num_embeddings
    ids = torch.arange(16, device=model.device).reshape(2, 8) * 7 % count
    mask = torch.ones_like(ids)
    output = model(input_ids=ids, attention_mask=mask, use_cache=False, **plain_output(model))
    logits: Tensor = output.logits.detach()
    return logits
