"""Membership attacks and extraction strength: against other implementations, by hand, on models."""

from __future__ import annotations

import copy
import math
import zlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import mannwhitneyu
from support import tiny
from support.tiny import PAD, every_architecture
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn.data.batches import collate
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder
from unlearn.errors import UnlearnError
from unlearn.evaluation.gradient_norms import gradient_norms
from unlearn.evaluation.kept import evaluate_once
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.scoring import Scored, answers_to_score, score
from unlearn.evaluation.suites import Suite
from unlearn.evaluation.summarising import summarise
from unlearn.evaluation.token_scores import vocabulary_moments
from unlearn.forward import predicted
from unlearn.metrics.catalogue import Catalogue
from unlearn.metrics.memorization import exact_memorization, extraction_strength
from unlearn.metrics.privacy import (
    auc,
    gradient_norm_scores,
    loss_scores,
    min_k_plus_plus_scores,
    min_k_scores,
    privleak,
    reference_scores,
    zlib_scores,
)
from unlearn.metrics.tofu import loss
from unlearn.models.fine_tune import fine_tune
from unlearn.options.schema import EvaluationConfig, FineTuningConfig
from unlearn.report.wording import grouped

pytestmark = pytest.mark.trains

LISTS = ["token_hits", "token_log_p", "token_mean_log_p", "token_variance_log_p"]
ATTACKS = ["loss", "zlib", "min_k", "min_k_plus_plus", "reference", "gradient_norm"]


def table(answers: list[dict[str, Any]]) -> pd.DataFrame:
    """A score table of true answers, from whatever columns a test needs."""
    rows = []
    for index, given in enumerate(answers):
        lists = {name: np.asarray(values) for name, values in given.items() if name in LISTS}
        length = len(next(iter(lists.values()))) if lists else 1
        row = {"split": "forget", "index": index, "kind": "answer", "number": 0}
        sums = {"nll_sum": -sum(given.get("token_log_p", [0.0])), "tokens": length}
        hits = {"hits": int(sum(given.get("token_hits", [0])))}
        rows.append(row | sums | hits | given | lists)
    return pd.DataFrame(rows)


# AUC and privacy leakage


