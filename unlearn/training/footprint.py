"""What a step keeps in memory, from a model's configuration alone: nothing of the model is there.

A step holds the weights, the optimizer's state, the gradient of the first task, and while that of
the second is taken, it and the activations:

    peak = weights + optimizer + gradient₁ + max(gradient₂ + tied, activations) + unpacked

where the backward pass frees activations as fast as it makes the gradient; a tied embedding has two
gradients for a moment, and of layers in 4 bits the one that is multiplied by is unpacked. Where
several micro-batches add to gradient₂, activations come on top of it. They are counted, not
estimated: the model is built of torch's fake tensors, which have shapes and no memory, and passes
one micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.forward.answers import layers_of
from unlearn.models.four_bits import BLOCK, SCALES, Linear4bit, packed_
from unlearn.models.lora import injected
from unlearn.training.recipes import BFLOAT16, FLOAT32, Recipe


@dataclass(frozen=True)
class Rows:
    """What passes through the model at once."""

    rows: int
    tokens: int
    """Of a row, prompt and answer."""
    answer: int
    """Of these, those of the answer, which the output layer sees."""
    micro_batches: int = 1


@dataclass(frozen=True)
class Footprint:
    """Bytes by what they are for, of one device."""

    weights: int
    gradients: tuple[int, int]
    """Of the first task while the second is taken, zero where it is parked; of the second."""
    optimizer: int
    activations: int
    offloaded: int
    """Of the activations, what stays on the device with training.offload_activations."""
    micro_batches: int = 1
    target: int = 0
    """Of a copy of the model that stays as it was, where an objective compares with it."""
    tied: int = 0
    """Of the second gradient of an embedding that is the output layer, too."""
    unpacked: int = 0
    """Of the largest layer in 4 bits, which is unpacked for its product, forward and back."""

    @property
    def held(self) -> int:
        """What a step needs whatever its rows are."""
        return self.weights + self.target + sum(self.gradients) + self.optimizer

    @property
    def peak(self) -> int:
        """The most at a time."""
        first, second = self.gradients
        several = self.micro_batches > 1
        most = max(second + self.tied, self.activations + (second if several else 0))
        return self.weights + self.target + self.optimizer + first + most + self.unpacked

    def shared_by(self, processes: int) -> Footprint:
        """Return that of each of several processes that share out the weights (fsdp)."""
        first, second = self.gradients
        return replace(
            self,
            weights=self.weights // processes,
            gradients=(first // processes, second // processes),
            optimizer=self.optimizer // processes,
            target=self.target // processes,
            tied=self.tied // processes,
        )


def footprint(
    config: Any,
    recipe: Recipe,
    rows: Rows,
    autocast: bool,
    checkpointing: bool,
    keeps_target: bool = False,
) -> Footprint:
    """Return what a step by a recipe needs of a model with this configuration of transformers."""
    model = _without_memory(config, recipe)
    with _fake():
        model._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
        model.tie_weights()
        packed = [part for part in model.modules() if isinstance(part, Linear4bit)]
        every: list[Tensor] = [*model.parameters()]
        every += [tensor for part in packed for tensor in part.buffers(recurse=False)]
        trained = [weight for weight in every if weight.requires_grad]
        computed = BFLOAT16 if autocast else recipe.weight
        gradient = sum(weight.numel() * weight.element_size() for weight in trained)
        weights = sum(weight.numel() * weight.element_size() for weight in every)
        return Footprint(
            weights,
            (0 if recipe.parked else gradient, gradient),
            int(recipe.state * sum(weight.numel() for weight in trained)),
            *_activations(model, rows, autocast, checkpointing),
            rows.micro_batches,
            weights if keeps_target and recipe.adapter is None else 0,
            _tied(model),
            computed * max((one.in_features * one.out_features for one in packed), default=0),
        )


def _tied(model: LanguageModel) -> int:
    """Return the bytes of a trained embedding that is the output layer, too."""
    weight = model.get_input_embeddings().weight
    same = weight is model.get_output_embeddings().weight and weight.requires_grad
    return weight.numel() * weight.element_size() if same else 0


@contextmanager
def _fake() -> Iterator[None]:
    """Let every tensor that is made within have a shape and a device, and no memory."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        yield


def _without_memory(config: Any, recipe: Recipe) -> Any:
    """Return the model, with its adapter, on torch's device `meta`."""
    from transformers import AutoModelForCausalLM

    dtype = torch.float32 if recipe.weight == FLOAT32 else torch.bfloat16
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
        if recipe.adapter is not None:
            injected(model, recipe.adapter)
            if recipe.adapter.in_4_bits:
                packed_(model, torch.device("meta"), _Shapes)
    return model.eval()


class _Shapes(Linear4bit):
    """A layer in 4 bits without memory, for which bitsandbytes need not be there."""

    def pack(self, weight: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Return tensors of the shapes that bitsandbytes gives them."""
        blocks = -(-weight.numel() // BLOCK)
        return {
            "packed": torch.empty(-(-weight.numel() // 2), 1, dtype=torch.uint8, device=device),
            "scales": torch.empty(blocks, dtype=torch.uint8, device=device),
            "scales_of_scales": torch.empty(-(-blocks // SCALES), device=device),
            "mean": torch.empty((), device=device),
            "values": torch.empty(16, device=device),
            "values_of_scales": torch.empty(256, device=device),
        }

    def unpack(self, dtype: torch.dtype) -> Tensor:
        """Return a tensor of the shape of the weights."""
        shape = self.out_features, self.in_features
        return torch.empty(shape, dtype=dtype, device=self.packed.device)


def _activations(
    model: LanguageModel, rows: Rows, autocast: bool, checkpointing: bool
) -> tuple[int, int]:
    """Return the bytes that a forward pass keeps for the backward one, and the first that makes.

    Second, what of them is on the device where they wait elsewhere: those of one layer at a time.
    """
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, tuple[Tensor, int]] = {}
    layers = layers_of(model)
    at, inputs = [len(layers)], [0]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and storage._cdata not in kept:
            kept[storage._cdata] = tensor, at[0]
        return tensor

    def enter(number: int) -> Any:
        def hook(_layer: Any, given: Sequence[Any], *_: Any) -> None:
            at[0] = number
            inputs[0] += sum(_bytes(one) for one in given if isinstance(one, Tensor))

        return hook

    def leave(*_: Any) -> None:
        at[0] = len(layers)

    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(enter(number))
        layer.register_forward_hook(leave)
    computing = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), computing:
        ids = torch.zeros(rows.rows, rows.tokens, dtype=torch.long)
        hidden = model.base_model(input_ids=ids, use_cache=False)[0]
        at[0] = len(layers)
        answers = hidden[:, rows.tokens - rows.answer :].reshape(1, -1, hidden.shape[-1])
        logits = model.get_output_embeddings()(answers)[0].float()
        labels = torch.zeros(len(logits), dtype=torch.long)
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    by_layer = [0] * (len(layers) + 1)
    for tensor, number in kept.values():
        by_layer[number] += _bytes(tensor)
    found = sum(by_layer)
    if checkpointing:  # each layer keeps its input alone, and one at a time the rest
        found = by_layer[-1] + inputs[0] + max(by_layer[:-1])
    first = _bytes(logits)  # whose gradient comes before anything is freed
    return found + first, max(by_layer) + first


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
