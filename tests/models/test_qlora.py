"""model/adapter=qlora: what 4 bits hold by definition, LoRA over it, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from scipy.stats import norm
from support import tiny
from support.shapes import LLAMA_8B
from support.tiny import batch, every_architecture, flat, relative_error
from torch import Tensor, nn

from benchmarks.architectures import ARCHITECTURES, random_model
from unlearn.compute.checkpointing import recompute_activations
from unlearn.data.batches import PairedBatches
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import answer_logits, hidden_states
from unlearn.models import four_bits
from unlearn.models.adapter import quiet
from unlearn.models.four_bits import (
    Linear4bit,
    linear_layers,
    packed_,
    packing_problems,
    rounded_,
    weights_in,
)
from unlearn.models.lora import Adapter, adapter_problems_of
from unlearn.models.streaming import moved_
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.options.schema import AdapterConfig, ModelConfig, Quantize, TrainingConfig
from unlearn.schedulers import Constant
from unlearn.training.footprint import Rows, footprint
from unlearn.training.method import Method
from unlearn.training.recipes import BFLOAT16, FLOAT32, NF4, Recipe, held
from unlearn.training.tasks import Task, task_gradient
from unlearn.training.trainer import Trainer
from unlearn.weightings import NGDiff

pytest.importorskip("peft", reason="needs the extra qlora")
there = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes (the extra qlora)"
)

LORA = AdapterConfig(rank=2, alpha=3)
QLORA = AdapterConfig(rank=2, alpha=3, quantize=Quantize.nf4)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Everything below is computed there: on a GPU its kernels are what is tried."""
HERE = tiny.compute(device=DEVICE)
FORGET, RETAIN = range(3), range(3, 8)


def a_model(architecture: str = "llama", dtype: torch.dtype = torch.float32) -> Any:
    return tiny.model(architecture, dtype=dtype).to(DEVICE)


def rounded(architecture: str = "llama", dtype: torch.dtype = torch.float32) -> Any:
    """The model, dense, with what 4 bits hold of its linear layers."""
    model = a_model(architecture, dtype)
    rounded_(model, DEVICE)
    return model


def moved_away(adapter: Adapter) -> Adapter:
    """Let B be other than zero, as after some steps."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapter.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator).to(weight)
    return adapter


def logits(model: Any, rows: range = RETAIN) -> Tensor:
    with torch.no_grad():
        return answer_logits(model, batch(rows).to(DEVICE))[0]


def gradient(adapter: Adapter, rows: range = RETAIN) -> Tensor:
    task = Task(NegativeLogLikelihood(), [batch(rows).to(DEVICE)])
    return flat(task_gradient(adapter.model, task, list(adapter.parameters()), HERE)[1])


def trained(adapter: Adapter, steps: int = 3) -> None:
    examples = tiny.examples()
    plan: Any = SimpleNamespace(
        method=Method(Ascent(), NegativeLogLikelihood(), NGDiff(), name="ngdiff", interventions={}),
        scheduler=Constant(),
        optimizer=partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1),
        training=TrainingConfig(steps=steps),
    )
    batches = PairedBatches(examples[:3], examples[3:], 8, None, seed=0)
    trainer = Trainer(adapter.model, plan, batches, HERE)
    for _ in range(steps):
        trainer.step()


# What 4 bits hold


def nf4() -> np.ndarray:
    """The 16 values of the paper's appendix E: quantiles of N(0, 1), zero among them, up to 1."""
    most = 0.5 * (1 - 1 / 32 + 1 - 1 / 30)
    above, below = (norm.ppf(np.linspace(most, 0.5, n)[:-1]) for n in (9, 8))
    values = np.sort(np.concatenate([above, [0.0], -below]))
    return values / values.max()


@there
@pytest.mark.parametrize("shape", [(96, 64), (7, 33)])
def test_a_weight_is_the_nearest_of_16_values_times_the_scale_of_its_block(
    shape: tuple[int, int],
) -> None:
    layer = nn.Linear(shape[1], shape[0]).to(DEVICE)
    weight = layer.weight.detach().double().cpu().flatten()
    held_in_4 = Linear4bit(layer, DEVICE).unpack(torch.float32).double().cpu()
    assert held_in_4.shape == shape
    values = torch.from_numpy(nf4())
    for block, ours in zip(weight.split(64), held_in_4.flatten().split(64), strict=True):
        scale = block.abs().max()
        nearest = values[(block[:, None] / scale - values).abs().argmin(1)] * scale
        # The scales themselves are kept in 8 bits.
        assert (ours - nearest).abs().max() < 0.02 * scale


