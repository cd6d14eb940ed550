"""METHODS.md 3 and 5: objectives that compare with the target or a level, and hidden layers.

As in test_objectives_rows, definitions are written anew: functions of a model in float64, fed row
by row without padding; hidden states are transformers' own `output_hidden_states`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import tiny
from support.lookup import ORIGINAL, TABLE, Lookup
from support.resources import FakeResources
from support.tiny import every_architecture, moved
from torch import Tensor, nn

from unlearn.compute.gradients import Gradient
from unlearn.data.batches import Batch, collate
from unlearn.data.tokens import Example
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import answer_logits, hidden_states, number_of_layers
from unlearn.forward.chunks import answer_losses
from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective
from unlearn.objectives.bounded_ascent import BoundedAscent
from unlearn.objectives.hidden_state import HiddenState
from unlearn.objectives.jensen_shannon import JensenShannon
from unlearn.objectives.kl import KullbackLeibler
from unlearn.objectives.nll import NegativeLogLikelihood
from unlearn.objectives.rmu import RMU
from unlearn.objectives.undial import UNDIAL
from unlearn.training.tasks import Task, task_gradient

ROWS = range(len(tiny.ROWS))
LEVELS = [1000.0, 0.001, 1000.0, 1000.0, 0.001, 0.001, 1000.0, 0.001]
"""Levels of the rows: four are far from theirs, four are beyond."""


def resources_of(model: Any, architecture: str = "gpt2", levels: Any = LEVELS) -> FakeResources:
    target = tiny.model(architecture, dtype=next(model.parameters()).dtype)
    return FakeResources(model, target=target, levels=levels)


def prepared(objective: Objective, resources: FakeResources) -> Objective:
    """The objective as a run hands it to training; beside RMU where it keeps hidden states."""
    other: Objective = NegativeLogLikelihood()
    if isinstance(objective, HiddenState):
        other = RMU(layer=1)
        other.prepare(resources, objective)
    objective.prepare(resources, other)
    return objective


def gradient_and_loss(
    model: Any, objective: Objective, batches: Sequence[Batch]
) -> tuple[float, Gradient]:
    """Total sum / total count, and its gradient."""
    parameters = tiny.parameters(model)
    loss, gradient = task_gradient(model, Task(objective, batches), parameters, tiny.COMPUTE)
    return loss.item(), gradient


def filled(gradient: Gradient, model: Any) -> Tensor:
    """The gradient as one vector, zeros where the loss does not depend on a parameter."""
    pairs = zip(gradient, tiny.parameters(model), strict=True)
    return tiny.flat([torch.zeros_like(p) if part is None else part for part, p in pairs])


# Definitions, in float64


def output(model: Any, example: Example, layer: int | None = None) -> tuple[Tensor, Tensor]:
    """log p (T, V), or h_L (T, H), where the answer is predicted; and the answer's ids (T,)."""
    ids = torch.tensor([example.prompt + example.answer])
    mask = torch.ones_like(ids)
    out = model(input_ids=ids, attention_mask=mask, output_hidden_states=layer is not None)
    first = len(example.prompt)
    values = out.logits.double().log_softmax(-1) if layer is None else out.hidden_states[layer]
    return values[0, first - 1 : -1].double(), ids[0, first:]


Definition = Callable[[Any, FakeResources], float]
"""From a model and the resources to the loss summed over all rows."""


def kl_loss(model: Any, resources: FakeResources) -> float:
    total = 0.0
    for example in resources.examples:
        log_p, log_q = output(model, example)[0], output(resources.target, example)[0]
        total += F.kl_div(log_p, log_q, reduction="sum", log_target=True).item()
    return total


def jensen_shannon_loss(model: Any, resources: FakeResources) -> float:
    total = 0.0
    for example in resources.examples:
        both = output(model, example)[0], output(resources.target, example)[0]
        middle = ((both[0].exp() + both[1].exp()) / 2).log()
        total += sum(
            F.kl_div(middle, log_p, reduction="sum", log_target=True).item() / 2 for log_p in both
        )
    return total


def undial_loss(model: Any, resources: FakeResources) -> float:
    total = 0.0
    for example in resources.examples:
        log_q, labels = output(resources.target, example)
        q = (log_q - 1.5 * F.one_hot(labels, log_q.shape[1])).softmax(-1)
        total -= (q * output(model, example)[0]).sum().item()
    return total


def rmu_loss(model: Any, resources: FakeResources) -> float:
    u = torch.rand(32, generator=torch.Generator().manual_seed(4)).double()
    u = 3.0 * u / u.norm()
    states = [output(model, example, 1)[0] for example in resources.examples]
    return sum(F.mse_loss(h, u.expand_as(h)).item() * len(h) for h in states)


def hidden_state_loss(model: Any, resources: FakeResources) -> float:
    total = 0.0
    for example in resources.examples:
        h, kept = output(model, example, 1)[0], output(resources.target, example, 1)[0]
        total += F.mse_loss(h, kept).item() * len(h)
    return total


