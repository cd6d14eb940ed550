"""model/adapter=lora: against definitions in float64, and what stays as it was below it."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from support import tiny
from support.resources import FakeResources
from support.tiny import COMPUTE, batch, every_architecture, flat, relative_error
from torch import Tensor
from torch.func import functional_call

from benchmarks.architectures import ARCHITECTURES, random_model
from benchmarks.methods import INTERVENTIONS, build_method, method_names, write_alternatives
from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.gradients import gramian
from unlearn.data.batches import PairedBatches
from unlearn.data.minitofu import MiniTofu
from unlearn.data.splits import Splits
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError, UnlearnError
from unlearn.evaluation.gradient_norms import gradient_norms
from unlearn.evaluation.scoring import Scored
from unlearn.forward.answers import answer_logits, hidden_states
from unlearn.models import lora
from unlearn.models.load import load_weights
from unlearn.models.lora import Adapter, adapter_problems_of
from unlearn.models.tiny import tiny_tokenizer
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.objectives.kl import KullbackLeibler
from unlearn.objectives.rmu import RMU
from unlearn.options.schema import AdapterConfig, ModelConfig, TinyConfig, TrainingConfig
from unlearn.schedulers import Constant, Scheduler
from unlearn.training.method import Method
from unlearn.training.resources import RunResources
from unlearn.training.tasks import Task, task_gradient, weighted_gradient
from unlearn.training.trainer import Trainer
from unlearn.weightings import NGDiff

pytest.importorskip("peft", reason="needs the extra lora")

RANK, ALPHA = 2, 3
SMALL = AdapterConfig(rank=RANK, alpha=ALPHA)
FORGET, RETAIN = range(3), range(3, 8)


def adapted(a_model: Any, options: AdapterConfig = SMALL) -> Adapter:
    """An adapter whose B is not zero, as one that has been trained for a while."""
    adapter = Adapter(a_model, options, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapter.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator).to(weight.dtype)
    return adapter


class ByHand:
    """W + (α/r)·B·A of every linear layer but the output, in float64, and the NLL row by row."""

    def __init__(self, architecture: str, adapter: Adapter) -> None:
        self.plain = tiny.model(architecture, dtype=torch.float64).requires_grad_(False)
        self.conv1d = architecture == "gpt2"  # whose W is (in, out)
        pairs: dict[str, dict[str, Tensor]] = {}
        for name, weight in adapter.weights.items():
            layer, which = name.removeprefix("base_model.model.").split(".lora_")
            pairs.setdefault(layer, {})[which[0]] = weight.detach().double().clone()
        self.pairs = {layer: (pair["A"], pair["B"]) for layer, pair in pairs.items()}
        self.leaves = [part.requires_grad_() for pair in self.pairs.values() for part in pair]

    def loss(self, rows: range) -> Tensor:
        """The mean NLL of every answer token of the rows."""
        weights = {}
        for layer, (a, b) in self.pairs.items():
            product = ALPHA / RANK * b @ a
            frozen = self.plain.get_parameter(f"{layer}.weight")
            weights[f"{layer}.weight"] = frozen + (product.T if self.conv1d else product)
        total, count = torch.zeros((), dtype=torch.float64), 0
        for row in rows:
            example = tiny.examples()[row]
            ids = torch.tensor([example.prompt + example.answer])
            logits = functional_call(self.plain, weights, (ids,)).logits[0]
            log_p = logits[len(example.prompt) - 1 : -1].log_softmax(-1)
            total = total - log_p.gather(1, torch.tensor(example.answer)[:, None]).sum()
            count += len(example.answer)
        return total / count

    def gradient(self, rows: range) -> list[Tensor]:
        return list(torch.autograd.grad(self.loss(rows), self.leaves))


def paired(forget: range = FORGET, retain: range = RETAIN) -> PairedBatches:
    examples = tiny.examples()
    return PairedBatches(
        [examples[row] for row in forget], [examples[row] for row in retain], 8, None, seed=0
    )


def trainer_of(
    adapter: Adapter, method: Method, scheduler: Scheduler, optimizer: Any, batches: Any = None
) -> Trainer:
    plan: Any = SimpleNamespace(
        method=method, scheduler=scheduler, optimizer=optimizer, training=TrainingConfig(steps=4)
    )
    return Trainer(adapter.model, plan, batches or paired(), COMPUTE)


NGDIFF = Method(Ascent(), NegativeLogLikelihood(), NGDiff(), name="ngdiff", interventions={})


# The mathematics


@every_architecture
def test_gradients_gramian_and_a_step_are_those_of_the_definition(architecture: str) -> None:
    adapter = adapted(tiny.model(architecture, dtype=torch.float64))
    hand = ByHand(architecture, adapter)
    trained = [p for p in adapter.model.parameters() if p.requires_grad]
    assert [id(p) for p in trained] == [id(p) for p in adapter.parameters()]
    assert len(trained) == len(hand.leaves) > 8
    retain, forget = (
        task_gradient(adapter.model, Task(objective, [batch(rows)]), trained, COMPUTE)[1]
        for objective, rows in ((NegativeLogLikelihood(), RETAIN), (Ascent(), FORGET))
    )
    g_retain = hand.gradient(RETAIN)
    g_forget = [-part for part in hand.gradient(FORGET)]
    assert relative_error(flat(retain), flat(g_retain)) < 1e-10
    assert relative_error(flat(forget), flat(g_forget)) < 1e-10
    r, f = flat(g_retain), flat(g_forget)
    expected = torch.stack([r @ r, r @ f, r @ f, f @ f]).reshape(2, 2)
    torch.testing.assert_close(gramian(retain, forget), expected, rtol=1e-6, atol=0)

    sgd = partial(torch.optim.SGD, lr=0.01)
    trainer_of(adapter, NGDIFF, Constant(), sgd).step()
    stepped = torch.cat([leaf.detach().reshape(-1) for leaf in hand.leaves])
    stepped = stepped - 0.01 * (r / r.norm() + f / f.norm())
    assert relative_error(flat([*adapter.parameters()]).detach(), stepped) < 1e-8


@every_architecture
def test_training_leaves_the_base_bit_by_bit_and_merging_says_the_same(architecture: str) -> None:
    original = tiny.model(architecture)
    adapter = Adapter(tiny.model(architecture), SMALL, seed=0)
    begun = answer_logits(adapter.model, batch(RETAIN))[0]
    assert torch.equal(begun, answer_logits(original, batch(RETAIN))[0])
    adamw = partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)
    trainer = trainer_of(adapter, NGDIFF, Constant(), adamw)
    for _ in range(4):
        trainer.step()

    weights = {n.replace(".base_layer", ""): p for n, p in adapter.model.named_parameters()}
    for name, weight in original.named_parameters():
        assert torch.equal(weights[name], weight), name
    with torch.no_grad():
        logits = answer_logits(adapter.model, batch(RETAIN))[0]
        alone = answer_logits(adapter.base, batch(RETAIN))[0]
        states = hidden_states(adapter.base, batch(RETAIN), 1)
        assert torch.equal(alone, answer_logits(original, batch(RETAIN))[0])
        assert torch.equal(states, hidden_states(original, batch(RETAIN), 1))
        assert (logits - alone).abs().max() > 1e-3, "nothing was trained"
        adapter.merge()
        merged = answer_logits(adapter.model, batch(RETAIN))[0]
    assert relative_error(merged, logits) < 1e-6
    shapes = {name: weight.shape for name, weight in original.state_dict().items()}
    assert {name: weight.shape for name, weight in adapter.model.state_dict().items()} == shapes
    assert all(weight.requires_grad for weight in adapter.model.parameters())


def test_the_adapter_is_drawn_by_its_seed_and_disturbs_no_generator() -> None:
    state = torch.get_rng_state()
    one, same, other = (Adapter(tiny.model(), SMALL, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(flat([*one.parameters()]), flat([*same.parameters()]))
    assert not torch.equal(flat([*one.parameters()]), flat([*other.parameters()]))


def test_recomputed_activations_give_the_same_gradient() -> None:
    found = []
    for recompute in (False, True):
        model = tiny.model()
        if recompute:
            recompute_activations(model)
        adapter = adapted(model)
        trained = list(adapter.parameters())
        task = Task(NegativeLogLikelihood(), [batch(RETAIN)])
        found.append(flat(task_gradient(model, task, trained, COMPUTE)[1]))
        assert all(not part.training for layer in adapter.layers for part in layer.modules())
    assert relative_error(found[1], found[0]) < 1e-6


def test_bfloat16_below_leaves_the_adapter_in_float32() -> None:
    adapter = adapted(tiny.model(dtype=torch.bfloat16))
    trained = list(adapter.parameters())
    assert {p.dtype for p in trained} == {torch.float32}
    gradient = task_gradient(
        adapter.model, Task(NegativeLogLikelihood(), [batch(RETAIN)]), trained, COMPUTE
    )[1]
    exact = adapted(tiny.model())
    task = Task(NegativeLogLikelihood(), [batch(RETAIN)])
    expected = task_gradient(exact.model, task, list(exact.parameters()), COMPUTE)[1]
    assert relative_error(flat(gradient), flat(expected)) < 0.1  # of bfloat16's 8 bits


REFUSED = ("Mamba", "Mamba-2", "FalconMamba", "Falcon-H1")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers' own, of some architectures
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_trained_and_merged_or_refused(name: str, tmp_path: Path) -> None:
    """Layers of experts, recurrent ones, and those whose weights are read past their adapter."""
    model = random_model(name, tiny.tokenizer()).eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    if name in REFUSED:
        model.config.save_pretrained(tmp_path)
        assert "cannot have this adapter" in problem(SMALL, path=str(tmp_path))
        return
    adapter = Adapter(model, SMALL, seed=0)
    sgd = partial(torch.optim.SGD, lr=0.1)
    trainer = trainer_of(adapter, NGDIFF, Constant(), sgd)
    for _ in range(3):
        trainer.step()
    with torch.no_grad():
        trained = answer_logits(model, batch(RETAIN))[0]
        alone = answer_logits(adapter.base, batch(RETAIN))[0]
        adapter.merge()
        merged = answer_logits(model, batch(RETAIN))[0]
    assert relative_error(merged, trained) < 2e-6
    assert relative_error(trained, alone) > 1e-4
    after = model.state_dict()
    assert after.keys() == before.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert 0 < len(moved) <= len(adapter.layers)


# The frozen target


def resources_of(adapter: Adapter, splits: Splits | None = None, encoder: Any = None) -> Any:
    forget, retain = tiny.ROWS[:3], tiny.ROWS[3:]
    evaluated = {"forget": forget, "retain": retain}
    return RunResources(
        adapter.model,
        splits or Splits("test", forget, retain, evaluated),
        encoder or Encoder(tiny.tokenizer()),
        COMPUTE,
        target_sha256=None,
        load_reference=lambda: adapter.base,
        adapter=adapter,
    )


def test_kl_compares_with_the_base_and_no_weight_is_kept_twice() -> None:
    original = tiny.model()
    adapter = adapted(tiny.model())
    resources = resources_of(adapter)
    assert resources.frozen_target() is adapter.base
    kl, copied_kl = KullbackLeibler(), KullbackLeibler()
    kl.prepare(resources.of_task(resources.splits.retain), Ascent())
    copied_kl.prepare(FakeResources(adapter.model, target=original), Ascent())
    trained = list(adapter.parameters())
    one, other = (
        task_gradient(adapter.model, Task(objective, [batch(RETAIN)]), trained, COMPUTE)
        for objective in (kl, copied_kl)
    )
    assert one[0] > 0.01
    torch.testing.assert_close(one[0], other[0])
    assert relative_error(flat(one[1]), flat(other[1])) < 1e-6
    # In one backward pass the adapter is switched off between the two forward passes of a graph.
    tasks = Task(kl, [batch(RETAIN)]), Task(Ascent(), [batch(FORGET)])
    both = weighted_gradient(adapter.model, *tasks, (0.5, 0.5), trained, COMPUTE)[2]
    swapped = weighted_gradient(adapter.model, *tasks[::-1], (0.5, 0.5), trained, COMPUTE)[2]
    apart = task_gradient(adapter.model, tasks[1], trained, COMPUTE)[1]
    expected = 0.5 * flat(one[1]) + 0.5 * flat(apart)
    assert relative_error(flat(both), expected) < 1e-5
    assert relative_error(flat(swapped), expected) < 1e-5


def test_the_base_answers_as_the_original() -> None:
    adapter, original = adapted(tiny.model()), tiny.model()
    ids = torch.tensor([tiny.examples()[0].prompt])
    options = {"max_new_tokens": 6, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(adapter.base.generate(ids, **options), original.generate(ids, **options))
    assert adapter.base.config is adapter.model.config
    assert all(p.requires_grad for p in adapter.parameters())


def test_the_gradient_norm_is_that_of_the_merged_model() -> None:
    adapter = adapted(tiny.model())
    answers = [Scored("forget", 0, "answer", 0, tiny.examples()[1])]
    before = gradient_norms(adapter.model, answers, COMPUTE)
    assert [p.requires_grad for p in adapter.parameters()] == [True] * len(adapter.weights)
    adapter.merge()
    assert before == pytest.approx(gradient_norms(adapter.model, answers, COMPUTE), rel=1e-5)


# What is written


@every_architecture
def test_what_is_written_is_an_adapter_of_peft(architecture: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny.model(architecture).save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    adapter = Adapter(tiny.model(architecture), SMALL, seed=0, base=str(base))
    adapter.take(_written(adapted(tiny.model(architecture)), tmp_path / "state"))
    with torch.no_grad():
        expected = answer_logits(adapter.model, batch(RETAIN))[0]
        merged = load_weights(
            ModelConfig(path=str(_written(adapter, tmp_path / "lora"))), str(tmp_path / "lora")
        )
        assert relative_error(answer_logits(merged.eval(), batch(RETAIN))[0], expected) < 1e-6
    adapter.merge()
    again = _written(adapter, tmp_path / "again") / lora.WEIGHTS
    assert again.read_bytes() == (tmp_path / "lora" / lora.WEIGHTS).read_bytes()


def test_the_adapter_of_experts_is_read_back(tmp_path: Path) -> None:
    """One of a layer whose experts are one tensor (E, out, in) lies in another form."""
    base = tmp_path / "base"
    model = random_model("Mixtral", tiny.tokenizer())
    model.save_pretrained(base)
    adapter = Adapter(model.eval(), SMALL, seed=0, base=str(base))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapter.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
        expected = answer_logits(adapter.model, batch(RETAIN))[0]
        folder = _written(adapter, tmp_path / "lora")
        merged = load_weights(ModelConfig(path=str(folder)), str(folder)).eval()
        assert relative_error(answer_logits(merged, batch(RETAIN))[0], expected) < 1e-6


def _written(adapter: Adapter, folder: Path) -> Path:
    adapter.save_pretrained(folder)
    return folder


def test_the_adapter_of_another_rank_is_not_taken(tmp_path: Path) -> None:
    folder = _written(adapted(tiny.model(), AdapterConfig(rank=3)), tmp_path)
    with pytest.raises(UnlearnError, match="belongs to another model"):
        adapted(tiny.model()).take(folder)


# What is refused before weights load


def problem(options: AdapterConfig, **config: Any) -> str:
    (found,) = adapter_problems_of(ModelConfig(adapter=options, **config))
    return found


def test_an_adapter_that_fits_is_no_problem() -> None:
    assert adapter_problems_of(ModelConfig(adapter=SMALL)) == []
    assert adapter_problems_of(ModelConfig()) == []


def test_layers_that_are_not_there_are_named() -> None:
    found = problem(AdapterConfig(target_modules=["query"]))
    assert found.startswith("model.adapter.target_modules: ['query']: a LlamaForCausalLM cannot")


def test_a_tied_layer_is_refused() -> None:
    found = problem(AdapterConfig(target_modules=["lm_head"]), tiny=TinyConfig(layers=1))
    assert "the weights of lm_head are another layer's too (tied)" in found


def test_an_architecture_without_is_refused_by_name(tmp_path: Path) -> None:
    hf.MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=300).save_pretrained(tmp_path)
    found = problem(SMALL, path=str(tmp_path))
    assert "MambaForCausalLM cannot have this adapter" in found


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    found = problem(SMALL)
    assert found.startswith("model.adapter: LoRA needs peft: pip install 'peft")


def test_a_base_that_no_adapter_could_name_is_refused(tmp_path: Path) -> None:
    folder = _written(adapted(tiny.model()), tmp_path / "lora")
    tiny.model().save_pretrained(tmp_path / "base")
    found = problem(AdapterConfig(save=True), path=str(folder), base=str(tmp_path / "base"))
    assert found.startswith("model.adapter.save: true, but")


def test_no_trained_layer_below_the_one_of_rmu_is_refused() -> None:
    options = AdapterConfig(rank=2, target_modules=["layers.1.mlp.up_proj"])
    adapter = adapted(tiny.model(), options)
    task = resources_of(adapter).of_task(tiny.ROWS[:3])
    with pytest.raises(ConfigurationError, match="no layer up to it has anything"):
        RMU(layer=1).prepare(task, NegativeLogLikelihood())
    RMU(layer=2).prepare(task, NegativeLogLikelihood())


# Every method


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Splits, Path]:
    splits = MiniTofu(subset="forget10", forget_rows=4, retain_rows=8).read()
    folder = tmp_path_factory.mktemp("data")
    return splits, write_alternatives(splits, folder / "alternatives.jsonl")


def two_steps(method: Method, splits: Splits) -> list[dict[str, Any]]:
    """Two steps of a method with an adapter; nothing else may move."""
    rows = [*splits.forget, *splits.retain]
    tokenizer = tiny_tokenizer((text for row in rows for text in (row.question, row.answer)), 300)
    torch.manual_seed(0)
    shape = lora.tiny_shape(
        TinyConfig(hidden_size=16, heads=2, layers=2, intermediate_size=32),
        vocab_size=len(tokenizer),
        initializer_range=0.2,
    )
    adapter = Adapter(hf.LlamaForCausalLM(shape).eval(), SMALL, seed=0)
    frozen = copy.deepcopy([p for p in adapter.model.parameters() if not p.requires_grad])
    begun = flat([*adapter.parameters()]).detach()
    resources = resources_of(adapter, splits, Encoder(tokenizer))
    forget, retain = (resources.of_task(part) for part in (splits.forget, splits.retain))
    method.forget.check_rows(splits.forget)
    method.forget.prepare(forget, method.retain)
    method.retain.prepare(retain, method.forget)
    batches = PairedBatches(forget.examples, retain.examples, 4, None, seed=0)
    adamw = partial(torch.optim.AdamW, lr=1e-3)
    trainer = trainer_of(adapter, method, Constant(), adamw, batches)
    lines = [trainer.step() for _ in range(2)]
    now = [p for p in adapter.model.parameters() if not p.requires_grad]
    assert all(map(torch.equal, now, frozen))
    moved = not torch.equal(flat([*adapter.parameters()]).detach(), begun)
    assert moved == any(line["train/direction_norm"] > 0 for line in lines)
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("name", method_names())
def test_every_method_takes_steps_with_it(name: str, data: tuple[Splits, Path]) -> None:
    splits, alternatives = data
    lines = two_steps(build_method(name, alternatives), splits)
    assert any(line["train/direction_norm"] > 0 for line in lines)


@pytest.mark.parametrize(
    "name", sorted({*INTERVENTIONS} - {"saliency_mask", "task_vector", "undo"})
)
def test_interventions_take_steps_with_it(name: str, data: tuple[Splits, Path]) -> None:
    splits, alternatives = data
    two_steps(build_method("graddiff", alternatives, f"method/interventions=[{name}]"), splits)