@there
def test_bfloat16_is_unpacked_as_float32_would_be_rounded() -> None:
    packed = Linear4bit(nn.Linear(64, 48).to(DEVICE), DEVICE)
    exact = packed.unpack(torch.float32)
    assert torch.equal(packed.unpack(torch.bfloat16), exact.bfloat16())


@there
def test_the_base_and_the_adapter_on_it_are_those_of_transformers_and_peft(tmp_path: Path) -> None:
    """What load_in_4bit makes of the saved model, with the adapter that is written here."""
    pytest.importorskip("accelerate", reason="transformers loads 4 bits with it")
    from peft import PeftModel

    adapter = Adapter(a_model(), QLORA, seed=0, base=str(tmp_path / "base"))
    tiny.model().save_pretrained(tmp_path / "base")
    moved_away(adapter).save_pretrained(tmp_path / "adapter")
    asked = hf.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    theirs = hf.AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", quantization_config=asked, dtype=torch.float32, device_map=DEVICE.type
    ).eval()
    assert relative_error(logits(adapter.base), logits(theirs)) < 1e-5
    assert relative_error(logits(adapter.base), logits(a_model())) > 0.05, "nothing was rounded"
    with quiet():
        on_it = PeftModel.from_pretrained(theirs, str(tmp_path / "adapter")).eval()
    ids = batch(RETAIN).to(DEVICE)
    ours = adapter.model(input_ids=ids.input_ids, attention_mask=ids.attention_mask).logits
    other = on_it(input_ids=ids.input_ids, attention_mask=ids.attention_mask).logits
    assert relative_error(ours.detach(), other.detach()) < 1e-5


# LoRA over it


@there
@every_architecture
def test_gradients_are_those_of_lora_on_the_weights_that_4_bits_hold(architecture: str) -> None:
    """In float64, where no rounding of 24 bits hides a term that is missing."""
    ours = moved_away(Adapter(a_model(architecture), QLORA, seed=0))
    plain = Adapter(rounded(architecture).double(), LORA, seed=0)
    with torch.no_grad():
        for name, weight in plain.weights.items():
            weight.copy_(ours.weights[name])
    assert len(ours.packed) == len(ours.layers)
    assert relative_error(gradient(ours).double(), gradient(plain).double()) < 2e-5
    assert [p.requires_grad for p in ours.parameters()] == [True] * len(ours.weights)


@there
@every_architecture
def test_training_leaves_the_base_bit_by_bit_and_merging_says_the_same(architecture: str) -> None:
    original, base = a_model(architecture), rounded(architecture)
    adapter = Adapter(a_model(architecture), QLORA, seed=0)
    begun = logits(adapter.model)
    assert torch.equal(begun, logits(adapter.base)), "B is zero at first"
    assert relative_error(begun, logits(base)) < 1e-6
    before = [tensor.clone() for one in adapter.packed for tensor in one.layer.buffers()]
    frozen = {n: p.detach().clone() for n, p in adapter.model.named_parameters() if "lora" not in n}
    trained(adapter)
    after = [tensor for one in adapter.packed for tensor in one.layer.buffers()]
    assert all(map(torch.equal, before, after))
    now = dict(adapter.model.named_parameters())
    assert all(torch.equal(weight, now[name]) for name, weight in frozen.items())
    assert torch.equal(logits(adapter.base), begun)
    with torch.no_grad():
        states = hidden_states(adapter.base, batch(RETAIN).to(DEVICE), 1)
        assert relative_error(states, hidden_states(base, batch(RETAIN).to(DEVICE), 1)) < 1e-6
    unmerged = logits(adapter.model)
    assert (unmerged - begun).abs().max() > 1e-3, "nothing was trained"

    adapter.merge()
    assert relative_error(logits(adapter.model), unmerged) < 2e-6
    shapes = {name: weight.shape for name, weight in original.state_dict().items()}
    assert {name: weight.shape for name, weight in adapter.model.state_dict().items()} == shapes
    assert type(adapter.model).__name__ == type(original).__name__
    assert not any(isinstance(part, Linear4bit) for part in adapter.model.modules())
    assert all(weight.requires_grad for weight in adapter.model.parameters())


@there
def test_it_is_merged_into_what_4_bits_hold_and_not_into_the_original_weights() -> None:
    adapter = moved_away(Adapter(a_model(), QLORA, seed=0))
    pair = {name: weight.detach().double() for name, weight in adapter.weights.items()}
    adapter.merge()
    path = "model.layers.1.mlp.up_proj"
    product = 3 / 2 * pair[f"base_model.model.{path}.lora_B.weight"]
    product = product @ pair[f"base_model.model.{path}.lora_A.weight"]
    merged = adapter.model.get_parameter(f"{path}.weight").detach().double()
    held_in_4, original = (
        m.get_parameter(f"{path}.weight").detach().double() for m in (rounded(), a_model())
    )
    assert relative_error(merged, held_in_4 + product) < 1e-6
    assert relative_error(merged, original + product) > 1e-2