def bounded_loss(model: Any, resources: FakeResources) -> float:
    total = 0.0
    for example, level in zip(resources.examples, resources.levels, strict=True):
        log_p, labels = output(model, example)
        mean = -log_p.gather(1, labels[:, None]).mean().item()
        total -= mean if mean < level else 0.0
    return total


@dataclass(frozen=True)
class Case:
    """An objective, its definition, and whether it is averaged over rows."""

    name: str
    make: Callable[[], Objective]
    loss: Definition
    per_row: bool = False


CASES = [
    Case("kl", KullbackLeibler, kl_loss),
    Case("jensen_shannon", JensenShannon, jensen_shannon_loss),
    Case("undial", lambda: UNDIAL(beta=1.5), undial_loss),
    Case("rmu", lambda: RMU(layer=1, coefficient=3.0, seed=4), rmu_loss),
    Case("hidden_state", HiddenState, hidden_state_loss),
    Case("bounded_ascent", BoundedAscent, bounded_loss, per_row=True),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# What holds for all of them


@every_case
@every_architecture
def test_the_sum_is_that_of_the_definition(case: Case, architecture: str) -> None:
    model = moved(architecture, torch.float32)
    resources = resources_of(model, architecture)
    objective = prepared(case.make(), resources)
    with torch.no_grad():
        expected = case.loss(model, resources)
    total = objective.sum(model, tiny.batch(ROWS))
    assert total.shape == ()
    assert total.dtype == torch.float32
    assert total.requires_grad
    # KL and hidden states are differences of near numbers, known to float32's rounding of those.
    assert total.item() == pytest.approx(expected, rel=2e-5)


@every_case
@pytest.mark.parametrize("architecture", ["gpt2", "falcon"])  # Llama's norms are always float32
def test_the_gradient_agrees_with_finite_differences(case: Case, architecture: str) -> None:
    """Along the gradient and along random directions through all parameters, in float64."""
    model = moved(architecture)
    resources = resources_of(model, architecture)
    objective = prepared(case.make(), resources)
    parameters = tiny.parameters(model)
    gradient = filled(gradient_and_loss(model, objective, [tiny.batch(ROWS)])[1], model)
    start = [parameter.detach().clone() for parameter in parameters]
    count = objective.count(tiny.batch(ROWS))
    generator = torch.Generator().manual_seed(0)
    directions = [gradient] + [
        torch.randn(gradient.shape, generator=generator, dtype=torch.float64) for _ in range(2)
    ]
    step = 1e-5
    with torch.no_grad():
        for direction in directions:
            direction = direction / direction.norm()
            parts = direction.split([p.numel() for p in parameters])
            values = []
            for x in (step, -step):
                for parameter, here, part in zip(parameters, start, parts, strict=True):
                    parameter.copy_(here + x * part.view_as(here))
                values.append(case.loss(model, resources) / count)
            difference = (values[0] - values[1]) / (2 * step)
            assert (gradient @ direction).item() == pytest.approx(
                difference, rel=1e-6, abs=1e-7 * gradient.norm().item()
            )


@every_case
def test_padding_order_and_micro_batches_change_nothing(case: Case) -> None:
    model = moved()
    objective = prepared(case.make(), resources_of(model))
    loss, gradient = gradient_and_loss(model, objective, [tiny.batch(ROWS)])
    end = tiny.tokenizer().eos_token_id
    shuffled = [5, 2, 7, 0, 3, 6, 1, 4]
    others = {
        "another order": [tiny.batch(shuffled)],
        "padded with the end token": [tiny.batch(ROWS, pad=end)],
        "padded further, with other ids": [tiny.wider(tiny.batch(shuffled), 17, pad=5)],
        "micro-batches": [tiny.batch(rows) for rows in ([4], [1, 7, 2], [0, 6], [5, 3])],
        "row by row": [tiny.batch([row]) for row in ROWS],
    }
    for name, batches in others.items():
        other_loss, other = gradient_and_loss(model, objective, batches)
        assert other_loss == pytest.approx(loss, rel=1e-9), name
        assert [part is None for part in other] == [part is None for part in gradient], name
        assert tiny.relative_error(tiny.flat(other), tiny.flat(gradient)) < 1e-6, name


@every_case
def test_the_sign_and_the_count_are_what_the_objective_says(case: Case) -> None:
    model = moved()
    objective = prepared(case.make(), resources_of(model))
    loss = objective.sum(model, tiny.batch(ROWS)).item()
    assert (loss > 0) == objective.positive
    assert objective.shown(loss) == abs(loss)
    for rows in ([0], [6, 2, 3], list(ROWS)):
        tokens = sum(len(tiny.examples()[row].answer) for row in rows)
        assert objective.count(tiny.batch(rows)) == (len(rows) if case.per_row else tokens)


@every_case
def test_a_computation_in_bfloat16_is_summed_in_float32(case: Case) -> None:
    model = moved(dtype=torch.float32)
    resources = resources_of(model)
    objective = prepared(case.make(), resources)
    precise = objective.sum(model, tiny.batch(ROWS)).item()
    with torch.autocast("cpu", torch.bfloat16):
        total = objective.sum(model, tiny.batch(ROWS))
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(precise, rel=0.1)
    half = moved(dtype=torch.bfloat16)
    assert prepared(case.make(), resources_of(half)).sum(half, tiny.batch([0])).dtype == (
        torch.float32
    )


@every_case
def test_neither_the_target_nor_its_gradients_move(case: Case) -> None:
    model = moved(dtype=torch.float32)
    resources = resources_of(model)
    objective = prepared(case.make(), resources)
    frozen = resources.frozen_target()
    before = {name: part.clone() for name, part in frozen.state_dict().items()}
    objective.sum(model, tiny.batch(ROWS)).backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert all(torch.equal(part, before[name]) for name, part in frozen.state_dict().items())


# Three tokens by hand


class Shift(nn.Module):
    """A layer that adds one number to every entry of a state."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, states: Tensor) -> Tensor:
        return states + self.by


class Stack(nn.Module):
    """Hidden states by hand: those of a token are a row of a table, plus what each layer adds."""

    device = torch.device("cpu")

    def __init__(self, states: Sequence[Sequence[float]], shifts: Sequence[float]) -> None:
        super().__init__()
        self.states = nn.Parameter(torch.tensor(states))
        self.layers = nn.ModuleList([Shift(by) for by in shifts])
        self.base_model = self
        self.config = SimpleNamespace(num_hidden_layers=len(shifts), hidden_size=len(states[0]))

    def __setattr__(self, name: str, value: Any) -> None:
        # A module that is its own child could never be walked through.
        object.__setattr__(self, name, value) if value is self else super().__setattr__(name, value)

    def forward(self, input_ids: Tensor, **_: Any) -> None:
        states = self.states[input_ids]
        for layer in self.layers:
            states = layer(states)


def of_one_row(model: Any, target: Any = None, levels: float = 2.0) -> FakeResources:
    """The resources of ORIGINAL as the only row."""
    resources = FakeResources(model, target=target, levels=levels)
    resources.rows, resources.examples = resources.rows[:1], [ORIGINAL]
    return resources


HAND_BATCH = collate([ORIGINAL], [0], pad=0)


def cross_entropy_by_hand(weights: Sequence[Sequence[float]]) -> float:
    """−Σ q·log p over the three tokens, p being the table."""
    pairs = zip(weights, TABLE, strict=True)
    return -sum(q * math.log(p) for row, ps in pairs for q, p in zip(row, ps, strict=True))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        # The target is uniform: KL = log(1/3) + mean of −log p, token by token.
        (KullbackLeibler(), cross_entropy_by_hand([[1 / 3] * 3] * 3) - 3 * math.log(3)),
        # m = (7/24, 5/12, 7/24), (11/48, 11/48, 13/24), (5/12, 19/60, 4/15)
        (
            JensenShannon(),
            sum(
                (p * math.log(p / ((p + 1 / 3) / 2)) + math.log(1 / 3 / ((p + 1 / 3) / 2)) / 3) / 2
                for row in TABLE
                for p in row
            ),
        ),
        # A logit lowered by log 2 halves a probability: q = (2, 1, 2)/5 around the right token.
        (
            UNDIAL(beta=math.log(2)),
            cross_entropy_by_hand([[0.4, 0.2, 0.4], [0.4, 0.4, 0.2], [0.2, 0.4, 0.4]]),
        ),
        # The mean NLL is log(16/3)/3 = 0.558.
        (BoundedAscent(0.56), -math.log(16 / 3) / 3),
        (BoundedAscent(0.55), 0.0),
    ],
)
def test_three_tokens_by_hand(objective: Objective, expected: float) -> None:
    model = Lookup(torch.tensor(TABLE).log())
    objective.prepare(of_one_row(model, Lookup(torch.zeros(3, 3))), NegativeLogLikelihood())
    assert objective.sum(model, HAND_BATCH).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("objective", "gradient"),
    [
        (KullbackLeibler(), [1 / 4 - 1 / 3, 1 / 2 - 1 / 3, 1 / 4 - 1 / 3]),  # p − p_ref
        (UNDIAL(beta=math.log(2)), [1 / 4 - 2 / 5, 1 / 2 - 1 / 5, 1 / 4 - 2 / 5]),  # p − q
        (BoundedAscent(0.56), [-1 / 12, 1 / 6, -1 / 12]),  # (onehot − p)/3, as of −ℓ/3
        (BoundedAscent(0.55), [0.0, 0.0, 0.0]),
    ],
)
def test_the_gradients_of_three_tokens_by_hand(objective: Objective, gradient: list[float]) -> None:
    """With respect to the logits that predict the first token, where p = (1/4, 1/2, 1/4)."""
    model = Lookup(torch.tensor(TABLE).log())
    objective.prepare(of_one_row(model, Lookup(torch.zeros(3, 3))), NegativeLogLikelihood())
    objective.sum(model, HAND_BATCH).backward()
    torch.testing.assert_close(model.head.weight.grad[:, 0], torch.tensor(gradient))


def test_rmu_by_hand() -> None:
    """The answer 1, 2, 0 is predicted at the tokens 0, 1, 2; layer 2 of 3 has added 0.5 + 1."""
    states = [[0.5, 0.5], [1.5, -0.5], [0.0, 0.0]]
    model = Stack(states, [0.5, 1.0, 100.0])
    rmu = RMU(layer=2)
    rmu.prepare(of_one_row(model), NegativeLogLikelihood())
    rmu.place = torch.tensor([1.2, 1.6])  # 2·(0.6, 0.8)
    # h_2 = (2, 2), (3, 1), (1.5, 1.5): squares .64 + .16, 3.24 + .36, .09 + .01
    loss = rmu.sum(model, HAND_BATCH)
    assert loss.item() == pytest.approx((0.8 + 3.6 + 0.1) / 2, rel=1e-6)
    loss.backward()
    expected = torch.tensor([[0.8, 0.4], [1.8, -0.6], [0.3, -0.1]])  # 2·difference/2
    torch.testing.assert_close(model.states.grad, expected)
    assert model.layers[2].by.grad is None
    # With one entry a state, u can only be 1, whatever is drawn.
    model = Stack([[1.0], [2.0], [4.0]], [0.0])
    rmu = RMU(layer=1, coefficient=3.0, seed=7)
    rmu.prepare(of_one_row(model), NegativeLogLikelihood())
    assert rmu.sum(model, HAND_BATCH).item() == pytest.approx(4 + 1 + 1)


def test_hidden_state_by_hand() -> None:
    model = Stack([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]], [0.5, 1.0, 100.0])
    target = Stack([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0.5, 0.0, -100.0])
    resources = of_one_row(model, target)
    rmu, kept = RMU(layer=2), HiddenState()
    rmu.prepare(resources, kept)
    kept.prepare(resources, rmu)
    # Differences (1, 2), (3, 1), (1, 1)
    assert kept.sum(model, HAND_BATCH).item() == pytest.approx((5 + 10 + 2) / 2)


# KL


@pytest.mark.parametrize("by", [1e-3, 0.01, 0.3])
@every_architecture
def test_kl_is_positive_away_from_the_reference(architecture: str, by: float) -> None:
    """Every token's, and also where it is so small that log-probabilities can hardly tell."""
    model = moved(architecture, torch.float32, by)
    kl = prepared(KullbackLeibler(), resources_of(model, architecture))
    assert kl.sum(model, tiny.batch(ROWS)).item() > 0
    near, far = answer_logits(model, tiny.batch(ROWS))[0], kl.reference
    expected = F.kl_div(
        near.double().log_softmax(1),
        answer_logits(far, tiny.batch(ROWS))[0].double().log_softmax(1),
        log_target=True,
        reduction="sum",
    )
    assert kl.sum(model, tiny.batch(ROWS)).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("by", [1e-5, 1e-4, 1e-3, 1e-2])
def test_kl_is_never_negative_and_accurate_where_it_is_tiny(by: float) -> None:
    """The plain sum of p_ref·(log p_ref − log p) is mostly rounding at such distances."""
    generator = torch.Generator().manual_seed(0)
    far = 3 * torch.randn(100, 100, generator=generator)
    near = far + by * torch.randn(100, 100, generator=generator)
    model, kl = Lookup(near), KullbackLeibler()
    kl.prepare(of_one_row(model, Lookup(far)), NegativeLogLikelihood())
    log_p, log_q = (logits.double().log_softmax(1) for logits in (near, far))
    expected = (log_q.exp() * (log_q - log_p)).sum(1)
    values = torch.tensor(
        [
            kl.sum(model, collate([Example((token,), (0,))], [0], pad=0)).item()
            for token in range(100)
        ]
    )
    assert values.min() >= 0
    assert values.double().sum().item() == pytest.approx(expected.sum().item(), rel=0.02, abs=2e-6)
    everything = collate([Example((0,), (*range(1, 100), 0))], [0], pad=0)
    loss = kl.sum(model, everything)
    assert loss.item() == pytest.approx(values.sum().item(), rel=1e-5)
    loss.backward()  # whole, also where the value was lifted to zero
    gradient = model.head.weight.grad.T.double()
    torch.testing.assert_close(gradient, log_p.exp() - log_q.exp(), rtol=1e-3, atol=3e-7)


@pytest.mark.parametrize("by", [1e-5, 1e-4, 1e-3, 1e-2, 1.0, 30.0])
def test_jensen_shannon_is_never_negative_and_accurate_at_any_distance(by: float) -> None:
    """As KL above; and below its ceiling, log 2, where both are sure of different tokens."""
    generator = torch.Generator().manual_seed(0)
    far = 3 * torch.randn(100, 100, generator=generator)
    near = far + by * torch.randn(100, 100, generator=generator)
    model, divergence = Lookup(near), JensenShannon()
    divergence.prepare(of_one_row(model, Lookup(far)), NegativeLogLikelihood())
    log_p, log_q = (logits.double().log_softmax(1) for logits in (near, far))
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    expected = sum((log.exp() * (log - middle)).sum(1) for log in (log_p, log_q)) / 2
    everything = collate([Example((0,), (*range(1, 100), 0))], [0], pad=0)
    loss = divergence.sum(model, everything)
    assert 0 < loss.item() < 100 * math.log(2)
    assert loss.item() == pytest.approx(expected.sum().item(), rel=1e-3, abs=1e-8)
    loss.backward()
    weights = (log_p - middle) / 2
    slopes = log_p.exp() * (weights - (log_p.exp() * weights).sum(1, keepdim=True))
    gradient = model.head.weight.grad.T.double()
    torch.testing.assert_close(gradient, slopes, rtol=1e-3, atol=3e-7)


@pytest.mark.parametrize("height", [1e4, -1e4])
def test_jensen_shannon_of_certain_and_impossible_tokens_is_finite(height: float) -> None:
    model, divergence = Lookup(torch.tensor([[height, 0.0, 0.0]] * 3)), JensenShannon()
    divergence.prepare(of_one_row(model, Lookup(torch.tensor([[0.0, 0.0, height]] * 3))), Ascent())
    loss = divergence.sum(model, HAND_BATCH)
    loss.backward()
    certain = 3 * math.log(2)  # disjoint; at −1e4 half of both lies on one token
    assert loss.item() == pytest.approx(certain if height > 0 else certain / 2, rel=1e-5)
    assert model.head.weight.grad.isfinite().all()


@every_architecture
@pytest.mark.parametrize("make", [KullbackLeibler, JensenShannon, HiddenState])
def test_at_the_reference_loss_and_gradient_are_exactly_zero(
    make: Callable[[], Objective], architecture: str
) -> None:
    """Exactly: a weighting that divides by the norm would make a direction of any rounding."""
    model = tiny.model(architecture)
    objective = prepared(make(), FakeResources(model))
    loss, gradient = gradient_and_loss(model, objective, [tiny.batch(ROWS)])
    assert loss == 0
    assert tiny.flat(gradient).abs().max() == 0


def test_undial_is_least_where_only_the_right_logit_is_lowered() -> None:
    logits = torch.tensor(TABLE).log()
    lowered = logits - 1.5 * F.one_hot(torch.tensor([1, 2, 0]), 3)  # what follows 0, 1 and 2
    undial = UNDIAL(beta=1.5)
    model = Lookup(lowered)
    undial.prepare(of_one_row(model, Lookup(logits)), NegativeLogLikelihood())
    loss = undial.sum(model, HAND_BATCH)
    p = lowered.softmax(1)
    assert loss.item() == pytest.approx(-(p * p.log()).sum().item(), rel=1e-6)
    loss.backward()
    assert model.head.weight.grad.abs().max() < 1e-6


# Hidden layers


@every_architecture
@pytest.mark.parametrize("layer", [1, 2])
def test_hidden_states_are_transformers_own(architecture: str, layer: int) -> None:
    model, batch = tiny.model(architecture), tiny.batch(ROWS)
    states = hidden_states(model, batch, layer)
    assert states.shape == (batch.answer_tokens, 32)
    assert states.dtype == torch.float32
    if layer == number_of_layers(model):  # transformers gives its last state after the final norm
        states = (model.model.norm if architecture == "llama" else model.transformer.ln_f)(states)
    expected = torch.cat([output(model, example, layer)[0] for example in tiny.examples()])
    torch.testing.assert_close(states.double(), expected, rtol=1e-5, atol=1e-5)


@contextmanager
def calls(model: Any) -> Iterator[list[int]]:
    """How often each layer is called, and at the end the output layer."""
    layers = [*(model.model.layers if hasattr(model, "model") else model.transformer.h)]
    counts = [0] * (len(layers) + 1)

    def count(place: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            counts[place] += 1

        return hook

    modules = [*layers, model.get_output_embeddings()]
    handles = [m.register_forward_hook(count(place)) for place, m in enumerate(modules)]
    yield counts
    for handle in handles:
        handle.remove()


@every_architecture
@pytest.mark.parametrize("layer", [1, 2])
def test_no_layer_above_is_called_or_gets_a_gradient(architecture: str, layer: int) -> None:
    model = moved(architecture, torch.float32)
    resources = resources_of(model, architecture)
    rmu, kept = RMU(layer=layer), HiddenState()
    rmu.prepare(resources, kept)
    kept.prepare(resources, rmu)
    for objective in (rmu, kept):
        with calls(model) as counts, calls(resources.frozen_target()) as of_target:
            _, gradient = gradient_and_loss(model, objective, [tiny.batch(ROWS)])
        assert counts == [1] * layer + [0] * (3 - layer)
        assert of_target == ([0, 0, 0] if objective is rmu else counts)
        names = [name for name, _ in model.named_parameters()]
        with_gradient = {n for n, part in zip(names, gradient, strict=True) if part is not None}
        assert not {n for n in with_gradient if f".{layer}." in n}
        assert {n for n in with_gradient if f".{layer - 1}." in n}


@every_architecture
def test_the_model_is_left_as_it_was(architecture: str) -> None:
    model, batch = tiny.model(architecture), tiny.batch(ROWS)

    def state() -> list[tuple[str, int, int]]:
        return [(n, id(m), len(m._forward_hooks)) for n, m in model.named_modules()]

    before, logits = state(), answer_logits(model, batch)[0]
    hidden_states(model, batch, 1)
    assert state() == before

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    failing = model.base_model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        hidden_states(model, batch, 1)
    failing.remove()
    assert state() == before
    assert torch.equal(answer_logits(model, batch)[0], logits)


@every_architecture
def test_gradient_checkpointing_changes_nothing(architecture: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = moved(architecture, torch.float32)
        if checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
            model.train()
        kept = prepared(HiddenState(), resources_of(model, architecture))
        gradients.append(gradient_and_loss(model, kept, [tiny.batch(ROWS)])[1])
    plain, recomputed = gradients
    assert [part is None for part in plain] == [part is None for part in recomputed]
    torch.testing.assert_close(tiny.flat(recomputed), tiny.flat(plain), rtol=1e-6, atol=1e-9)


def test_layers_that_cannot_be_found_are_reported() -> None:
    model = Stack([[1.0]], [0.0, 0.0])
    model.config.num_hidden_layers = 5
    with pytest.raises(ConfigurationError, match=r"model: Stack keeps its 5 layers in no list"):
        hidden_states(model, HAND_BATCH, 1)


@pytest.mark.parametrize(("depth", "layer"), [(1, 1), (2, 1), (16, 7), (32, 14), (80, 35)])
def test_rmus_own_layer_is_seven_sixteenths_of_the_depth(depth: int, layer: int) -> None:
    rmu = RMU()
    rmu.prepare(of_one_row(Stack([[1.0]], [0.0] * depth)), NegativeLogLikelihood())
    assert rmu.layer == layer


def test_rmus_place_has_its_length_and_follows_its_seed_alone() -> None:
    resources = FakeResources(tiny.model())
    places = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(places))
        state = torch.get_rng_state()
        rmu = RMU(coefficient=5.0, seed=seed)
        rmu.prepare(resources, NegativeLogLikelihood())
        places.append(rmu.place)
        assert torch.equal(torch.get_rng_state(), state)
    assert places[0].shape == (32,)
    assert places[0].norm().item() == pytest.approx(5.0, rel=1e-6)
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])


