"""METHODS.md 3: the objectives per row and the weighted ones, against definitions written anew.

A definition here is a function of a model in float64, fed row by row without padding; what an
objective holds constant (reference sums, weights, targets) is taken from the model it was made at.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.lookup import ORIGINAL, TABLE, Lookup
from support.resources import FakeResources, nll_sums
from support.taught import half_taught
from support.tiny import moved
from torch import Tensor

from unlearn.data.batches import Batch, collate
from unlearn.data.refusals import REFUSALS, draw_refusals
from unlearn.data.splits import Row
from unlearn.data.tokens import Example
from unlearn.errors import ConfigurationError, DataError
from unlearn.objectives.alternatives import Alternatives
from unlearn.objectives.answer_preservation import AnswerPreservation
from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective
from unlearn.objectives.ce_u import CEU
from unlearn.objectives.dpo import DPO
from unlearn.objectives.flat import FLAT, Divergence
from unlearn.objectives.idk import IdkNLL
from unlearn.objectives.idk_dpo import IdkDPO
from unlearn.objectives.jensun import JensUn
from unlearn.objectives.max_entropy import MaximumEntropy
from unlearn.objectives.nll import NegativeLogLikelihood
from unlearn.objectives.npo import NPO
from unlearn.objectives.satimp import SatImp
from unlearn.objectives.simnpo import SimNPO
from unlearn.objectives.wga import WGA
from unlearn.objectives.whp import WHP
from unlearn.training.tasks import Task, task_gradient

ROWS = range(len(tiny.ROWS))
ALTERNATIVES = [f"{row.answer.split()[0]} or so, {number}." for number, row in enumerate(tiny.ROWS)]


def write_alternatives(folder: Path, pairs: Sequence[tuple[str, str]]) -> str:
    path = folder / "alternatives.jsonl"
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in pairs]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def dpo(folder: Path, **options: Any) -> DPO:
    """DPO with an alternative for every row, in another order than the rows."""
    pairs = [(row.question, answer) for row, answer in zip(tiny.ROWS, ALTERNATIVES, strict=True)]
    return DPO(alternatives=write_alternatives(folder, pairs[::-1]), **options)


def alternatives(folder: Path, **options: Any) -> Alternatives:
    pairs = [(row.question, answer) for row, answer in zip(tiny.ROWS, ALTERNATIVES, strict=True)]
    return Alternatives(alternatives=write_alternatives(folder, pairs[::-1]), **options)


def prepared(objective: Objective, resources: FakeResources) -> Objective:
    """The objective as a run hands it to training."""
    objective.check_rows(resources.rows)
    objective.prepare(resources, NegativeLogLikelihood())
    return objective


# Definitions, in float64


def log_probabilities(model: Any, example: Example) -> tuple[Tensor, Tensor]:
    """log p (T, V) at the answer's positions, and the answer's ids (T,)."""
    ids = torch.tensor([example.prompt + example.answer])
    first = len(example.prompt)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, first - 1 : -1]
    return logits.double().log_softmax(-1), ids[0, first:]


def nll(model: Any, example: Example) -> Tensor:
    """ℓ (T,) of the answer's tokens."""
    log_p, labels = log_probabilities(model, example)
    return -log_p.gather(1, labels[:, None])[:, 0]


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


Definition = Callable[[Any], float]
"""From a model to the loss summed over all rows."""
Define = Callable[[Any, FakeResources], Definition]
"""From the model at which constants are taken, and the resources, to the definition."""


def npo_loss(beta: float) -> Define:
    def define(_at: Any, resources: FakeResources) -> Definition:
        examples = resources.examples
        reference = [nll(resources.target, example).sum() for example in examples]

        def loss(model: Any) -> float:
            gaps = [nll(model, e).sum() - s for e, s in zip(examples, reference, strict=True)]
            return -2 / beta * sum(log_sigmoid(beta * gap.item()) for gap in gaps)

        return loss

    return define


def simnpo_loss(beta: float, delta: float) -> Define:
    def define(_at: Any, resources: FakeResources) -> Definition:
        def loss(model: Any) -> float:
            means = [nll(model, example).mean().item() for example in resources.examples]
            return -2 / beta * sum(log_sigmoid(beta * (mean - delta)) for mean in means)

        return loss

    return define


def preference(beta: float, answers: Sequence[str]) -> Define:
    def define(_at: Any, resources: FakeResources) -> Definition:
        pairs = list(zip(resources.encode(answers), resources.examples, strict=True))

        def gained(model: Any, example: Example) -> float:
            return (nll(resources.target, example).sum() - nll(model, example).sum()).item()

        def loss(model: Any) -> float:
            margins = [gained(model, other) - gained(model, original) for other, original in pairs]
            return -2 / beta * sum(log_sigmoid(beta * margin) for margin in margins)

        return loss

    return define