@there
def test_layers_without_an_adapter_are_in_4_bits_too() -> None:
    options = AdapterConfig(rank=2, target_modules=["q_proj"], quantize=Quantize.nf4)
    adapter = moved_away(Adapter(a_model(), options, seed=0))
    assert (len(adapter.layers), len(adapter.packed)) == (2, 14)
    unmerged = logits(adapter.model)
    adapter.merge()
    assert relative_error(logits(adapter.model), unmerged) < 2e-6


@there
def test_recomputed_activations_give_the_same_gradient() -> None:
    found = []
    for recompute in (False, True):
        model = a_model()
        if recompute:
            recompute_activations(model)
        found.append(gradient(moved_away(Adapter(model, QLORA, seed=0))))
    assert relative_error(found[1], found[0]) < 1e-6


@there
@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_computes_what_lora_on_dense_weights_does(autocast: bool) -> None:
    dtype = torch.float32 if autocast else torch.bfloat16
    compute = tiny.compute(device=DEVICE, bfloat16=autocast)
    task = Task(NegativeLogLikelihood(), [batch(RETAIN).to(DEVICE)])
    found = []
    for adapter in (
        Adapter(a_model(dtype=dtype), QLORA, 0),
        Adapter(rounded(dtype=dtype), LORA, 0),
    ):
        moved_away(adapter)
        assert {p.dtype for p in adapter.parameters()} == {torch.float32}
        parts = task_gradient(adapter.model, task, list(adapter.parameters()), compute)[1]
        with torch.no_grad(), compute.autocast:
            unmerged = logits(adapter.model)
            adapter.merge()
            merged = logits(adapter.model)
        assert relative_error(merged, unmerged) < 0.05  # of bfloat16's 8 bits
        found.append((flat(parts), unmerged))
    assert relative_error(found[0][0], found[1][0]) < 1e-2
    assert relative_error(found[0][1], found[1][1]) < 1e-2


@there
def test_autograd_keeps_nothing_of_the_size_of_the_weights() -> None:
    adapter = Adapter(a_model(), QLORA, seed=0)
    shapes = set()

    def pack(tensor: Tensor) -> Tensor:
        shapes.add(tuple(tensor.shape))
        return tensor

    inputs = batch(RETAIN).to(DEVICE)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        adapter.model(input_ids=inputs.input_ids)
    unpacked = {(one.layer.out_features, one.layer.in_features) for one in adapter.packed}
    assert not shapes & (unpacked | {shape[::-1] for shape in unpacked})


# What stays as it is


def test_output_layer_embeddings_norms_and_what_is_no_product_stay() -> None:
    class Doubled(nn.Linear):
        """y = 2Wx + b."""

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, 2 * self.weight, self.bias)

    model = tiny.model()
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
    layer = model.model.layers[0]
    layer.mlp.up_proj = Doubled(32, 64)
    layer.mlp.gate_proj.weight = model.model.layers[1].mlp.gate_proj.weight  # shared
    found = {f"{type(parent).__name__}.{name}" for parent, name, _ in linear_layers(model)}
    assert found == {
        *(f"LlamaAttention.{part}_proj" for part in "qkvo"),
        *("LlamaMLP.up_proj", "LlamaMLP.down_proj"),
    }
    assert len(list(linear_layers(model))) == 14 - 3


def test_a_model_without_linear_layers_is_refused() -> None:
    model: Any = SimpleNamespace(
        get_output_embeddings=lambda: None,
        named_parameters=lambda **_: [],
        named_modules=lambda: [],
    )
    with pytest.raises(ConfigurationError, match="has no linear layer below its output layer"):
        packed_(model, torch.device("cpu"))


@pytest.mark.slow
@there
@pytest.mark.filterwarnings("ignore")  # transformers' own, of some architectures
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_trained_and_merged(name: str) -> None:
    """Experts, recurrent layers, and layers whose weights are read past them."""
    model = random_model(name, tiny.tokenizer()).eval()
    if name in ("Mamba", "Mamba-2", "FalconMamba", "Falcon-H1"):
        pytest.skip("peft puts no adapter into it (tests/models/test_lora.py)")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    count = sum(weight.numel() for weight in model.parameters())
    adapter = Adapter(model, QLORA, seed=0)
    own = sum(weight.numel() for weight in adapter.parameters())
    assert weights_in(model) == count + own
    model.to(DEVICE)
    trained(adapter)
    unmerged, alone = logits(model), logits(adapter.base)
    adapter.merge()
    assert relative_error(logits(model), unmerged) < 5e-6
    assert relative_error(unmerged, alone) > 1e-4
    after = model.state_dict()
    assert {name: weight.shape for name, weight in after.items()} == {
        name: weight.shape for name, weight in before.items()
    }