# Bounded ascent


def row_means(model: Any) -> Tensor:
    """Mean NLL (N,) of each row."""
    means = []
    for example in tiny.examples():
        log_p, labels = output(model, example)
        means.append(-log_p.gather(1, labels[:, None]).mean())
    return torch.stack(means).detach()


def ascent_by_row(model: Any, rows: Sequence[int]) -> Tensor:
    """The gradient of −(1/B)·Σ S/|y| over `rows`, B being all of them."""
    loss = sum(
        Ascent().sum(model, tiny.batch([row])) / len(tiny.examples()[row].answer) for row in rows
    )
    parts = torch.autograd.grad(loss / len(ROWS), tiny.parameters(model))
    return tiny.flat(list(parts))


@pytest.mark.parametrize("level", ["reference", "holdout"])
def test_only_rows_below_their_level_are_raised(level: str) -> None:
    model = moved()
    means = row_means(model)
    signs = torch.tensor([1, -1, 1, 1, -1, -1, 1, -1])
    bounded = prepared(
        BoundedAscent(level), resources_of(model, levels=(means + 0.1 * signs).tolist())
    )
    gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])[1]
    expected = ascent_by_row(model, [row for row in ROWS if signs[row] > 0])
    assert tiny.relative_error(tiny.flat(gradient), expected) < 1e-6