def other_loss(
    answers: Sequence[str], of_tokens: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Define:
    """The NLL of these answers, or another function of log p (T, V) and the ids (T,)."""

    def define(_at: Any, resources: FakeResources) -> Definition:
        examples = resources.encode(answers)
        if of_tokens is None:
            return lambda model: sum(nll(model, example).sum().item() for example in examples)
        return lambda model: sum(
            of_tokens(*log_probabilities(model, example)).sum().item() for example in examples
        )

    return define


def refusal_loss(seed: int) -> Define:
    return other_loss(draw_refusals(len(ROWS), seed))


def js_to_token(log_p: Tensor, labels: Tensor) -> Tensor:
    """½·KL(p ‖ m) + ½·KL(onehot ‖ m), m the mean of both, from the definition of KL."""
    p, onehot = log_p.exp(), torch.nn.functional.one_hot(labels, log_p.shape[1]).double()
    middle = (p + onehot) / 2
    return sum((q.xlogy(q) - q.xlogy(middle)).sum(1) for q in (p, onehot)) / 2


def entropy_loss(_at: Any, resources: FakeResources) -> Definition:
    """KL(uniform ‖ p) by torch's own kl_div."""

    def loss(model: Any) -> float:
        total = 0.0
        for example in resources.examples:
            log_p, _ = log_probabilities(model, example)
            uniform = torch.full_like(log_p, 1 / log_p.shape[1])
            total += torch.nn.functional.kl_div(log_p, uniform, reduction="sum").item()
        return total

    return loss


CONJUGATES: dict[Divergence, tuple[Callable[[float], float], Callable[[float], float]]] = {
    Divergence.total_variation: (lambda v: math.tanh(v) / 2, lambda u: u),
    Divergence.kl: (lambda v: v, lambda u: math.exp(u - 1)),
    Divergence.jensen_shannon: (
        lambda v: math.log(2) - math.log1p(math.exp(-v)),
        lambda u: -math.log(2 - math.exp(u)),
    ),
    Divergence.pearson: (lambda v: v, lambda u: u * u / 4 + u),
}
"""g* and f* of the variational form of each divergence, as papers on f-GANs list them."""


def flat_loss(divergence: Divergence, seed: int) -> Define:
    g, f = CONJUGATES[divergence]

    def define(_at: Any, resources: FakeResources) -> Definition:
        refusals = resources.encode(draw_refusals(len(resources.rows), seed))
        pairs = list(zip(refusals, resources.examples, strict=True))

        def loss(model: Any) -> float:
            total = 0.0
            for pair in pairs:
                refused, known = ((-nll(model, e)).exp().mean().item() for e in pair)
                total += f(g(known)) - g(refused) - (f(g(0.0)) - g(1.0))
            return total

        return loss

    return define


def preservation_loss(beta: float, seed: int) -> Define:
    def define(_at: Any, resources: FakeResources) -> Definition:
        refusals = resources.encode(draw_refusals(len(resources.rows), seed))
        pairs = list(zip(refusals, resources.examples, strict=True))

        def loss(model: Any) -> float:
            ahead = [(nll(model, r).sum() - nll(model, e).sum()).item() for r, e in pairs]
            return -sum(log_sigmoid(beta * gap) for gap in ahead) / beta

        return loss

    return define


def generic_loss(alpha: float, steps: int, lr: float) -> Define:
    """NLL of argmax z − α·max(z_reinforced − z, 0), each token's logits taken by themselves."""

    def define(_at: Any, resources: FakeResources) -> Definition:
        models = (resources.model, resources.reinforced(steps, lr, 8, 0))
        labels = []
        for example in resources.examples:
            z, reinforced = (raw_logits(model, example) for model in models)
            labels.append((z - alpha * (reinforced - z).clamp(min=0)).argmax(1))

        def loss(model: Any) -> float:
            pairs = zip(labels, resources.examples, strict=True)
            rows = ((label, log_probabilities(model, example)[0]) for label, example in pairs)
            return -sum(log_p.gather(1, label[:, None]).sum().item() for label, log_p in rows)

        return loss

    return define


@torch.no_grad()
def raw_logits(model: Any, example: Example) -> Tensor:
    ids = torch.tensor([[*example.prompt, *example.answer]])
    return model(input_ids=ids).logits[0, len(example.prompt) - 1 : -1]


def weighted_loss(weight: Callable[[Tensor], Tensor]) -> Define:
    """Minus the NLL with weights by probability, held at the model they are taken from."""

    def define(at: Any, resources: FakeResources) -> Definition:
        examples = resources.examples
        weights = [weight((-nll(at, example)).exp()) for example in examples]

        def loss(model: Any) -> float:
            pairs = zip(weights, examples, strict=True)
            return -sum((w * nll(model, example)).sum().item() for w, example in pairs)

        return loss

    return define


def ce_u_loss(at: Any, resources: FakeResources) -> Definition:
    targets = []
    for example in resources.examples:
        log_p, labels = log_probabilities(at, example)
        without = log_p.exp().scatter(1, labels[:, None], 0.0)
        targets.append(without / without.sum(-1, keepdim=True))

    def loss(model: Any) -> float:
        pairs = zip(targets, resources.examples, strict=True)
        return -sum((q * log_probabilities(model, e)[0]).sum().item() for q, e in pairs)

    return loss


@dataclass(frozen=True)
class Case:
    """An objective, its definition, and whether it is averaged over rows."""

    name: str
    make: Callable[[Path], Objective]
    define: Define
    per_row: bool = False


CASES = [
    Case("npo", lambda _: NPO(beta=0.3), npo_loss(0.3), per_row=True),
    Case("simnpo", lambda _: SimNPO(0.7, 3.0), simnpo_loss(0.7, 3.0), per_row=True),
    Case("dpo", lambda folder: dpo(folder, beta=0.1), preference(0.1, ALTERNATIVES), per_row=True),
    Case(
        "idk_dpo",
        lambda _: IdkDPO(beta=0.1, seed=5),
        preference(0.1, draw_refusals(len(ROWS), 5)),
        per_row=True,
    ),
    Case("idk", lambda _: IdkNLL(seed=5), refusal_loss(5)),
    Case("wga", lambda _: WGA(beta=0.5), weighted_loss(lambda p: p**0.5)),
    Case("satimp", lambda _: SatImp(0.5, 2.0), weighted_loss(lambda p: p**0.5 * (1 - p) ** 2)),
    Case("ce_u", lambda _: CEU(), ce_u_loss),
    Case("alternatives", alternatives, other_loss(ALTERNATIVES)),
    Case(
        "jensun",
        lambda _: JensUn(seed=5),
        other_loss(draw_refusals(len(ROWS), 5), js_to_token),
    ),
    Case("max_entropy", lambda _: MaximumEntropy(), entropy_loss),
    Case("whp", lambda _: WHP(alpha=5.0, steps=3, lr=0.1), generic_loss(5.0, 3, 0.1)),
    Case(
        "answer_preservation",
        lambda _: AnswerPreservation(beta=0.1, seed=5),
        preservation_loss(0.1, 5),
        per_row=True,
    ),
    *(
        Case(
            f"flat, {divergence.value}",
            lambda _, divergence=divergence: FLAT(divergence, seed=5),
            flat_loss(divergence, 5),
            per_row=True,
        )
        for divergence in Divergence
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def resources_of(model: Any, architecture: str = "gpt2") -> FakeResources:
    target = tiny.model(architecture, dtype=next(model.parameters()).dtype)
    return FakeResources(model, target=target)


def gradient_of(model: Any, objective: Objective, batches: Sequence[Batch]) -> Tensor:
    """The gradient of total sum / total count, as one vector."""
    _, gradient = task_gradient(
        model, Task(objective, batches), tiny.parameters(model), tiny.COMPUTE
    )
    return tiny.flat(gradient)


# What holds for all of them


@every_case
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_sum_is_that_of_the_definition(case: Case, architecture: str, tmp_path: Path) -> None:
    model = moved(architecture, torch.float32)
    resources = resources_of(model, architecture)
    objective = prepared(case.make(tmp_path), resources)
    with torch.no_grad():
        expected = case.define(model, resources)(model)
    total = objective.sum(model, tiny.batch(ROWS))
    assert total.shape == ()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(expected, rel=2e-5)


@every_case
def test_the_count_is_rows_or_the_tokens_that_are_predicted(case: Case, tmp_path: Path) -> None:
    resources = FakeResources(tiny.model())
    objective = prepared(case.make(tmp_path), resources)
    examples = resources.examples
    if case.name in ("idk", "jensun"):
        examples = resources.encode(draw_refusals(len(ROWS), 5))
    if case.name == "alternatives":
        examples = resources.encode(ALTERNATIVES)
    for rows in ([0], [6, 2, 3], list(ROWS)):
        tokens = sum(len(examples[row].answer) for row in rows)
        assert objective.count(tiny.batch(rows)) == (len(rows) if case.per_row else tokens)


@pytest.mark.slow
@every_case
def test_the_gradient_agrees_with_finite_differences(case: Case, tmp_path: Path) -> None:
    """Along the gradient and along random directions through all parameters, in float64."""
    model = moved()
    resources = resources_of(model)
    objective = prepared(case.make(tmp_path), resources)
    parameters = tiny.parameters(model)
    gradient = gradient_of(model, objective, [tiny.batch(ROWS)])
    assert gradient.numel() == sum(p.numel() for p in parameters)
    start = [parameter.detach().clone() for parameter in parameters]
    count = objective.count(tiny.batch(ROWS))
    generator = torch.Generator().manual_seed(0)
    directions = [gradient] + [
        torch.randn(gradient.shape, generator=generator, dtype=torch.float64) for _ in range(3)
    ]
    with torch.no_grad():
        definition = case.define(model, resources)
        for direction in directions:
            direction = direction / direction.norm()
            parts = direction.split([p.numel() for p in parameters])
            values = []
            step = 1e-5
            for x in (step, -step):
                for parameter, here, part in zip(parameters, start, parts, strict=True):
                    parameter.copy_(here + x * part.view_as(here))
                values.append(definition(model) / count)
            difference = (values[0] - values[1]) / (2 * step)
            # The objective's own losses are float32, hence no better than 1e-5.
            assert (gradient @ direction).item() == pytest.approx(
                difference, rel=1e-5, abs=1e-6 * gradient.norm().item()
            )


@every_case
def test_padding_order_and_micro_batches_change_nothing(case: Case, tmp_path: Path) -> None:
    model = moved()
    objective = prepared(case.make(tmp_path), resources_of(model))
    whole = gradient_of(model, objective, [tiny.batch(ROWS)])
    end = tiny.tokenizer().eos_token_id
    shuffled = [5, 2, 7, 0, 3, 6, 1, 4]
    split = [[4], [1, 7, 2], [0, 6], [5, 3]]
    others = {
        "another order": [tiny.batch(shuffled)],
        "padded with the end token": [tiny.batch(ROWS, pad=end)],
        "padded further, with other ids": [tiny.wider(tiny.batch(shuffled), 17, pad=5)],
        "micro-batches": [tiny.batch(rows) for rows in split],
        "row by row": [tiny.batch([row]) for row in ROWS],
    }
    for name, batches in others.items():
        gradient = gradient_of(model, objective, batches)
        assert tiny.relative_error(gradient, whole) < 1e-6, name


@every_case
def test_the_sign_of_the_loss_is_what_the_objective_says(case: Case, tmp_path: Path) -> None:
    model = moved()
    objective = prepared(case.make(tmp_path), resources_of(model))
    loss = objective.sum(model, tiny.batch(ROWS)).item()
    assert (loss > 0) == objective.positive
    assert objective.shown(loss) > 0


# Three tokens by hand

OTHER = Example(prompt=(0,), answer=(0,))  # p = 1/4: S = log 4


class OneRow(FakeResources):
    """ORIGINAL as the only row, OTHER whatever else is asked for, under a uniform target."""

    def __init__(self) -> None:
        self.model = self.target = Lookup(torch.zeros(3, 3))
        self.examples = [ORIGINAL]

    def encode(self, answers: Sequence[str]) -> list[Example]:
        return [OTHER for _ in answers]


def by_hand(folder: Path) -> list[tuple[str, Objective, float]]:
    """S − S_ref = log(16/3) − log 27 = log(16/81); of the other answer log 4 − log 3."""
    half, most = math.log(2), math.log(4 / 3)  # ℓ of the tokens with p = 1/2 and 3/4
    alternatives = write_alternatives(folder, [("q", "other")])
    return [
        ("npo", NPO(beta=1.0), 2 * math.log(97 / 16)),  # σ(log(16/81)) = 16/97
        ("npo", NPO(beta=0.5), 4 * math.log(13 / 4)),  # σ(½·log(16/81)) = 4/13
        ("simnpo", SimNPO(beta=3.0), 2 / 3 * math.log(19 / 16)),  # 3·S/3: σ(log(16/3)) = 16/19
        ("simnpo", SimNPO(3.0, delta=half / 3), 2 / 3 * math.log(11 / 8)),  # σ(log(8/3)) = 8/11
        ("dpo", DPO(alternatives, beta=1.0), 2 * math.log(31 / 4)),  # σ(log(3/4 · 16/81)) = 4/31
        ("idk_dpo", IdkDPO(beta=1.0), 2 * math.log(31 / 4)),
        ("idk", IdkNLL(), math.log(4)),
        ("wga", WGA(), -(half / 2 + 3 / 4 * most + half / 2)),
        ("wga", WGA(beta=2.0), -(half / 4 + 9 / 16 * most + half / 4)),
        ("satimp", SatImp(2.0, 1.0), -(half / 8 + 9 / 64 * most + half / 8)),
        # q = (1/2, 0, 1/2), (1/2, 1/2, 0), (0, 3/5, 2/5)
        ("ce_u", CEU(), math.log(4) + math.log(8) - 0.6 * math.log(0.3) - 0.4 * math.log(0.2)),
        ("alternatives", Alternatives(alternatives), math.log(4)),
        # p = 1/4: m = (5/8, and halves of the other p): 3/8·log 2 + 1/8·log(2/5) + 1/2·log(8/5)
        ("jensun", JensUn(), 3 / 8 * half + math.log(2 / 5) / 8 + math.log(8 / 5) / 2),
        # −log 3 − mean log p, three times
        (
            "max_entropy",
            MaximumEntropy(),
            -3 * math.log(3) - sum(math.log(p) for row in TABLE for p in row) / 3,
        ),
        # Of a uniform target every token but the one that was learnt, the first of them.
        ("whp", WHP(steps=1, lr=0.1), math.log(4) + math.log(8) + math.log(10 / 3)),
        ("answer_preservation", AnswerPreservation(beta=1.0), math.log(7 / 3)),  # σ(log(3/4))
        # The answer's mean probability is 7/12, the refusal's 1/4.
        ("flat", FLAT(), (math.tanh(1) - math.tanh(1 / 4) + math.tanh(7 / 12)) / 2),
        ("flat", FLAT(Divergence.kl), 3 / 4 + math.exp(-5 / 12) - math.exp(-1)),
        ("flat", FLAT(Divergence.pearson), 3 / 4 + 7 / 12 + 49 / 576),
    ]


def test_three_tokens_by_hand(tmp_path: Path) -> None:
    model = Lookup(torch.tensor(TABLE).log())
    batch = collate([ORIGINAL], [0], pad=0)
    for name, objective, expected in by_hand(tmp_path):
        objective.check_rows([Row("q", "original")])
        objective.prepare(OneRow(), NegativeLogLikelihood())
        assert objective.sum(model, batch).item() == pytest.approx(expected, rel=1e-6), name


def test_the_gradients_of_three_tokens_by_hand() -> None:
    """With respect to the logits that predict the first token, where p = (1/4, 1/2, 1/4)."""
    batch = collate([ORIGINAL], [0], pad=0)
    ascent = torch.tensor([-1 / 4, 1 / 2, -1 / 4])  # of −ℓ: onehot − p
    expected = {
        "npo": (NPO(beta=1.0), 2 * 81 / 97 * ascent),  # 2σ(−log(16/81)) times ascent
        "simnpo": (SimNPO(beta=3.0), 2 * 3 / 19 * ascent / 3),
        "wga": (WGA(), ascent / 2),
        "satimp": (SatImp(2.0, 1.0), ascent / 8),
        "ce_u": (CEU(), torch.tensor([1 / 4 - 1 / 2, 1 / 2, 1 / 4 - 1 / 2])),  # p − q
        "max_entropy": (MaximumEntropy(), torch.tensor([-1 / 12, 1 / 6, -1 / 12])),  # p − 1/3
    }
    for name, (objective, gradient) in expected.items():
        model = Lookup(torch.tensor(TABLE).log())
        objective.prepare(OneRow(), NegativeLogLikelihood())
        objective.sum(model, batch).backward()
        torch.testing.assert_close(
            model.head.weight.grad[:, 0], gradient, rtol=1e-5, atol=1e-7, msg=name
        )


# NPO and SimNPO


def ascent_per_row(model: Any) -> Tensor:
    """The gradient of −mean over rows of S."""
    _, gradient = task_gradient(
        model, Task(Ascent(), [tiny.batch(ROWS)]), tiny.parameters(model), tiny.COMPUTE
    )
    return tiny.flat(gradient) * tiny.batch(ROWS).answer_tokens / len(ROWS)


@pytest.mark.parametrize("beta", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_at_the_target_npo_is_ascent_whatever_beta_is(architecture: str, beta: float) -> None:
    model = tiny.model(architecture)
    npo = prepared(NPO(beta), FakeResources(model))
    gradient = gradient_of(model, npo, [tiny.batch(ROWS)])
    # S is about 100 in float32: σ(β(S − S_ref)) is ½ to within β·1e-5.
    assert tiny.relative_error(gradient, ascent_per_row(model)) < 2e-5
    assert npo.sum(model, tiny.batch(ROWS)).item() / len(ROWS) == pytest.approx(
        2 / beta * math.log(2), rel=1e-4
    )


def test_npo_becomes_ascent_as_beta_falls() -> None:
    model = moved()
    resources = resources_of(model)
    ascent = ascent_per_row(model)
    errors = [
        tiny.relative_error(
            gradient_of(model, prepared(NPO(beta), resources), [tiny.batch(ROWS)]), ascent
        )
        for beta in (1e-1, 1e-3, 1e-5)
    ]
    assert errors[0] > 1e-2
    assert errors[1] == pytest.approx(errors[2] * 100, rel=0.1)
    assert errors[2] < 1e-4


def test_npo_leaves_a_row_alone_once_it_is_forgotten() -> None:
    """Each row's slope in S is −2σ(−β(S − S_ref)): 0 far above its reference, −2 far below."""
    for gap, slope in ((-1e6, -2.0), (0.0, -1.0), (1e6, 0.0)):
        npo = NPO(beta=0.1)
        npo.reference = nll_sums(Lookup(torch.zeros(3, 3)), [ORIGINAL]) - gap
        model = Lookup(torch.zeros(3, 3))
        loss = npo.sum(model, collate([ORIGINAL], [0], pad=0))
        assert math.isfinite(loss.item())
        loss.backward()
        ascent = torch.tensor([-1 / 3, 1 - 1 / 3, -1 / 3])  # of −ℓ by the first logits
        torch.testing.assert_close(model.head.weight.grad[:, 0], -slope * ascent)


def test_references_belong_to_rows_not_to_places() -> None:
    model = moved()
    npo = prepared(NPO(), resources_of(model))
    alone = sum(npo.sum(model, tiny.batch([row])).item() for row in (6, 1))
    assert npo.sum(model, tiny.batch([6, 1])).item() == pytest.approx(alone, rel=1e-6)


def test_simnpo_becomes_ascent_on_the_mean_of_each_row_as_beta_falls() -> None:
    model = moved()
    examples = tiny.examples()
    ascent = torch.zeros(())
    for row in ROWS:
        loss = Ascent().sum(model, tiny.batch([row])) / len(examples[row].answer) / len(ROWS)
        ascent = ascent + loss
    expected = torch.cat(
        [g.reshape(-1) for g in torch.autograd.grad(ascent, tiny.parameters(model))]
    )
    gradient = gradient_of(model, SimNPO(beta=1e-7), [tiny.batch(ROWS)])
    assert tiny.relative_error(gradient, expected) < 1e-5


# DPO and the refusals


def test_dpo_at_the_target_trades_one_answer_for_the_other(tmp_path: Path) -> None:
    """There every margin is 0 and the slope 1: descent on the other answer, ascent on its own."""
    model = moved()
    resources = FakeResources(model)
    gradient = gradient_of(model, prepared(dpo(tmp_path), resources), [tiny.batch(ROWS)])
    others = resources.encode(ALTERNATIVES)
    nll_loss = NegativeLogLikelihood()
    loss = nll_loss.sum(model, collate(others, list(ROWS)))
    loss = (loss - nll_loss.sum(model, tiny.batch(ROWS))) / len(ROWS)
    expected = torch.autograd.grad(loss, tiny.parameters(model))
    assert tiny.relative_error(gradient, tiny.flat(list(expected))) < 1e-5


def test_alternatives_are_found_by_question_and_shared_in_turn(tmp_path: Path) -> None:
    rows = [Row("Twice?", "a"), Row("Once?", "b"), Row("Twice?", "c"), Row("Twice?", "d")]
    pairs = [("Unused?", "0"), (" Twice? ", "1"), ("Twice?", "2"), ("Once?", "3"), ("Once?", "4")]
    objective = DPO(write_alternatives(tmp_path, pairs))
    objective.check_rows(rows)
    assert objective.answers(4) == ["1", "3", "2", "1"]


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_alternatives_in_other_formats_and_columns(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"alternatives.{suffix}"
    text = {
        "csv": "prompt,chosen\nq,other\n",
        "json": '[{"prompt": "q", "chosen": "other"}]',
    }
    path.write_text(text[suffix], encoding="utf-8")
    objective = DPO(str(path), question="prompt", answer="chosen")
    objective.check_rows([Row("q", "original")])
    assert objective.answers(1) == ["other"]


def test_dpo_without_a_file_says_what_it_needs_and_what_does_without() -> None:
    with pytest.raises(ConfigurationError) as raised:
        DPO(beta=0)
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["beta", "alternatives"]
    assert "method.forget.alternatives=FILE" in str(raised.value)
    assert "idk_dpo" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.jsonl", None, "no such file"),
        ("a.docx", "q", "unknown suffix"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", '{"question": "q"}', "no column 'answer'.*method.forget.answer="),
        ("a.jsonl", '{"question": "q", "answer": " "}', "'answer' is blank"),
        ("a.jsonl", '{"question": "q", "answer": null}', "'answer' is null"),
        ("a.jsonl", '{"question": "q", "answer"', "not JSON"),
    ],
)
def test_a_bad_file_of_alternatives_is_refused_by_name(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"(?s)^alternatives: {re.escape(str(path))}.*{message}"):
        DPO(str(path))


def test_forget_questions_without_an_alternative_are_shown(tmp_path: Path) -> None:
    pairs = [(tiny.ROWS[0].question, "somebody"), (tiny.ROWS[3].question, "nowhere")]
    objective = DPO(write_alternatives(tmp_path, pairs))
    with pytest.raises(DataError, match="6 of 8 forget questions") as raised:
        objective.check_rows(tiny.ROWS)
    text = str(raised.value)
    assert "alternatives" in text
    assert "idk_dpo" in text
    assert all(tiny.ROWS[row].question in text for row in (1, 2))
    assert tiny.ROWS[0].question not in text
    assert tiny.ROWS[7].question not in text


def test_an_alternative_must_not_be_the_answer_itself(tmp_path: Path) -> None:
    objective = DPO(write_alternatives(tmp_path, [("q", "so it is ")]))
    with pytest.raises(DataError, match=r"very answer.*1 of 1.*'q'"):
        objective.check_rows([Row("q", "so it  is")])


@pytest.mark.parametrize(
    "name", ["dpo", "alternatives", "idk", "idk_dpo", "jensun", "flat, kl", "answer_preservation"]
)
def test_text_without_a_question_has_no_other_answer(name: str, tmp_path: Path) -> None:
    objective = next(case for case in CASES if case.name == name).make(tmp_path)
    with pytest.raises(DataError, match=r"1 of 2 rows are plain text.*'some text'"):
        objective.check_rows([tiny.ROWS[0], Row("", "some text")])


def test_there_are_a_hundred_distinct_refusals_of_one_sentence_each() -> None:
    words = {" ".join(re.findall(r"[a-z']+", refusal.lower())) for refusal in REFUSALS}
    assert len(words) == len(REFUSALS) >= 100
    for refusal in REFUSALS:
        assert re.fullmatch(r"[A-Z][A-Za-z ,']*\.", refusal), refusal
        assert len(refusal.split()) <= 20


def test_refusals_are_drawn_once_by_seed_and_by_no_global_generator() -> None:
    first = draw_refusals(200, seed=0)
    assert set(first) <= set(REFUSALS)
    assert len(set(first)) > 60  # of 110, 200 draws leave about 18 out
    assert draw_refusals(20, seed=0) == first[:20]
    assert draw_refusals(200, seed=1) != first
    state = random.getstate()
    random.seed(1)
    assert draw_refusals(200, seed=0) == first
    random.setstate(state)
    draw_refusals(5, seed=0)
    assert random.getstate() == state


@pytest.mark.parametrize("kind", [IdkNLL, IdkDPO, JensUn, FLAT, AnswerPreservation])
def test_the_seed_alone_decides_the_loss(kind: type) -> None:
    model = moved()
    sums = []
    for seed in (0, 0, 1):
        objective = prepared(kind(seed=seed), resources_of(model))
        sums.append([objective.sum(model, tiny.batch(ROWS)).item() for _ in range(2)])
    assert sums[0] == sums[1]
    assert sums[0][0] == sums[0][1]  # drawn once, not in every step
    assert sums[0] != sums[2]


# The weighted ones


@pytest.mark.parametrize("objective", [WGA(beta=0), SatImp(beta1=0, beta2=0)])
def test_without_powers_the_weights_are_one(objective: Objective) -> None:
    model, batch = moved(), tiny.batch(ROWS)
    assert objective.sum(model, batch).item() == Ascent().sum(model, batch).item()
    gradients = [gradient_of(model, part, [batch]) for part in (objective, Ascent())]
    assert torch.equal(*gradients)


def test_satimp_without_its_second_power_is_wga() -> None:
    model, batch = moved(), tiny.batch(ROWS)
    expected = WGA(beta=2).sum(model, batch).item()
    assert SatImp(beta1=2, beta2=0).sum(model, batch).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        WGA(),
        SatImp(),
        CEU(),
        SimNPO(),
        SatImp(beta1=0, beta2=0.5),
        WGA(beta=0.5),
        MaximumEntropy(),
        JensUn(),
        AnswerPreservation(),
        *(FLAT(divergence) for divergence in Divergence),
    ],
)
@pytest.mark.parametrize("height", [1e4, -1e4])
def test_certain_and_impossible_tokens_give_finite_losses_and_gradients(
    objective: Objective, height: float
) -> None:
    logits = torch.zeros(3, 3)
    logits[torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])] = height  # the answer's own tokens
    model = Lookup(logits)
    objective.prepare(OneRow(), NegativeLogLikelihood())
    loss = objective.sum(model, collate([ORIGINAL], [0], pad=0))
    loss.backward()
    assert math.isfinite(loss.item())
    assert model.head.weight.grad.isfinite().all()