@pytest.mark.parametrize("seed", range(8))
def test_auc_is_that_of_scikit_learn_and_scipy_with_ties(seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(seed)
    sizes = random.integers(1, 40, 2)
    few_values = int(random.integers(2, 9))  # so that most scores are tied
    forget, holdout = (pd.Series(random.integers(0, few_values, n) / 7) for n in sizes)
    labels = np.repeat([0, 1], sizes)
    expected = roc_auc_score(labels, np.concatenate([forget, holdout]))
    assert auc(forget, holdout) == pytest.approx(expected, abs=1e-12)
    u = mannwhitneyu(holdout, forget).statistic
    assert auc(forget, holdout) == pytest.approx(u / sizes.prod(), abs=1e-12)


def test_auc_by_hand() -> None:
    learnt, unseen = pd.Series([0.1, 0.2]), pd.Series([3.0, 4.0, 5.0])
    assert auc(learnt, unseen) == 1.0
    assert auc(unseen, learnt) == 0.0
    assert auc(learnt, learnt) == 0.5
    assert auc(pd.Series([1.0, 2.0]), pd.Series([1.0])) == 0.25  # one tie, one lost
    assert auc(learnt, pd.Series([0.15, math.inf])) == 0.75  # infinity is merely high
    assert math.isnan(auc(pd.Series([0.1, math.nan]), unseen))


def test_privacy_leakage_has_the_orientation_of_muse() -> None:
    assert privleak(0.4, 0.4) == 0
    assert privleak(1.0, 0.5) == -100  # recites the forget rows: not unlearned
    assert privleak(0.0, 0.5) == 100  # forget rows stranger than any unseen one
    # MUSE's own number: retrained AUC 0.4772 on News, a model at 0.1, both ranked by likelihood.
    assert privleak(1 - 0.1, 1 - 0.4772) == pytest.approx(100 * (0.1 - 0.4772) / 0.4772)
    assert math.isnan(privleak(0.7, 1.0))


# Attacks by hand


def test_min_k_by_hand() -> None:
    rows = table(
        [
            {"token_log_p": [-1.0, -2.0, -3.0, -4.0, -5.0]},
            {"token_log_p": [-0.5, -6.0, -0.1]},
            {"token_log_p": [-7.0]},
        ]
    )
    # 40 % of 5 tokens are 2; of 3 tokens 1; of 1 token none, so the one there is
    assert min_k_scores(rows, 0.4).tolist() == pytest.approx([4.5, 6.0, 7.0])
    pd.testing.assert_series_equal(min_k_scores(rows, 1.0), loss_scores(rows), check_names=False)
    assert min_k_scores(rows, 1e-9).tolist() == [5.0, 6.0, 7.0]
    with pytest.raises(UnlearnError, match="above 0 up to 1"):
        min_k_scores(rows, 0.0)


def test_min_k_plus_plus_by_hand() -> None:
    rows = table(
        [
            {
                "token_log_p": [-1.0, -5.0, -2.0],
                "token_mean_log_p": [-2.0, -3.0, -2.0],
                "token_variance_log_p": [4.0, 1.0, 9.0],
            },
            {  # one token has all of p: z is 0 there, and −∞ at any other
                "token_log_p": [0.0, 0.0],
                "token_mean_log_p": [0.0, 0.0],
                "token_variance_log_p": [0.0, 0.0],
            },
            {
                "token_log_p": [0.0, -200.0],
                "token_mean_log_p": [0.0, 0.0],
                "token_variance_log_p": [0.0, 0.0],
            },
        ]
    )
    # z of the first row: ½, −2, 0
    assert min_k_plus_plus_scores(rows, 0.7).tolist() == [1.0, 0.0, math.inf]
    assert min_k_plus_plus_scores(rows, 0.4).tolist() == [2.0, 0.0, math.inf]


def test_the_other_attacks_by_hand() -> None:
    log_p = [[-1.0, -3.0], [-4.0]]
    rows = table(
        [
            {"token_log_p": values, "zlib_bytes": size, "gradient_norm": norm}
            for values, size, norm in zip(log_p, (10, 16), (0.5, 2.5), strict=True)
        ]
    )
    assert loss_scores(rows).tolist() == [2.0, 4.0]
    assert zlib_scores(rows).tolist() == [0.2, 0.25]
    assert gradient_norm_scores(rows).tolist() == [0.5, 2.5]
    theirs = table([{"token_log_p": [-0.5, -0.5]}, {"token_log_p": [-6.0]}])
    assert reference_scores(rows, theirs).tolist() == [1.5, -2.0]
    assert reference_scores(rows, theirs.iloc[::-1]).tolist() == [1.5, -2.0]
    with pytest.raises(UnlearnError, match="must cover the same questions"):
        reference_scores(rows, theirs.iloc[:1])


def test_a_row_whose_loss_is_not_finite_has_no_score() -> None:
    rows = table([{"token_log_p": [-1.0, -math.inf]}, {"token_log_p": [-1.0, -2.0]}])
    rows["token_mean_log_p"] = rows["token_variance_log_p"] = rows["token_log_p"].map(np.abs)
    rows["zlib_bytes"] = 5
    for scores in (
        loss_scores(rows),
        zlib_scores(rows),
        min_k_scores(rows, 0.4),
        min_k_plus_plus_scores(rows, 0.4),
    ):
        assert scores.isna().tolist() == [True, False]


# Extraction strength by hand

Y, N = True, False


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ([Y, Y, Y, Y], 1.0),  # nothing need be given
        ([N, Y, Y, Y], 3 / 4),  # 1 − 1/L: one token given, the rest follows
        ([Y, N, Y, Y], 2 / 4),
        ([N, N, N, Y], 1 / 4),
        ([Y, Y, Y, N], 0.0),  # the end itself is wrong
        ([N, N, N, N], 0.0),  # right nowhere: 0, not 1/L
        ([Y], 1.0),
        ([N], 0.0),
    ],
)
def test_extraction_strength_of_one_answer(hits: list[bool], expected: float) -> None:
    assert extraction_strength(table([{"token_hits": hits}])) == expected


def test_extraction_strength_is_a_mean_over_rows_however_long() -> None:
    rows = table([{"token_hits": [N, Y]}, {"token_hits": [Y] * 9}, {"token_hits": [N] * 5}])
    assert extraction_strength(rows) == pytest.approx((1 / 2 + 1 + 0) / 3)