def test_a_level_as_a_number_holds_for_every_row() -> None:
    model = moved()
    means = row_means(model)
    middle = means.median().item() + 1e-6
    bounded = prepared(BoundedAscent(middle), resources_of(model))
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch([3, 0, 7, 5, 1, 2, 6, 4])])
    below = [row for row in ROWS if means[row] < middle]
    assert 0 < len(below) < len(ROWS)
    assert loss == pytest.approx(-means[below].sum().item() / len(ROWS), rel=1e-6)
    assert tiny.relative_error(tiny.flat(gradient), ascent_by_row(model, below)) < 1e-6


def test_it_is_ascent_per_row_while_no_row_is_there() -> None:
    model = moved()
    bounded = prepared(BoundedAscent(1e6), resources_of(model))
    gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])[1]
    assert tiny.relative_error(tiny.flat(gradient), ascent_by_row(model, ROWS)) < 1e-6


@every_architecture
def test_with_every_row_there_loss_and_gradient_are_exactly_zero(architecture: str) -> None:
    model = tiny.model(architecture)
    bounded = prepared(BoundedAscent(), FakeResources(model, levels=1e-6))
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch([0, 1]), tiny.batch([2])])
    assert loss == 0
    assert all(part is not None for part in gradient)
    assert tiny.flat(gradient).abs().max() == 0


