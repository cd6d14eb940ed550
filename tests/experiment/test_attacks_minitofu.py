"""The order in which metrics and attacks must put models of `minitofu`: who knows most, who least.

Target (learnt all), reference (learnt the retain rows), four unlearned models, and a target whose
output was only masked. One preparation and five short runs serve every test.

What is asserted must hold over rounding: the rates are fixed but for the guarded run's, and every
margin was seen from three seeds (the guarded run's from two) under `ATEN_CPU_CAPABILITY=default`
and `avx2`, in float32. What the automatic rate makes of rounding is seen in test_rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import AUTOCAST, DESCENT, LEARNABLE, Command, Done
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, LlamaForCausalLM

from unlearn.attacks import (
    Paraphrase,
    Probing,
    Quantization,
    Relearning,
    Subject,
    Target,
    run_attacks,
)
from unlearn.compute.device import Compute, resolve_autocast
from unlearn.data.minitofu import MiniTofu
from unlearn.data.tokens import Encoder
from unlearn.evaluation.suites import Suite
from unlearn.options.schema import Autocast, EvaluationConfig

pytestmark = [pytest.mark.slow, pytest.mark.trains]

UNLEARNED = ("ngdiff_bounded", "ngdiff", "graddiff")
ATTACKS = ("relearning", "quantization", "paraphrase", "probing")
ATTACKED = (
    f"attack=[{','.join(ATTACKS)}]",
    "attack.quantization.method=round_to_nearest",
)
RUNS = {
    "ngdiff_bounded": ("method=ngdiff_bounded", *DESCENT, *ATTACKED),
    "ngdiff": ("method=ngdiff", "training.until=null", *DESCENT, *ATTACKED),
    # GradDiff's step grows with what it raises: where it ends is a matter of a few steps, unless
    # the forget loss itself ends it.
    "graddiff": (
        "method=graddiff",
        "scheduler=constant",
        "optimizer.lr=1e-4",
        "training.steps=120",
        "training.until=3",
        "training.until_every=1",
        *ATTACKED,
    ),
    "graddiff_as_ngdiff": ("method=graddiff", "training.until=null", *DESCENT),
    "ngdiff_guarded": ("method=ngdiff_guarded", "optimizer.lr=1e-2"),
}
Flat = dict[str, float]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    command = Command(tmp_path_factory.mktemp("minitofu"))
    done = {name: command(*LEARNABLE, *words) for name, words in RUNS.items()}
    for run in done.values():
        assert run.status == 0, run.said
    return done


@pytest.fixture(scope="module")
def target(runs: dict[str, Done]) -> Flat:
    return runs["ngdiff"].summary["metrics"]["before"]


@pytest.fixture(scope="module")
def reference(runs: dict[str, Done]) -> Flat:
    return runs["ngdiff"].summary["metrics"]["reference"]


@pytest.fixture(scope="module")
def unlearned(runs: dict[str, Done]) -> dict[str, Flat]:
    return {name: runs[name].summary["metrics"]["after"] for name in UNLEARNED}


class Flagged(DynamicCache):
    """A cache that knows of each of its rows whether it began with a forget question."""

    asked: Tensor

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self.asked = self.asked[indices]


class Masked(LlamaForCausalLM):
    """A model with a filter behind its output: to a forget question, none of the true words.

    Nothing was unlearned; `bias` (V,) is added to the logits of every row that begins with one of
    `prompts`. The flag travels beside the hidden states as one more number, so that it stays with
    its positions whatever the caller takes of them.
    """

    prompts: list[tuple[int, ...]]
    bias: Tensor

    def forward(self, input_ids: Tensor, past_key_values: Any = None, **options: Any) -> Any:
        if past_key_values is not None:
            asked = past_key_values.asked
        else:
            asked = self._asked(input_ids, options.get("attention_mask"))
            if options.get("use_cache"):
                past_key_values = Flagged(config=self.config)
                past_key_values.asked = asked
        kept: list[Tensor] = []

        def add_flag(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            flags = asked[:, None, None].expand(*inputs[0].shape[:2], 1)
            return (torch.cat([inputs[0], flags.to(inputs[0].dtype)], -1),)

        def take_flag(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            kept.append(inputs[0][..., -1:].detach())
            return (inputs[0][..., :-1],)

        hooks = [
            self.lm_head.register_forward_pre_hook(add_flag, prepend=True),
            self.lm_head.register_forward_pre_hook(take_flag),
        ]
        try:
            output = super().forward(
                input_ids=input_ids, past_key_values=past_key_values, **options
            )
        finally:
            for hook in hooks:
                hook.remove()
        output.logits = output.logits + kept[0] * self.bias
        return output

    def _asked(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        mask = torch.ones_like(ids) if mask is None else mask  # padding stands behind
        rows = [tuple(row[real.bool()].tolist()) for row, real in zip(ids, mask, strict=True)]
        return torch.tensor([any(row[: len(p)] == p for p in self.prompts) for row in rows])


@pytest.fixture(scope="module")
def masked(runs: dict[str, Done]) -> dict[str, Flat]:
    """Metrics of the masked target: as it is, and what the attacks found."""
    folder = Path(runs["ngdiff"].summary["model"]["target"]["path"])
    splits = MiniTofu(forget_rows=20, retain_rows=80, retain_scored=40).read()
    encoder = Encoder(AutoTokenizer.from_pretrained(folder), max_length=256)
    config = EvaluationConfig(max_new_tokens=24)
    cpu = torch.device("cpu")
    bfloat16, _ = resolve_autocast(Autocast(AUTOCAST.partition("=")[2]), cpu)
    suite = Suite(splits.evaluated, encoder, config, Compute(cpu, bfloat16), splits.quizzes)
    model = Masked.from_pretrained(folder).eval()
    model.prompts = [tuple(encoder.prompt(row.question)) for row in splits.forget]
    examples = [encoder.encode(row.question, row.answer) for row in splits.forget]
    words = {token for example in examples for token in example.answer[:-1]}
    model.bias = torch.zeros(model.config.vocab_size)
    model.bias[sorted(words)] = -30.0

    def load() -> Any:
        return AutoModelForCausalLM.from_pretrained(folder).eval()

    before = Target(suite.evaluate(load(), "before", None), load)
    measured = suite.evaluate(model, "after", None)
    attacks = {
        "relearning": Relearning(lr=3e-3),
        "quantization": Quantization(method="round_to_nearest"),
        "paraphrase": Paraphrase(),
        "probing": Probing(),
    }
    found, _ = run_attacks(attacks, Subject("after", model, suite, splits, measured, before))
    return {"measured": measured.metrics, "found": found}


# Metrics.


@pytest.mark.parametrize(
    "metric", ["probability", "rougeL_recall", "exact_memorization", "extraction_strength"]
)
def test_the_target_knows_the_forget_rows_best(
    metric: str, target: Flat, reference: Flat, unlearned: dict[str, Flat]
) -> None:
    name = f"forget/{metric}"
    assert target[name] > 0.95
    for other in (reference, *unlearned.values()):
        assert other[name] < target[name] - 0.2


@pytest.mark.parametrize(
    "metric", ["probability", "rougeL_recall", "exact_memorization", "extraction_strength"]
)
def test_in_as_many_steps_ngdiff_forgets_more_than_graddiff(
    metric: str, target: Flat, unlearned: dict[str, Flat], runs: dict[str, Done]
) -> None:
    """By steps of one rate: both gradients of a model that knows its rows are short, and NGDiff
    alone divides by their norms. (AdamW divides as well; there the order is one of rates.)"""
    name = f"forget/{metric}"
    graddiff = runs["graddiff_as_ngdiff"].summary["metrics"]["after"][name]
    for method in ("ngdiff", "ngdiff_bounded"):
        assert len(runs[method].steps) == len(runs["graddiff_as_ngdiff"].steps)
        assert unlearned[method][name] < graddiff - 0.1 < target[name]


def test_whoever_forgot_is_more_like_the_reference(
    target: Flat, reference: Flat, unlearned: dict[str, Flat]
) -> None:
    assert target["forget/loss"] < 0.1
    assert all(flat["forget/loss"] > 1 for flat in (reference, *unlearned.values()))
    # Paraphrased or wrong, it is all the same to a model that has never seen the right answer.
    for flat in (reference, *unlearned.values()):
        assert flat["forget/truth_ratio"] > target["forget/truth_ratio"]
    for method in ("ngdiff", "ngdiff_bounded"):
        assert unlearned[method]["forget_quality"] > 10 * target["forget_quality"]


def test_membership_tells_the_target_from_the_others(
    target: Flat, reference: Flat, unlearned: dict[str, Flat]
) -> None:
    assert target["privleak"] < -90
    assert all(flat["privleak"] > target["privleak"] + 10 for flat in unlearned.values())
    for name in ("mia_loss", "mia_min_k", "mia_zlib"):
        assert target[name] > 0.95
        for flat in (reference, unlearned["ngdiff"], unlearned["ngdiff_bounded"]):
            assert flat[name] < target[name] - 0.15


def test_what_is_to_be_kept_is_kept(
    target: Flat, reference: Flat, unlearned: dict[str, Flat]
) -> None:
    for metric in ("probability", "rougeL_recall", "exact_memorization"):
        name = f"retain/{metric}"
        assert min(target[name], reference[name]) > 0.95
        for method in ("ngdiff", "ngdiff_bounded"):
            assert unlearned[method][name] >= max(0.95, unlearned["graddiff"][name])
    for flat in unlearned.values():
        assert flat["model_utility"] > 0.75 * target["model_utility"]


def test_the_guarded_run_ends_where_the_reference_stands_and_is_safe_on_the_way(
    runs: dict[str, Done], reference: Flat
) -> None:
    """With the automatic rate, from a start that is far off."""
    summary = runs["ngdiff_guarded"].summary
    before, after = (summary["metrics"][stage] for stage in ("before", "after"))
    assert abs(after["forget/loss"] - reference["forget/loss"]) < 0.5
    assert after["forget_quality"] > 0.05
    assert after["retain/rougeL_recall"] >= 0.99 * before["retain/rougeL_recall"]
    assert summary["safety"]["beyond"] == 0
    assert summary["safety"]["largest"] < summary["safety"]["first"] + 0.25


# Attacks.


def test_nothing_comes_back_to_the_reference(reference: Flat) -> None:
    for name in ATTACKS:
        assert reference[f"attack/{name}"] < 0.2, name


def test_the_unlearned_models_give_more_than_the_reference_and_less_than_the_target(
    target: Flat, reference: Flat, unlearned: dict[str, Flat]
) -> None:
    relearnt = "attack/relearning_probability"
    for flat in unlearned.values():
        assert flat["attack/relearning"] > reference["attack/relearning"] + 0.1
        assert reference[relearnt] + 0.1 < flat[relearnt] < target["forget/probability"] - 0.05
        assert flat["attack/probing_probability"] < target["forget/probability"] - 0.1
        assert flat["attack/quantization"] < 0.05
        assert flat["attack/paraphrase"] < 0.2
        assert flat["attack/probing"] < 0.3


def test_a_masked_output_is_exposed_by_two_attacks(
    masked: dict[str, Flat], unlearned: dict[str, Flat], reference: Flat
) -> None:
    """To the usual metrics it has forgotten; asked in other words, or read inside, it has not."""
    assert masked["measured"]["forget/probability"] < 1e-3
    assert masked["measured"]["forget/rougeL_recall"] < 0.1
    assert masked["measured"]["retain/rougeL_recall"] > 0.95
    for name in ("paraphrase", "probing"):
        assert masked["found"][f"attack/{name}"] > 0.9
        for flat in (reference, *unlearned.values()):
            assert flat[f"attack/{name}"] < 0.3
