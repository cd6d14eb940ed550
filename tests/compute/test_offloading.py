"""training.offload_activations: what waits elsewhere is the activations, and no number changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from torch import Tensor

from unlearn.compute import offloading
from unlearn.models.load import ready
from unlearn.objectives import NegativeLogLikelihood
from unlearn.options.schema import AdapterConfig, ModelConfig
from unlearn.training.tasks import Task, task_gradient


class Elsewhere:
    """Stands in for torch's `save_on_cpu`: its copies are in memory of their own on a CPU, too."""

    def __init__(self, pin_memory: bool) -> None:
        assert not pin_memory, "nothing of a CPU is pinned"
        self.packed: list[Tensor] = []
        self.unpacked = 0

    def pack_hook(self, tensor: Tensor) -> tuple[torch.device, Tensor]:
        self.packed.append(tensor.detach())
        return tensor.device, tensor.detach().clone()

    def unpack_hook(self, kept: tuple[torch.device, Tensor]) -> Tensor:
        self.unpacked += 1
        return kept[1]


def gradient(model: Any, offloads: bool) -> tuple[Tensor, Tensor]:
    task = Task(NegativeLogLikelihood(), [tiny.batch([0, 1, 2]), tiny.batch([3, 4])])
    parameters = tiny.parameters(model)
    loss, parts = task_gradient(model, task, parameters, tiny.compute(offloads=offloads))
    return loss, tiny.flat(parts)


@pytest.mark.parametrize("checkpointing", [False, True])
@tiny.every_architecture
def test_gradients_are_the_same_bits_with_every_activation_elsewhere(
    architecture: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ready(
        tiny.model(architecture), ModelConfig(gradient_checkpointing=checkpointing), tiny.COMPUTE
    )
    expected = gradient(model, offloads=False)
    made: list[Elsewhere] = []

    def elsewhere(pin_memory: bool) -> Elsewhere:
        made.append(Elsewhere(pin_memory))
        return made[-1]

    monkeypatch.setattr(offloading, "save_on_cpu", elsewhere)
    found = gradient(model, offloads=True)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert len(made) == 2, "once a micro-batch"
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    for one in made:
        assert one.unpacked >= len(one.packed) > model.config.num_hidden_layers
        assert not any(part.untyped_storage().data_ptr() in weights for part in one.packed)


def test_torchs_own_and_an_adapter_give_the_same_bits() -> None:
    pytest.importorskip("peft", reason="needs the extra lora")
    from unlearn.models.lora import Adapter

    model = tiny.model()
    adapter = Adapter(model, AdapterConfig(rank=2), seed=0)
    with torch.no_grad():
        for number, weight in enumerate(adapter.parameters()):
            weight.fill_(0.01 * (number + 1))
    expected, found = (gradient(model, offloads) for offloads in (False, True))
    assert torch.equal(found[1], expected[1])
    assert found[1].any()