@pytest.mark.parametrize("fade", [0.05, 0.5, 5.0])
def test_a_pull_that_fades_is_the_distance_to_the_level_by_row(fade: float) -> None:
    """Huber's loss of S/|y| − level over `fade`: −1, then linear through 0 at the level, then 1."""
    model = moved()
    means = row_means(model)
    offsets = torch.tensor([2.0, 0.04, 0.3, 0.0, -0.02, -0.4, -3.0, 1.0])
    bounded = prepared(
        BoundedAscent("reference", fade), resources_of(model, levels=(means + offsets).tolist())
    )
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])
    u = -offsets.double()
    huber = torch.where(u.abs() <= fade, u**2 / 2, fade * (u.abs() - fade / 2)) / fade
    assert loss == pytest.approx(huber.mean().item(), rel=1e-4)
    pulls = (offsets / fade).clamp(-1, 1)
    expected = sum(pull * ascent_by_row(model, [row]) for row, pull in enumerate(pulls.tolist()))
    assert tiny.relative_error(tiny.flat(gradient), expected) < 1e-5


def token_losses(model: Any) -> list[Tensor]:
    """NLL of every answer token, row by row, each row by itself."""
    with torch.no_grad():
        return [answer_losses(model, tiny.batch([row]))[0] for row in ROWS]