@pytest.mark.parametrize("seed", range(4))
def test_without_the_end_token_the_numbers_are_open_unlearnings(seed: int) -> None:
    """Against the definitions of its code (evals/metrics), written down from the logits (T, V)."""
    random = torch.Generator().manual_seed(seed)
    given: list[dict[str, Any]] = []
    exact, extracted, lowest, z_lowest = [], [], [], []
    for length in (2, 3, 7, 12):
        logits = 6 * torch.randn(length, 5, generator=random, dtype=torch.float64)
        sure = torch.rand(length, generator=random) < 0.3
        logits[sure, 0] += 60  # a variance below the least one
        labels = torch.where(
            torch.rand(length, generator=random) < 0.6,
            logits.argmax(-1),
            torch.randint(5, (length,), generator=random),
        )
        log_p = logits.log_softmax(-1)
        p = log_p.exp()
        mean = (p * log_p).sum(-1)
        chosen = log_p.gather(1, labels[:, None])[:, 0]
        given.append(
            {
                "token_hits": (logits.argmax(-1) == labels).tolist(),
                "token_log_p": chosen.tolist(),
                "token_mean_log_p": mean.tolist(),
                "token_variance_log_p": (p * (log_p - mean[:, None]) ** 2).sum(-1).tolist(),
            }
        )
        predicted, told, of = logits.argmax(-1)[:-1], labels[:-1], length - 1
        exact.append(float((predicted == told).sum() / of))
        k = next((k for k in range(of) if torch.equal(predicted[k:], told[k:])), of - 1)
        extracted.append(1 - k / of)
        spread = ((p * log_p**2).sum(-1) - mean**2).clamp(min=1e-6).sqrt()
        most = max(1, int(0.4 * of))
        lowest.append(-float(chosen[:-1].sort()[0][:most].mean()))
        z_lowest.append(-float(((chosen - mean) / spread)[:-1].sort()[0][:most].mean()))
    rows = table(given)
    assert exact_memorization(rows, end_token=False) == pytest.approx(np.mean(exact), rel=1e-6)
    assert extraction_strength(rows, end_token=False) == pytest.approx(np.mean(extracted))
    assert min_k_scores(rows, 0.4, end_token=False).tolist() == pytest.approx(lowest)
    found = min_k_plus_plus_scores(rows, 0.4, end_token=False).tolist()
    assert found == pytest.approx(z_lowest, rel=1e-6)


def test_what_the_end_token_decides() -> None:
    never_ends = table([{"token_hits": [Y, Y, N]}, {"token_hits": [N, Y, N]}])
    assert extraction_strength(never_ends) == 0.0
    assert extraction_strength(never_ends, end_token=False) == (1 + 1 / 2) / 2
    assert exact_memorization(never_ends) == (2 / 3 + 1 / 3) / 2
    assert exact_memorization(never_ends, end_token=False) == (1 + 1 / 2) / 2
    nowhere = table([{"token_hits": [N, N, N, Y]}])
    assert extraction_strength(nowhere, end_token=False) == 1 / 3  # their k stops at L − 1
    assert extraction_strength(table([{"token_hits": [Y]}]), end_token=False) == 1.0


def test_hits_that_do_not_fit_the_table_are_refused() -> None:
    rows = table([{"token_hits": [N, Y]}])
    with pytest.raises(UnlearnError, match="without the column token_hits"):
        extraction_strength(rows.drop(columns="token_hits"))
    with pytest.raises(UnlearnError, match=r"not one entry a token at .*\(0, 0\)"):
        extraction_strength(rows.assign(tokens=3))
    with pytest.raises(UnlearnError, match=r"hits differ at .*\(0, 0\)"):
        extraction_strength(rows.assign(hits=2))
    without = rows.assign(token_hits=pd.Series([None], dtype=object))
    with pytest.raises(UnlearnError, match="not one entry a token"):
        extraction_strength(without)


# Moments of log p under the vocabulary


