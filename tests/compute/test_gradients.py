"""Two gradients, their Gramian and their combination: exact sums and splits, no copy too many."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny
from torch import Tensor

from unlearn.compute.gradients import combine_, gramian, inner_product, parked
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.training.tasks import Task, task_gradient, task_loss, weighted_gradient
from unlearn.weightings import NGDiff

FORGET, RETAIN = [0, 1, 2], [3, 4, 5, 6, 7]
SPLITS = [[[3, 4, 5, 6, 7]], [[3], [4, 6], [5, 7]], [[7], [3], [5], [6], [4]]]
"""The retain rows in one, three and five micro-batches of unequal numbers of answer tokens."""


def retain_task(split: list[list[int]] | None = None) -> Task:
    return Task(NegativeLogLikelihood(), [tiny.batch(rows) for rows in split or [RETAIN]])


def forget_task(split: list[list[int]] | None = None) -> Task:
    return Task(Ascent(), [tiny.batch(rows) for rows in split or [FORGET]])


def gradient_of(model: Any, task: Task) -> tuple[float, Tensor]:
    loss, gradient = task_gradient(model, task, tiny.parameters(model), tiny.COMPUTE)
    return loss.item(), tiny.flat(gradient)


class Passes:
    """Counts the forward passes, with and without gradient, and the backward passes of a model."""

    def __init__(self, model: Any) -> None:
        self.forward = self.without_gradient = self.backward = 0
        model.register_forward_hook(self._count_forward)
        last = model.model.norm.weight  # takes part in every loss, so it accumulates once a pass
        last.register_post_accumulate_grad_hook(self._count_backward)

    def _count_forward(self, *_: Any) -> None:
        if torch.is_grad_enabled():
            self.forward += 1
        else:
            self.without_gradient += 1

    def _count_backward(self, _: Tensor) -> None:
        self.backward += 1

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.forward, self.without_gradient, self.backward


# Sums over many elements


def large_gradients(kind: str, dtype: torch.dtype) -> tuple[list[Tensor | None], list[Tensor]]:
    """Two gradients with a tensor of 5 million elements; the first lacks two of its parts."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(5_000_000,), (7,), (300, 20), (), (1_048_577,)]

    def draw(shape: tuple[int, ...]) -> Tensor:
        values = torch.rand(shape, generator=generator)
        if kind == "all of one sign":  # the worst case for a running sum in float32
            return (0.5 + values / 1e3).to(dtype)
        if kind == "a few large ones":
            return (1e-4 * torch.exp(12 * values)).to(dtype)
        return torch.randn(shape, generator=generator).to(dtype)

    first: list[Tensor | None] = [draw(shape) for shape in shapes]
    second = [draw(shape) for shape in shapes]
    first[1] = first[4] = None
    return first, second


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["normal", "all of one sign", "a few large ones"])
def test_the_gramian_is_right_to_1e_5_against_float64(kind: str, dtype: torch.dtype) -> None:
    first, second = large_gradients(kind, dtype)
    ours = gramian(first, second)
    common = [(a.double(), b.double()) for a, b in zip(first, second, strict=True) if a is not None]
    one = sum((a * a).sum() for a, _ in common)
    cross = sum((a * b).sum() for a, b in common)
    other = sum(b.double().square().sum() for b in second)

    assert ours.dtype == torch.float64
    assert ours[0, 0].item() == pytest.approx(one.item(), rel=1e-5)
    assert ours[1, 1].item() == pytest.approx(other.item(), rel=1e-5)
    scale = math.sqrt(one * other)  # of nearly orthogonal gradients the product itself is rounding
    assert ours[0, 1].item() == pytest.approx(cross.item(), abs=1e-5 * scale)
    assert ours[0, 1] == ours[1, 0]
    assert inner_product(first, second) == ours[0, 1]


def test_gradients_that_share_no_parameter_are_orthogonal() -> None:
    one, other = torch.ones(3), torch.ones(2)
    ours = gramian([one, None, None], [None, other, None])
    assert ours.tolist() == [[3.0, 0.0], [0.0, 2.0]]
    assert inner_product([None], [None]).item() == 0.0