def test_known_token_by_token_it_is_the_distance_of_every_token() -> None:
    """Mean over rows of the mean of Huber's loss of each token."""
    model, fade = moved(), 0.5
    losses = token_losses(model)
    generator = torch.Generator().manual_seed(3)
    offsets = [torch.randn(len(row), generator=generator) for row in losses]
    levels = [row + offset for row, offset in zip(losses, offsets, strict=True)]
    resources = resources_of(model)
    resources._token_levels = levels
    bounded = prepared(BoundedAscent("reference", fade), resources)
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])
    rows = []
    for offset in offsets:
        u = offset.double().abs()
        rows.append((torch.where(u <= fade, u**2 / 2, fade * (u - fade / 2)) / fade).mean())
    assert loss == pytest.approx(torch.stack(rows).mean().item(), rel=1e-4)
    batch = tiny.batch(list(reversed(ROWS)))
    other, turned = gradient_and_loss(model, bounded, [batch])
    assert other == pytest.approx(loss, rel=1e-5)
    assert tiny.relative_error(tiny.flat(turned), tiny.flat(gradient)) < 1e-4


def distilled_loss(model: Any, resources: FakeResources, levels: Sequence[Tensor]) -> Tensor:
    """Mean over rows of the mean over tokens of KL(q ‖ p), written out in float64.

    q: the target's probabilities, the right one replaced by exp(−level) and all others scaled to
    what that leaves.
    """
    rows = []
    for example, level in zip(resources.examples, levels, strict=True):
        log_p, labels = output(model, example)
        with torch.no_grad():
            of_target = output(resources.target, example)[0].double().exp()
        distances = []
        for t, label in enumerate(labels.tolist()):
            q = of_target[t].clone()
            right = math.exp(-level[t].item())
            q[label] = 0
            q = q / q.sum() * (1 - right)
            q[label] = right
            distances.append((q * (q.log() - log_p[t].double())).sum())
        rows.append(torch.stack(distances).mean())
    return torch.stack(rows).mean()