def test_jensun_has_its_ceiling_where_a_refusal_is_impossible() -> None:
    """However impossible; a token that is certain costs nothing."""
    for height, expected in ((-1e4, math.log(2)), (-30.0, math.log(2)), (1e4, 0.0)):
        model, jensun = Lookup(torch.tensor([[height, 0.0, 0.0]] * 3)), JensUn()
        jensun.prepare(OneRow(), NegativeLogLikelihood())
        loss = jensun.sum(model, collate([ORIGINAL], [0], pad=0))
        assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("divergence", Divergence)
def test_flat_ends_where_the_refusal_is_certain_and_the_answer_impossible(
    divergence: Divergence,
) -> None:
    model, flat = Lookup(torch.tensor([[50.0, 0.0, 0.0]] * 3)), FLAT(divergence)
    flat.prepare(OneRow(), NegativeLogLikelihood())  # OTHER is the token 0
    one = collate([Example((0,), (1, 2))], [0], pad=0)
    loss = flat.sum(model, one)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert model.head.weight.grad.abs().max() < 1e-6


def test_maximum_entropy_is_zero_for_a_guess_alone() -> None:
    model = Lookup(torch.full((3, 3), 7.0))
    loss = MaximumEntropy().sum(model, collate([ORIGINAL], [0], pad=0))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert model.head.weight.grad.abs().max() < 1e-6