# Micro-batches


@pytest.mark.parametrize("split", SPLITS[1:])
def test_micro_batches_change_neither_loss_nor_gradient(split: list[list[int]]) -> None:
    model = tiny.model()
    loss, gradient = gradient_of(model, retain_task())
    split_loss, split_gradient = gradient_of(model, retain_task(split))
    assert split_loss == pytest.approx(loss, rel=1e-6)
    assert tiny.relative_error(split_gradient, gradient) < 1e-5
    assert task_loss(model, retain_task(split), tiny.COMPUTE).item() == pytest.approx(
        loss, rel=1e-6
    )


def test_a_mean_of_means_would_be_seen_here() -> None:
    """The rows differ enough in length that a micro-batch normalised on its own shows."""
    model = tiny.model()
    _, gradient = gradient_of(model, retain_task())
    parts = [gradient_of(model, retain_task([rows]))[1] for rows in SPLITS[1]]
    assert tiny.relative_error(sum(parts) / len(parts), gradient) > 0.05


def test_the_loss_is_the_mean_over_all_answer_tokens() -> None:
    model = tiny.model()
    answers = [tiny.examples()[row].answer for row in RETAIN]
    tokens = sum(map(len, answers))
    assert retain_task(SPLITS[1]).count == tokens
    total = sum(
        gradient_of(model, retain_task([[row]]))[0] * len(tiny.examples()[row].answer)
        for row in RETAIN
    )
    assert gradient_of(model, retain_task())[0] == pytest.approx(total / tokens, rel=1e-6)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1.0, 0.0), (0.0, 1.0)])
def test_one_weighted_pass_gives_the_weighted_sum_of_two(
    weights: tuple[float, float], split: list[list[int]]
) -> None:
    model = tiny.model()
    retain_loss, g_retain = gradient_of(model, retain_task())
    forget_loss, g_forget = gradient_of(model, forget_task())
    losses_and_gradient = weighted_gradient(
        model,
        retain_task(split),
        forget_task([[2], [0, 1]]),
        weights,
        tiny.parameters(model),
        tiny.COMPUTE,
    )
    assert losses_and_gradient[0].item() == pytest.approx(retain_loss, rel=1e-6)
    assert losses_and_gradient[1].item() == pytest.approx(forget_loss, rel=1e-6)
    expected = weights[0] * g_retain + weights[1] * g_forget
    assert tiny.relative_error(tiny.flat(losses_and_gradient[2]), expected) < 1e-5


def test_the_gradients_are_taken_out_of_the_parameters() -> None:
    model = tiny.model()
    gradient_of(model, retain_task())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_parameter_outside_the_loss_has_no_gradient() -> None:
    model = tiny.model()
    idle = torch.nn.Parameter(torch.ones(3))
    parameters = [*tiny.parameters(model), idle]
    _, gradient = task_gradient(model, retain_task(), parameters, tiny.COMPUTE)
    assert gradient[-1] is None
    assert all(part is not None for part in gradient[:-1])


# Cost


def test_a_task_costs_one_forward_and_one_backward_pass_a_micro_batch() -> None:
    model = tiny.model()
    passes = Passes(model)
    gradient_of(model, retain_task(SPLITS[1]))
    assert passes.counted == (3, 0, 3)


def test_fixed_weights_cost_one_backward_pass_a_micro_batch_of_unlike_rows() -> None:
    """Pairs that one pass serves: tests/forward/test_shared_pass.py."""
    model = tiny.model()
    model.set_attn_implementation("eager")  # which reads their padding
    passes = Passes(model)
    tasks = retain_task(SPLITS[1]), forget_task([[2], [0, 1]])
    weighted_gradient(model, *tasks, (0.5, 0.5), tiny.parameters(model), tiny.COMPUTE)
    assert passes.counted == (5, 0, 5)


