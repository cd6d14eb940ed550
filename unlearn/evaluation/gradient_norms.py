"""The gradient of every answer on its own, as the norm that a membership attack reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn import Parameter

from unlearn.compute.device import Compute
from unlearn.compute.gradients import Gradient, inner_product
from unlearn.compute.model import LanguageModel, own_parameters
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.progress import progress
from unlearn.data.batches import collate
from unlearn.evaluation.scoring import Scored
from unlearn.forward.chunks import answer_losses


@contextmanager
def _all_trainable(model: LanguageModel) -> Iterator[list[Parameter]]:
    """Let every weight have a gradient for a while: the norm is not to depend on the method.

    An adapter's have none: the norm is that of the merged model.
    """
    parameters = [p for p in own_parameters(model) if p.is_floating_point()]
    trainable = [p.requires_grad for p in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        yield parameters
    finally:
        for parameter, was in zip(parameters, trainable, strict=True):
            parameter.requires_grad_(was)


@torch.enable_grad()
def gradient_norms(
    model: LanguageModel,
    answers: Sequence[Scored],
    compute: Compute,
    title: str = "gradients",
) -> list[float]:
    """Return ‖∇ mean NLL‖, the global L2 norm over all weights, of every answer.

    One row at a time: the gradient of a batch is a mean, from which no row's own norm comes back.
    Float32 products and float64 sums, so bfloat16 weights do no harm. Needs the memory of one
    gradient; `.grad` of the weights, their `requires_grad` and the model's mode stay as they are.
    """
    norms = []
    with (
        in_evaluation_mode(model),
        _all_trainable(model) as parameters,
        progress(title, len(answers)) as bar,
    ):
        for answer in answers:
            gradient: Gradient = [None] * len(parameters)
            for window in answer.windows:
                batch = collate([window], [0]).to(model.device)
                with compute.autocast:
                    loss = answer_losses(model, batch)[0].sum() / answer.tokens
                parts = torch.autograd.grad(loss, parameters, allow_unused=True)
                gradient = [
                    part if whole is None else whole if part is None else whole.add_(part)
                    for whole, part in zip(gradient, parts, strict=True)
                ]
            norms.append(inner_product(gradient, gradient).sqrt().item())
            bar.advance()
    return norms
