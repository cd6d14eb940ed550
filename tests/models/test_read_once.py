"""A model that processes share is read once, and no other holds more than its part on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.ranks import in_ranks
from transformers import LlamaConfig, LlamaForCausalLM

from unlearn.compute.processes import joined, rank
from unlearn.compute.sharding import is_sharded, shard_, state_of, whole
from unlearn.forward.answers import layers_of
from unlearn.models.load import ready
from unlearn.models.read_once import load_once
from unlearn.options.schema import ModelConfig, Sharding

SHAPE = LlamaConfig(
    vocab_size=1024,
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=12,
    num_attention_heads=8,
    tie_word_embeddings=True,
)
"""51 million weights, 203 MB."""
COMPUTE = tiny.COMPUTE.shared(Sharding.fsdp)


def memory(name: str) -> int:
    """A number of bytes that the system says of this process: VmRSS, VmHWM (its peak)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def loaded(folder: Path) -> Any:
    """A model of a folder, ready and sharded."""
    config = ModelConfig(path=str(folder))
    return ready(load_once(config, str(folder), COMPUTE), config, COMPUTE)


def same(model: Any, folder: Path) -> bool:
    """Whether rank 0 finds the weights of a folder in a sharded model, bit by bit."""
    state = state_of(model)
    if rank() > 0:
        return True
    saved = load_file(folder / "model.safetensors")
    return all(torch.equal(state[name].detach(), weight) for name, weight in saved.items())


def _together(folder: Path) -> None:
    """Load models as one of two processes; the large one's peak of memory lies in a file."""
    with joined():
        for name in tiny.ARCHITECTURES:
            model = loaded(folder / name)
            assert all(is_sharded(weight) for weight in model.parameters())
            assert same(model, folder / name)
            of_file = LlamaForCausalLM if name == "llama" else type(tiny.model(name))
            expected = dict(of_file.from_pretrained(folder / name).named_buffers())
            assert expected.keys() == dict(model.named_buffers()).keys()
            assert all(torch.equal(whole(b), expected[n]) for n, b in model.named_buffers())
            assert model.generation_config.eos_token_id == [1, 2]
        Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")
        large = folder / "large"
        model = load_once(ModelConfig(path=str(large)), str(large), COMPUTE)
        shard_(model, layers_of(model), COMPUTE.device)
        Path(f"peak{rank()}").write_text(str(memory("VmHWM") - before))
        assert same(model, large)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_one_process_reads_and_each_gets_its_part(tmp_path: Path) -> None:
    for name in tiny.ARCHITECTURES:
        model = tiny.model(name)
        model.generation_config.eos_token_id = [1, 2]
        model.save_pretrained(tmp_path / name)
    large = LlamaForCausalLM(SHAPE)
    size = sum(4 * weight.numel() for weight in large.parameters())
    large.save_pretrained(tmp_path / "large")
    assert in_ranks(2, _together, tmp_path) == [0, 0]
    peaks = [int((tmp_path / f"peak{number}").read_text()) for number in range(2)]
    assert peaks[0] > 0.9 * size  # who reads it has it all
    assert peaks[1] < 0.7 * size, "the other its half, and little more"