@every_architecture
def test_what_is_distilled_is_the_target_with_every_token_at_its_level(architecture: str) -> None:
    model = moved(architecture)
    resources = resources_of(model, architecture)
    levels = [torch.linspace(0.2, 6, len(example.answer)) for example in resources.examples]
    resources._token_levels = levels
    whole = prepared(BoundedAscent("reference", 2.0, distil=1.0), resources)
    loss, gradient = gradient_and_loss(model, whole, [tiny.batch(ROWS)])
    expected = distilled_loss(model, resources, levels)
    parts = torch.autograd.grad(expected, tiny.parameters(model), allow_unused=True)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert tiny.relative_error(tiny.flat(gradient), tiny.flat(list(parts))) < 1e-4

    none = prepared(BoundedAscent("reference", 2.0), resources)
    half = prepared(BoundedAscent("reference", 2.0, distil=0.5), resources)
    without, _ = gradient_and_loss(model, none, [tiny.batch(ROWS)])
    assert gradient_and_loss(model, half, [tiny.batch(ROWS)])[0] == pytest.approx(
        (loss + without) / 2, rel=1e-6
    )


def test_a_token_that_is_certain_is_distilled_without_a_fault() -> None:
    """A level of zero leaves the others nothing, of which a logarithm is to be taken."""
    model = moved()
    resources = resources_of(model)
    resources._token_levels = [torch.zeros(len(example.answer)) for example in resources.examples]
    bounded = prepared(BoundedAscent("reference", 2.0, distil=0.5), resources)
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])
    assert math.isfinite(loss)
    assert tiny.flat(gradient).isfinite().all()