def moments_in_float64(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    log_p = logits.double().log_softmax(-1).numpy()
    p = np.exp(log_p)
    mean = (p * log_p).sum(-1)
    return mean, (p * log_p**2).sum(-1) - mean**2


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_moments_are_those_of_float64(scale: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (scale * torch.randn(50, 1000, generator=generator)).to(dtype)
    positions = torch.tensor([3, 0, 49, 17])
    mean, variance = vocabulary_moments(logits, positions)
    expected = moments_in_float64(logits[positions])
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-4)


def test_moments_of_distributions_known_by_heart() -> None:
    half = math.log(0.5)
    logits = torch.tensor(
        [
            [0.0, 0.0, 0.0, 0.0],  # uniform: log p is ln ¼ everywhere
            [0.0, 0.0, -math.inf, -math.inf],  # masked entries add nothing
            [0.0, -500.0, -500.0, -500.0],  # sure: the rest is 0 in float32
        ]
    )
    mean, variance = vocabulary_moments(logits, torch.arange(3))
    assert mean.tolist() == pytest.approx([2 * half, half, 0.0])
    assert variance.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor had that an operation made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


@pytest.mark.parametrize("elements", [1, 1000, 2999, 10**9])
def test_moments_are_made_part_by_part(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(40, 1000, generator=torch.Generator().manual_seed(1))
    expected = vocabulary_moments(logits, torch.arange(40))
    monkeypatch.setattr(predicted, "ELEMENTS", elements)
    with LargestTensor() as largest:
        found = vocabulary_moments(logits, torch.arange(40))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    # A token's logits at least; else no more than allowed, while the whole would be 40,000.
    assert largest.elements == min(max(elements // 1000, 1), 40) * 1000


# The lists of the score table


@cache
def half_taught(architecture: str) -> Any:
    """A model that has learnt the first half of the rows and never saw the others."""
    model = tiny.model(architecture)
    recipe = FineTuningConfig(lr=1e-2, epochs=60, batch_size=4, accuracy=1.0)
    fine_tune(model, tiny.examples()[:4], recipe, tiny.COMPUTE, architecture)
    return model.eval()


SPLITS = {"forget": tiny.ROWS[:4], "holdout": tiny.ROWS[4:]}


def answers() -> list[Scored]:
    """True and other answers of three splits."""
    encoder = Encoder(tiny.tokenizer())
    other = [Row(r.question, r.answer, f"So: {r.answer}", ("Nobody knows.",)) for r in tiny.ROWS]
    splits = {"forget": other[:4], "world_facts": other[2:5], "holdout": other[4:]}
    return [a for split, rows in splits.items() for a in answers_to_score(encoder, split, rows)]


def scored(model: Any, given: list[Scored], tokens: int = 8192) -> pd.DataFrame:
    splits, compute = ("forget", "holdout"), tiny.compute(score_tokens=tokens)
    return score(model, given, compute, hits_of=splits, likelihoods_of=splits)


@torch.no_grad()
def lists_alone(model: Any, answer: Scored) -> list[np.ndarray]:
    """The lists of one answer from the full logits of one row, all in float64."""
    prompt, ids = answer.example.prompt, answer.example.answer
    logits = model(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    log_p = logits.log_softmax(-1)[range(len(ids)), list(ids)].numpy()
    return [logits.argmax(-1).numpy() == np.array(ids), log_p, *moments_in_float64(logits)]


@every_architecture
def test_the_lists_are_those_of_the_row_alone_in_float64(architecture: str) -> None:
    model = half_taught(architecture)
    precise = copy.deepcopy(model).double()
    rows = scored(model, answers())
    for (_, row), answer in zip(rows.iterrows(), answers(), strict=True):
        if answer.kind != "answer" or answer.split == "world_facts":
            assert row[LISTS].isna().all()
            continue
        for name, expected in zip(LISTS, lists_alone(precise, answer), strict=True):
            assert row[name].dtype == (bool if name == "token_hits" else np.float32)
            np.testing.assert_allclose(row[name], expected, rtol=2e-4, atol=2e-4)
        assert row["token_hits"].sum() == row["hits"]
        assert -row["token_log_p"].sum(dtype=float) == pytest.approx(row["nll_sum"], abs=1e-5)


@every_architecture
def test_min_k_plus_plus_is_that_of_float64(architecture: str) -> None:
    model = half_taught(architecture)
    precise = copy.deepcopy(model).double()
    rows = scored(model, answers())
    for split in SPLITS:
        expected = []
        for answer in answers():
            if (answer.split, answer.kind) == (split, "answer"):
                _, log_p, mean, variance = lists_alone(precise, answer)
                z = sorted((log_p - mean) / np.sqrt(variance))
                expected.append(-np.mean(z[: max(1, int(0.4 * len(z)))]))
        found = min_k_plus_plus_scores(rows[rows["split"] == split], 0.4)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@every_architecture
def test_neither_padding_nor_order_nor_budget_changes_a_list(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = half_taught(architecture), answers()
    expected = scored(model, given)
    back = list(reversed(range(len(given))))
    for budget, pad in ((1, PAD), (100, 7), (10**6, 0)):
        monkeypatch.setattr("unlearn.forward.passes.collate", partial(collate, pad=pad))
        found = scored(model, given[::-1], budget).iloc[back]
        for name in LISTS:
            assert found[name].isna().tolist() == expected[name].isna().tolist()
            for one, other in zip(found[name].dropna(), expected[name].dropna(), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_lists_are_kept_only_where_asked_for() -> None:
    model, given = tiny.model(), answers()
    plain = score(model, given, tiny.COMPUTE)
    assert not set(LISTS) & set(plain.columns)
    recited = score(model, given, tiny.COMPUTE, hits_of=("world_facts",))
    assert set(recited.columns) - set(plain.columns) == {"token_hits"}
    kept = recited[recited["token_hits"].notna()]
    assert list(zip(kept["split"], kept["kind"], strict=True)) == [("world_facts", "answer")] * 3
    pd.testing.assert_frame_equal(recited[plain.columns], plain)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_the_lists_of_bfloat16_are_float32_and_near(weights: torch.dtype) -> None:
    """By autocast, as on a GPU, and with weights that a foreign model may have."""
    model = tiny.model("llama")
    expected = scored(model, answers())
    autocast = tiny.compute(bfloat16=True)
    splits = ("forget", "holdout")
    half = copy.deepcopy(model).to(weights)
    found = score(half, answers(), autocast, hits_of=splits, likelihoods_of=splits)
    for name in LISTS[1:]:
        values = np.concatenate(found[name].dropna().tolist())
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        near = np.concatenate(expected[name].dropna().tolist())
        assert np.abs(values - near).mean() < 0.1 * np.abs(near).mean()


# Gradient norms


def norm_alone(model: Any, answer: Scored) -> float:
    """‖∇ mean NLL‖ of one row by transformers' own loss, in float64."""
    precise = copy.deepcopy(model).double().requires_grad_(True)
    ids = torch.tensor([answer.example.prompt + answer.example.answer])
    labels = ids.clone()
    labels[:, : len(answer.example.prompt)] = -100
    precise(input_ids=ids, labels=labels).loss.backward()
    squares = [p.grad.square().sum() for p in precise.parameters() if p.grad is not None]
    return math.sqrt(sum(square.item() for square in squares))


@every_architecture
def test_gradient_norms_are_those_of_each_row_alone(architecture: str) -> None:
    model = half_taught(architecture)
    given = [a for a in answers() if a.kind == "answer"]
    norms = gradient_norms(model, given, tiny.COMPUTE)
    assert norms == pytest.approx([norm_alone(model, a) for a in given], rel=1e-3)
    assert gradient_norms(model, given[::-1], tiny.COMPUTE)[::-1] == norms
    assert gradient_norms(model, given[2:3], tiny.COMPUTE) == norms[2:3]


@pytest.mark.parametrize("training", [True, False])
def test_gradient_norms_leave_the_model_as_it_is(training: bool) -> None:
    """Also with weights that a method keeps still: the norm is over all of them all the same."""
    model = tiny.model("gpt2").train(training)
    given = answers()[:2]
    expected = gradient_norms(model, given, tiny.COMPUTE)
    frozen = [p for n, p in enumerate(model.parameters()) if n % 2]
    for parameter in frozen:
        parameter.requires_grad_(False)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        assert gradient_norms(model, given, tiny.COMPUTE) == expected
    assert not any(p.requires_grad for p in frozen)
    assert sum(p.requires_grad for p in model.parameters()) == len(tiny.parameters(model)) > 0
    assert all(p.grad is None for p in model.parameters())
    assert model.training is training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_gradient_norms_of_bfloat16_weights() -> None:
    given = answers()[:3]
    expected = gradient_norms(tiny.model(), given, tiny.COMPUTE)
    autocast = tiny.compute(bfloat16=True)
    for model in (tiny.model(), tiny.model(dtype=torch.bfloat16)):
        assert gradient_norms(model, given, autocast) == pytest.approx(expected, rel=0.1)


# The suite


def suite(splits: dict[str, list[Row]] | None = None, **options: Any) -> Suite:
    config = EvaluationConfig(max_new_tokens=2, **options)
    return Suite(splits or SPLITS, Encoder(tiny.tokenizer()), config, tiny.COMPUTE)


@cache
def evaluations() -> tuple[Evaluation, Evaluation]:
    """Of a model that never saw any row, the reference, and of one that learnt the forget rows."""
    measure = suite(gradient_norm=True)
    reference = measure.evaluate(tiny.model(seed=3), "reference", None)
    return reference, measure.evaluate(half_taught("llama"), "before", reference)


def test_every_attack_exposes_a_model_that_learnt_the_forget_rows() -> None:
    reference, taught = evaluations()
    for name in ATTACKS:
        assert taught.metrics[f"mia_{name}"] > 0.9, name
    assert taught.metrics["privleak"] < -80
    assert taught.metrics["forget/extraction_strength"] > 0.7
    assert taught.metrics["holdout/extraction_strength"] < 0.3
    # The reference, which learnt neither half, is nowhere as sure.
    for name in set(ATTACKS) - {"reference"}:
        assert reference.metrics[f"mia_{name}"] < taught.metrics[f"mia_{name}"], name
    assert "mia_reference" not in reference.metrics
    assert "privleak" not in reference.metrics


def test_the_reference_against_itself_leaks_nothing() -> None:
    reference, _ = evaluations()
    itself = summarise(reference.scores, reference.generations, reference)
    assert itself.metrics["privleak"] == 0
    assert itself.metrics["mia_reference"] == 0.5
    assert not any("privleak" in note or "mia" in note for note in itself.notes)


def test_the_metrics_of_a_suite_are_those_of_scikit_learn_on_its_table() -> None:
    from sklearn.metrics import roc_auc_score

    reference, taught = evaluations()

    def attacked(evaluation: Evaluation, score_of: Any) -> float:
        rows = evaluation.scores
        values = [score_of(rows[rows["split"] == split]) for split in SPLITS]
        return roc_auc_score(np.repeat([0, 1], [4, 4]), np.concatenate(values))

    def least_likely(rows: pd.DataFrame, share: float = 0.4) -> list[float]:
        lists = [np.sort(-log_p)[::-1] for log_p in rows["token_log_p"]]
        return [np.mean(nll[: max(1, int(share * len(nll)))]) for nll in lists]

    def compressed(rows: pd.DataFrame) -> list[float]:
        texts = [
            SPLITS[split][n].answer for split, n in zip(rows["split"], rows["index"], strict=True)
        ]
        sizes = [len(zlib.compress(text.encode())) for text in texts]
        return (rows["nll_sum"] / rows["tokens"] / sizes).tolist()

    metrics = taught.metrics
    assert metrics["mia_loss"] == attacked(taught, lambda rows: rows["nll_sum"] / rows["tokens"])
    assert metrics["mia_zlib"] == attacked(taught, compressed)
    assert metrics["mia_min_k"] == attacked(taught, least_likely)
    assert metrics["mia_gradient_norm"] == attacked(taught, lambda rows: rows["gradient_norm"])
    likely, wanted = (1 - attacked(e, least_likely) for e in (taught, reference))
    assert metrics["privleak"] == pytest.approx(100 * (likely - wanted) / wanted)

    other = summarise(taught.scores, taught.generations, reference, min_k=0.9).metrics
    assert other["mia_min_k"] == attacked(taught, lambda rows: least_likely(rows, 0.9))
    assert other["privleak"] == metrics["privleak"]  # by definition at 40 %


def test_what_cannot_be_measured_is_named_and_the_rest_is_measured() -> None:
    _, taught = evaluations()
    alone = summarise(taught.scores, taught.generations, None)
    assert "mia_reference, privleak: not measured, as there is no reference model" in alone.notes
    kept = {f"mia_{name}" for name in ATTACKS} - {"mia_reference"}
    assert kept == {name for name in alone.metrics if name.startswith("mia_")}

    forget = taught.scores[taught.scores["split"] == "forget"]
    halved = summarise(forget, [], taught)
    assert "mia_*, privleak: not measured, as there are no holdout rows" in halved.notes
    assert not any(n.startswith("mia") or n == "privleak" for n in halved.metrics)
    assert "forget/extraction_strength" in halved.metrics

    other = Evaluation(forget, [], {}, {}, [])
    beside = summarise(taught.scores, [], other)
    assert any("the reference has no scores of holdout" in note for note in beside.notes)
    assert kept <= set(beside.metrics)
    assert "privleak" not in beside.metrics

    bare = taught.scores.drop(columns=[*LISTS, "zlib_bytes", "gradient_norm"])
    poor = summarise(bare, [], taught)
    assert {n for n in poor.metrics if n.startswith("mia_")} == {"mia_loss", "mia_reference"}
    assert "mia_zlib: not measured, as the scores lack zlib_bytes" in poor.notes
    assert any(note.startswith("privleak: not measured") for note in poor.notes)


def test_a_reference_that_was_asked_other_questions_is_refused() -> None:
    _, taught = evaluations()
    fewer = taught.scores[taught.scores["index"] > 0]
    with pytest.raises(UnlearnError, match="must cover the same questions"):
        summarise(taught.scores, [], Evaluation(fewer, [], {}, {}, []))


def test_tables_and_metrics_survive_parquet_and_the_cache(tmp_path: Path) -> None:
    reference, taught = evaluations()
    taught.write(tmp_path / "after")
    read = pd.read_parquet(tmp_path / "after" / "scores.parquet")
    pd.testing.assert_frame_equal(read, taught.scores)
    assert summarise(read, taught.generations, reference).metrics == taught.metrics

    def cached(load: Any, **options: Any) -> Evaluation:
        measure = suite(gradient_norm=True, **options)
        return evaluate_once(measure, load, "some weights", "before", reference)

    first = cached(lambda: half_taught("llama"))
    again = cached(lambda: pytest.fail("not from the cache"))
    assert first.metrics == again.metrics == taught.metrics
    # Another share needs no other table.
    third = cached(lambda: pytest.fail("not from the cache"), min_k=0.9)
    assert third.metrics["mia_loss"] == taught.metrics["mia_loss"]
    expected = summarise(read, taught.generations, reference, min_k=0.9).metrics
    assert third.metrics == expected


def test_what_a_suite_measures_is_in_its_fingerprint() -> None:
    plain = suite().fingerprint
    assert suite(gradient_norm=True).fingerprint != plain
    assert suite(min_k=0.9).fingerprint == plain
    assert suite(end_token=False).fingerprint != plain  # the hits of every split are kept
    assert suite({**SPLITS, "holdout": tiny.ROWS[5:]}).fingerprint != plain


def test_nothing_more_is_scored_where_nothing_can_be_compared() -> None:
    rows = {"forget": tiny.ROWS[:3], "real_authors": tiny.ROWS[3:]}
    evaluation = suite(rows, gradient_norm=True).evaluate(tiny.model(), "before", None)
    names = ["split", "index", "kind", "number", "nll_sum", "tokens", "hits", "token_hits"]
    assert list(evaluation.scores.columns) == names
    assert "forget/extraction_strength" in evaluation.metrics
    assert "real_authors/extraction_strength" not in evaluation.metrics
    assert evaluation.metrics["forget/loss"] == loss(
        evaluation.scores[evaluation.scores["split"] == "forget"]
    )


def test_without_the_end_token_every_split_is_counted_token_by_token() -> None:
    rows = {"forget": tiny.ROWS[:3], "real_authors": tiny.ROWS[3:]}
    evaluation = suite(rows, end_token=False).evaluate(half_taught("llama"), "before", None)
    for split in rows:
        table = evaluation.scores[evaluation.scores["split"] == split]
        expected = exact_memorization(table, end_token=False)
        assert evaluation.metrics[f"{split}/exact_memorization"] == expected
    assert evaluation.metrics["forget/extraction_strength"] == extraction_strength(
        evaluation.scores[evaluation.scores["split"] == "forget"], end_token=False
    )


def test_an_untaught_model_extracts_hardly_anything() -> None:
    reference, _ = evaluations()
    assert reference.metrics["forget/extraction_strength"] < 0.1


def test_which_way_is_good() -> None:
    assert Catalogue()["privleak"].words == "near 0"
    assert Catalogue()["mia_min_k"].words == "as reference"
    assert Catalogue()["mia_reference"].words == "near 0.5"
    assert Catalogue()["forget/extraction_strength"].words == "lower"
    assert Catalogue()["retain/extraction_strength"].words == "higher"
    assert Catalogue()["holdout/loss"].words == ""
    assert list(grouped(["mia_loss", "privleak", "forget/loss", "mia_zlib"]).items()) == [
        ("whole model", ["privleak"]),
        ("forget", ["forget/loss"]),
        ("mia", ["mia_loss", "mia_zlib"]),
    ]