# A device without room for the whole model


@there
def test_layers_that_wait_elsewhere_compute_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dense = moved_away(Adapter(a_model("gpt2"), QLORA, seed=0))
    dense.merge()
    monkeypatch.setattr("unlearn.models.lora.lacks_room", lambda *_: True)
    monkeypatch.setattr("unlearn.models.streaming.lacks_room", lambda *_: True)
    waiting = moved_away(Adapter(a_model("gpt2"), QLORA, seed=0))
    waiting.merge()
    whole = moved_(tiny.model("gpt2"), DEVICE)
    for model, expected in ((waiting.model, dense.model), (whole, a_model("gpt2"))):
        layer = model.transformer.h[0].attn.c_attn
        assert layer.weight.device.type == "cpu" and layer.bias.device.type == DEVICE.type
        assert relative_error(logits(model), logits(expected)) < 1e-6
        assert layer.weight.device.type == "cpu"
        model.save_pretrained(tmp_path)
        again = hf.AutoModelForCausalLM.from_pretrained(tmp_path).to(DEVICE).eval()
        assert relative_error(logits(again), logits(expected)) < 1e-6


# What the plan says


def kept(model: Any) -> int:
    """The bytes of a model's weights as they lie in memory."""
    packed = [part for part in model.modules() if isinstance(part, Linear4bit)]
    tensors = [*model.parameters(), *(one for part in packed for one in part.buffers())]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


LLAMA: dict[str, Callable[[], Any]] = {
    "tied": lambda: tiny.model().config,
    "of odd sizes": lambda: hf.LlamaConfig(
        vocab_size=301,
        hidden_size=60,
        intermediate_size=77,
        num_hidden_layers=3,
        num_attention_heads=6,
        tie_word_embeddings=False,
        attention_bias=True,
    ),
}


@there
@pytest.mark.parametrize("weight", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize("shape", LLAMA)
def test_the_plan_counts_the_bytes_that_are_stored(shape: str, weight: int) -> None:
    config = LLAMA[shape]()
    recipe = Recipe("QLoRA", weight=weight, adapter=QLORA)
    found = footprint(config, recipe, Rows(2, 16, 8), autocast=False, checkpointing=False)
    dtype = torch.float32 if weight == FLOAT32 else torch.bfloat16
    model = hf.AutoModelForCausalLM.from_config(config, dtype=dtype).to(DEVICE)
    Adapter(model, QLORA, seed=0)
    assert found.weights == kept(model)


def test_8_billion_weights_are_the_linear_layers_in_4_bits_and_the_rest_in_bfloat16() -> None:
    """Without bitsandbytes: `unlearn --plan` says it where nothing is installed."""
    recipe = Recipe("QLoRA", weight=BFLOAT16, adapter=AdapterConfig(quantize=Quantize.nf4))
    found = footprint(LLAMA_8B, recipe, Rows(1, 64, 32), autocast=False, checkpointing=True)
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    adapter = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336))
    expected = NF4 * linear + 2 * (2 * 128256 * 4096 + 65 * 4096) + 4 * adapter
    assert found.weights == pytest.approx(expected, rel=1e-4)
    assert found.gradients == (4 * adapter, 4 * adapter)
    assert found.unpacked == 2 * 4096 * 14336
    assert held(8_030_261_248, recipe) < found.held  # which is what no card can do without


# What is refused before weights load


def test_without_bitsandbytes_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda _: None)
    (found,) = adapter_problems_of(ModelConfig(adapter=QLORA))
    assert found.startswith("model.adapter.quantize: nf4 needs bitsandbytes: pip install ")
    with pytest.raises(ConfigurationError, match="needs bitsandbytes"):
        rounded_(tiny.model(), torch.device("cpu"))


def test_a_device_that_it_was_not_tried_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda _: object())
    assert packing_problems(torch.device("cpu")) == packing_problems(torch.device("cuda")) == []
    (found,) = packing_problems(torch.device("mps"))
    assert "the model is on the device mps" in found


def test_an_adapter_that_fits_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda _: object())
    assert adapter_problems_of(ModelConfig(adapter=QLORA, device="cpu")) == []


@there
def test_what_bitsandbytes_says_of_a_device_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("bitsandbytes.functional.quantize_4bit", broken)
    with pytest.raises(ConfigurationError, match=r"cannot pack on the device .*no kernel image"):
        Adapter(a_model(), QLORA, seed=0)