def test_alternatives_without_a_file_name_the_objective_that_needs_none() -> None:
    with pytest.raises(ConfigurationError, match=r"alternatives: not set.*idk does without"):
        Alternatives()


def test_ce_u_at_its_two_ends() -> None:
    """A certain token is pushed down with slope 1 however certain it is; a lost one with none."""
    for height, slope, others in ((50.0, 1.0, -0.5), (-50.0, 0.0, 0.0)):
        model = Lookup(torch.tensor([[0.0, height, 0.0]] * 3) + 300)  # a shift changes nothing
        loss = CEU().sum(model, collate([Example((0,), (1,))], [0], pad=0))
        assert loss.item() == pytest.approx(math.log(2 + math.exp(height)), rel=1e-6)
        loss.backward()
        gradient = model.head.weight.grad[:, 0]
        torch.testing.assert_close(gradient, torch.tensor([others, slope, others]))


# Bad options


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: NPO(beta=0), ["beta: 0; allowed: above 0"]),
        (lambda: NPO(beta=math.nan), ["beta: nan; allowed"]),
        (lambda: NPO(beta=math.inf), ["beta: inf; allowed"]),
        (lambda: SimNPO(beta=-1, delta=math.inf), ["beta: -1; allowed", "delta: inf; allowed"]),
        (lambda: IdkDPO(beta=-0.1), ["beta: -0.1; allowed: above 0"]),
        (
            lambda: AnswerPreservation(beta=0, seed=-1),
            ["beta: 0; allowed: above 0", "seed: -1; allowed: 0 up to"],
        ),
        (lambda: WGA(beta=-1), ["beta: -1; allowed: 0 "]),
        (lambda: SatImp(-1, math.nan), ["beta1: -1; allowed: 0 ", "beta2: nan; allowed: 0 "]),
    ],
)
def test_bad_options_are_named_with_what_is_allowed(
    make: Callable[[], Objective], problems: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert len(raised.value.problems) == len(problems)
    for found, expected in zip(raised.value.problems, problems, strict=True):
        assert found.startswith(expected)


def test_generic_labels_of_what_is_known_are_mostly_other_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the log says of how many tokens they are the answer itself."""
    model, whp = half_taught("llama"), WHP(alpha=50.0, steps=30, lr=1.0)
    with caplog.at_level("INFO"):
        prepared(whp, FakeResources(model))
    batch = tiny.batch(ROWS)
    labels = whp.labels[batch.rows[batch.owner], batch.places]
    same = int((labels == batch.input_ids[batch.answer_mask]).sum())
    assert 0 < same < len(labels) / 2
    assert f"generic labels: {same} of {len(labels)} are" in caplog.text
    assert whp.sum(model, batch).item() > NegativeLogLikelihood().sum(model, batch).item()