@pytest.mark.parametrize(
    ("weights", "expected"), [((1.0, 0.0), (3, 2, 3)), ((0.0, 1.0), (2, 3, 2))]
)
def test_a_task_of_weight_zero_is_never_differentiated(
    weights: tuple[float, float], expected: tuple[int, int, int]
) -> None:
    model = tiny.model()
    passes = Passes(model)
    tasks = retain_task(SPLITS[1]), forget_task([[2], [0, 1]])
    weighted_gradient(model, *tasks, weights, tiny.parameters(model), tiny.COMPUTE)
    assert passes.counted == expected


# The combination


def test_the_combination_lies_in_the_memory_of_the_forget_gradient() -> None:
    retain = [torch.tensor([1.0, 2.0]), torch.tensor([3.0]), None, None]
    forget = [torch.tensor([10.0, 20.0]), None, torch.tensor([30.0]), None]
    kept = [None if part is None else part.clone() for part in retain]
    addresses = [None if part is None else part.data_ptr() for part in forget]

    combined = combine_(retain, forget, (2.0, 0.5))

    assert [None if part is None else part.tolist() for part in combined] == [
        [7.0, 14.0],
        [6.0],
        [15.0],
        None,
    ]
    for part, address in zip(combined, addresses, strict=True):
        assert address is None or part.data_ptr() == address
    assert combined[1].data_ptr() != retain[1].data_ptr()
    for part, before in zip(retain, kept, strict=True):
        assert part is None if before is None else torch.equal(part, before)


def test_ngdiff_on_a_model_lowers_retain_and_raises_forget_by_the_first_order() -> None:
    """The guarantee of METHODS.md 2, from gradients of a model to losses after a step."""
    model = tiny.model()
    parameters = tiny.parameters(model)
    # Every micro-batch of its own length: the gradients are normalised once, over the whole batch.
    retain, forget = retain_task(SPLITS[1]), forget_task([[2], [0, 1]])
    retain_loss, g_retain = task_gradient(model, retain, parameters, tiny.COMPUTE)
    forget_loss, g_forget = task_gradient(model, forget, parameters, tiny.COMPUTE)
    products = gramian(g_retain, g_forget)
    retain_norm, forget_norm = products.diagonal().sqrt().tolist()
    cosine = -products[0, 1].item() / (retain_norm * forget_norm)  # of ∇L_R and ∇L_F
    weights = NGDiff()(products, torch.stack([retain_loss, forget_loss]).double())
    direction = combine_(g_retain, g_forget, weights)
    assert inner_product(direction, direction).item() == pytest.approx(2 * (1 - cosine), rel=1e-4)

    step = 1e-3
    with torch.no_grad():
        for parameter, part in zip(parameters, direction, strict=True):
            parameter -= step * part
    retain_change = task_loss(model, retain, tiny.COMPUTE) - retain_loss
    forget_change = task_loss(model, forget, tiny.COMPUTE) - forget_loss
    assert retain_change.item() == pytest.approx(-step * retain_norm * (1 - cosine), rel=0.1)
    assert forget_change.item() == pytest.approx(-step * forget_norm * (1 - cosine), rel=0.1)


# A gradient that waits in the CPU's memory


def test_a_parked_gradient_gives_the_same_bits() -> None:
    model = tiny.model()
    pairs = [
        [task_gradient(model, task, tiny.parameters(model), tiny.COMPUTE)[1] for task in tasks]
        for tasks in [(retain_task(), forget_task())] * 2
    ]
    pairs[1][0] = parked(pairs[1][0])
    pairs[1][0][0] = pairs[0][0][0] = None  # of a parameter that the loss does not depend on
    pairs[1][1][1] = pairs[0][1][1] = None
    expected, found = (gramian(*pair) for pair in pairs)
    assert torch.equal(found, expected)
    plain = combine_(*pairs[0], (0.3, 0.7))
    waited = combine_(*pairs[1], (0.3, 0.7), torch.device("cpu"))
    assert torch.equal(tiny.flat(waited), tiny.flat(plain))