@pytest.mark.parametrize(
    "objective",
    [
        NegativeLogLikelihood(),
        KullbackLeibler(),
        JensenShannon(),
        UNDIAL(),
        BoundedAscent("reference", 2.0),
        BoundedAscent("reference", 2.0, distil=0.5),
        BoundedAscent("holdout", 2.0, distil=0.5),
        BoundedAscent(3.0, 2.0, distil=0.5),
    ],
)
def test_who_keeps_the_target_says_so(objective: Objective) -> None:
    """What a step needs is planned by it, before there is a model."""
    resources = resources_of(moved())
    if objective.needs_level == "reference":
        resources._token_levels = token_losses(resources.model)
    objective.prepare(resources, NegativeLogLikelihood())
    assert (resources._frozen is not None) == objective.keeps_target


def test_nothing_is_distilled_where_a_level_is_known_by_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No second model is held for it, and one line says so."""
    model = moved()
    resources = resources_of(model)
    with caplog.at_level("INFO"):
        bounded = prepared(BoundedAscent("holdout", 2.0, distil=0.5), resources)
    assert "method.forget.distil: left out" in caplog.text
    assert resources._frozen is None
    plain = prepared(BoundedAscent("holdout", 2.0), resources)
    batch = [tiny.batch(ROWS)]
    assert gradient_and_loss(model, bounded, batch)[0] == gradient_and_loss(model, plain, batch)[0]


@pytest.mark.parametrize("distil", [0.0, 0.5])
def test_at_the_level_of_every_token_nothing_pulls(distil: float) -> None:
    """The target at its own levels is where it should be, its whole prediction included."""
    model = tiny.model("gpt2")
    resources = resources_of(model, "gpt2")
    resources._token_levels = token_losses(model)
    bounded = prepared(BoundedAscent("reference", 2.0, distil=distil), resources)
    loss, gradient = gradient_and_loss(model, bounded, [tiny.batch(ROWS)])
    assert loss < 1e-9
    assert tiny.flat(gradient).abs().max() < 1e-4


def test_without_a_fade_rows_are_bounded_by_their_mean() -> None:
    """Plain bounded ascent does not ask for levels of tokens, which would be another objective."""
    model = moved()
    resources = resources_of(model, levels=1e9)
    resources._token_levels = token_losses(model)
    bounded = prepared(BoundedAscent("reference"), resources)
    with torch.no_grad():
        loss = bounded.sum(model, tiny.batch(ROWS)).item()
    assert loss == pytest.approx(-row_means(model).sum().item(), rel=1e-5)


def test_a_pull_that_fades_is_shown_as_the_distance_that_it_is() -> None:
    assert BoundedAscent(1.0, fade=2.0).positive
    assert not BoundedAscent(1.0).positive
    assert BoundedAscent(1.0, fade=2.0).shown(0.3) == 0.3
    assert BoundedAscent(1.0).shown(-0.3) == 0.3


def test_reaching_the_level_exactly_is_enough() -> None:
    model = Lookup(torch.zeros(4, 4))
    for level, active in ((math.log(4) * 1.0001, True), (math.log(4) * 0.9999, False)):
        bounded = BoundedAscent(level)
        bounded.prepare(of_one_row(model), NegativeLogLikelihood())
        assert (bounded.sum(model, HAND_BATCH).item() != 0) == active
    bounded.level = (-F.log_softmax(torch.zeros(4), 0))[0].item()
    assert bounded.sum(model, HAND_BATCH).item() == 0


def test_levels_are_asked_for_only_where_they_are_named() -> None:
    assert BoundedAscent().needs_level == "reference"
    assert BoundedAscent("holdout").needs_level == "holdout"
    for number in (2, 2.5, "2.5"):
        assert BoundedAscent(number).needs_level is None
        assert BoundedAscent(number).level == float(number)


# Bad options


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: UNDIAL(beta=0), ["beta: 0; allowed: above 0"]),
        (lambda: UNDIAL(beta=math.inf), ["beta: inf; allowed: above 0"]),
        (lambda: RMU(layer=0), ["layer: 0; allowed: null"]),
        (lambda: RMU(-1, math.nan), ["layer: -1; allowed", "coefficient: nan; allowed: above 0"]),
        (
            lambda: BoundedAscent("target"),
            ["level: 'target'; allowed: auto, reference, holdout, or a"],
        ),
        (lambda: BoundedAscent(0), ["level: 0; allowed"]),
        (lambda: BoundedAscent(-1.0), ["level: -1.0; allowed"]),
        (lambda: BoundedAscent(None), ["level: None; allowed"]),
        (lambda: BoundedAscent(math.nan), ["level: nan; allowed"]),
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


def test_a_layer_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^method.forget.layer: 40; allowed: 1 to 2,"):
        RMU(layer=40).prepare(FakeResources(tiny.model()), NegativeLogLikelihood())


def test_hidden_state_beside_an_objective_on_the_output_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"hidden_state .*Ascent.*method/forget=rmu"):
        HiddenState().prepare(FakeResources(tiny.model()), Ascent())
