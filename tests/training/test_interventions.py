"""What interventions do to a step, against plain loops and element-wise formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.command import QUICK, Command
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from benchmarks.loops import plan_of
from unlearn.compute.gradients import Gradient
from unlearn.data.batches import Batch, PairedBatches
from unlearn.errors import NumericalError
from unlearn.objectives import Ascent, NegativeLogLikelihood, NoObjective, Objective
from unlearn.schedulers import Constant, Gen, Scheduler
from unlearn.training.interventions import (
    GRU,
    SAGO,
    SAM,
    UNDO,
    Direction,
    Intervention,
    SaliencyMask,
    Start,
    TaskAtStep,
    TaskVector,
)
from unlearn.training.interventions.saliency_mask import Unit
from unlearn.training.method import Method
from unlearn.training.trainer import Trainer
from unlearn.weightings import GRU as GRUWeighting
from unlearn.weightings import Linear, NGDiff, Weighting

FORGET, RETAIN = tiny.examples()[:3], tiny.examples()[3:]


def trainer_of(
    model: Any,
    interventions: Mapping[str, Intervention],
    weighting: Weighting | None = None,
    optimizer: Callable[[Any], Optimizer] | None = None,
    scheduler: Scheduler | None = None,
    losses: tuple[Objective, Objective] | None = None,
) -> Trainer:
    """A trainer of a small model by ascent and NLL, NGDiff and a constant rate, or others."""
    forget, retain = losses or (Ascent(), NegativeLogLikelihood())
    method = Method(forget, retain, weighting or NGDiff(), interventions=interventions)
    plan = plan_of(method, scheduler or Constant(), optimizer or partial(AdamW, lr=1e-3))
    batches = PairedBatches(FORGET, RETAIN, 2, None, seed=0)
    return Trainer(model, plan, batches, tiny.COMPUTE)


def weights_of(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def bits(model: nn.Module) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in model.parameters()]


# sam


class Curve(nn.Module):
    """Two parameters in float64, which both losses bend."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.3, -1.2], [0.7, 0.1]], dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor([0.4, -0.9], dtype=torch.float64))


def forget_loss(w: Tensor, b: Tensor) -> Tensor:
    return (w @ w.tanh() @ b).square().sum() + (3 * w).sin().sum()


def retain_loss(w: Tensor, b: Tensor) -> Tensor:
    return (w.T @ b).cosh().sum()


LOSSES = (forget_loss, retain_loss)
LEARNT = (Ascent(), NegativeLogLikelihood())
KEPT = (NoObjective(), NegativeLogLikelihood())


class Bent(Objective):
    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss = loss

    def count(self, batch: Batch) -> int:
        return 1

    def sum(self, model: Any, batch: Batch) -> Tensor:
        return self.loss(model.w, model.b)


def gradient_at(
    loss: Callable[[Tensor, Tensor], Tensor], weights: list[Tensor]
) -> tuple[Tensor, ...]:
    here = [weight.clone().requires_grad_() for weight in weights]
    return torch.autograd.grad(loss(*here), here)


@pytest.mark.parametrize("weighting", [Linear(0.25), NGDiff()])
def test_sam_takes_the_steps_of_a_plain_loop(weighting: Weighting) -> None:
    rho, lr, model = 0.1, 0.01, Curve()
    weights = weights_of(model)
    trainer = trainer_of(
        model,
        {"sam": SAM(rho)},
        weighting,
        partial(SGD, lr=lr),
        losses=(Bent(forget_loss), Bent(retain_loss)),
    )
    for _ in range(5):
        line = trainer.step()
        assert line["train/forget_loss"] == pytest.approx(forget_loss(*weights).item(), rel=1e-6)
        f, r = gradient_at(forget_loss, weights), gradient_at(retain_loss, weights)
        norm = math.sqrt(sum(part.square().sum().item() for part in f))
        shifted = [w + rho * part / norm for w, part in zip(weights, f, strict=True)]
        f = gradient_at(forget_loss, shifted)
        share = (0.25, 0.75)
        if isinstance(weighting, NGDiff):
            lengths = [math.sqrt(sum(p.square().sum().item() for p in g)) for g in (r, f)]
            share = (1 / lengths[0], 1 / lengths[1])
        weights = [
            w - lr * (share[0] * a + share[1] * b) for w, a, b in zip(weights, r, f, strict=True)
        ]
        # The Gramian has float32 products.
        torch.testing.assert_close(weights_of(model), weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_weights_come_back_from_sam_bit_by_bit(architecture: str) -> None:
    model = tiny.model(architecture)
    trainer = trainer_of(model, {"sam": SAM(0.5)})
    before, start, seen = bits(model), weights_of(model), []

    def take() -> tuple[Tensor, Gradient]:
        pairs = zip(model.parameters(), start, strict=True)
        moved = math.sqrt(sum((p.detach() - w).square().sum().item() for p, w in pairs))
        seen.append(moved)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return torch.tensor(float(len(seen))), [torch.ones_like(w) for w in start]

    loss, _ = trainer.interventions.gradient("forget", take)
    assert seen == [0, pytest.approx(0.5, rel=1e-3)]
    assert loss == 1, "the loss of the step is the one at the weights"
    assert bits(model) == before
    with pytest.raises(KeyboardInterrupt):
        trainer.interventions.gradient("forget", take)
    assert seen[3] == pytest.approx(0.5, rel=1e-3), "it was cut at the shifted weights"
    assert bits(model) == before
    trainer.interventions.gradient("retain", take)
    assert seen[4:] == [0], "the retain gradient is taken where the weights are"


# saliency_mask


def scores_by_hand(model: Any, unit: Unit) -> list[np.ndarray]:
    """‖∂L_F‖ of every unit, from transformers' own loss over all forget rows at once."""
    batch = tiny.batch(range(len(FORGET)))
    labels = batch.input_ids.masked_fill(~batch.answer_mask, -100)
    model.zero_grad()
    model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels
    ).loss.backward()
    found = []
    for parameter in model.parameters():
        gradient = parameter.grad.double().numpy()
        rows = gradient.reshape(len(gradient), -1)
        found.append(np.sqrt((rows**2).sum(1)) if unit is Unit.neuron else np.abs(rows).ravel())
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize(
    "scheduler", [Constant(), Gen(first_probes=2, pace=1e9)], ids=["constant", "gen"]
)
@pytest.mark.parametrize("unit", Unit)
def test_only_the_most_salient_units_move(unit: Unit, scheduler: Scheduler) -> None:
    share, model = 0.2, tiny.model("gpt2")
    scores = scores_by_hand(model, unit)
    every = np.concatenate(scores)
    count = round(share * len(every))
    least = np.sort(every)[-count]
    start = weights_of(model)
    mask = SaliencyMask(share, unit)
    trainer = trainer_of(
        model,
        {"mask": mask},
        optimizer=partial(AdamW, lr=1e-3, weight_decay=0.1),  # moves without a gradient, too
        scheduler=scheduler,
    )
    for _ in range(3):
        trainer.step()
    moved = 0
    for parameter, before, score in zip(model.parameters(), start, scores, strict=True):
        shape = (len(score), -1)  # entries of a unit side by side
        now, was = parameter.detach().reshape(shape), before.reshape(shape)
        units = (now != was).any(1).numpy()
        clear = score < least * (1 - 1e-4)  # nearer to the threshold rounding decides
        assert not units[clear].any()
        moved += int(units.sum())
        still = ~units
        assert now[still].numpy().tobytes() == was[still].numpy().tobytes()
    assert moved == count


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("names", [("mask",), ("mask", "sago"), ("sago", "mask")])
def test_a_mask_drawn_anew_is_of_the_steps_own_forget_gradient(
    unit: Unit, names: tuple[str, ...]
) -> None:
    """Whatever is named beside it, it acts last; SGD shows what the gradient was."""
    model, lr = Curve(), 0.01
    parts = {"mask": SaliencyMask(0.4, unit, redraw=True), "sago": SAGO()}
    losses = (Bent(forget_loss), Bent(retain_loss))
    chosen = {name: parts[name] for name in names}
    trainer = trainer_of(model, chosen, Linear(0.25), partial(SGD, lr=lr), losses=losses)
    masks = set()
    for _ in range(8):
        weights = weights_of(model)
        f, r = (gradient_at(loss, weights) for loss in LOSSES)
        trainer.step()
        scores = [
            part.abs() if unit is Unit.weight or part.dim() == 1 else part.norm(dim=1)[:, None]
            for part in f
        ]
        every = torch.cat([score.flatten() for score in scores])
        least = every.sort().values[-round(0.4 * len(every))]
        mask = [score >= least for score in scores]
        masks.add(tuple(torch.cat([part.flatten() for part in mask]).tolist()))
        for now, was, a, b, kept in zip(weights_of(model), weights, r, f, mask, strict=True):
            d = 0.25 * a + 0.75 * b
            if "sago" in names:
                d = torch.where(a * b < 0, 0.25 * a, 0.75 * b)
            expected = was - lr * torch.where(kept, d, 0.0)
            torch.testing.assert_close(now, expected, rtol=1e-9, atol=1e-12)


def test_a_mask_drawn_anew_does_without_a_retain_task() -> None:
    model = tiny.model()
    start = weights_of(model)
    mask = SaliencyMask(0.05, redraw=True)
    losses = (Ascent(), NoObjective())
    trainer = trainer_of(model, {"mask": mask}, optimizer=partial(SGD, lr=0.1), losses=losses)
    trainer.step()
    pairs = list(zip(weights_of(model), start, mask.frozen, strict=True))
    for now, was, frozen in pairs:
        assert torch.equal(now[frozen.expand_as(now)], was[frozen.expand_as(was)])
    assert not all(torch.equal(now, was) for now, was, _ in pairs)


def test_a_mask_needs_a_gradient_to_go_by() -> None:
    model = Curve()
    flat = Bent(lambda w, b: 0 * w.sum() + 0 * b.sum())
    with pytest.raises(NumericalError, match="nothing is more salient"):
        trainer_of(model, {"mask": SaliencyMask()}, losses=(flat, Bent(retain_loss)))


# sago


def test_sago_chooses_element_by_element() -> None:
    draw = torch.Generator().manual_seed(0)
    r, f = (torch.randn(50, generator=draw, dtype=torch.float64) for _ in range(2))
    r[:3], f[2:5] = 0.0, 0.0
    r[6], f[6] = 1e-200, -1e-200  # their product is zero
    weights = (0.3, 2.0)
    one = torch.ones(2, dtype=torch.float64)
    combined: Gradient = [0.3 * r + 2.0 * f, 2.0 * one, 0.3 * one, None]
    both: tuple[Gradient, Gradient] = ([r, None, one, None], [f, one, None, None])
    direction = Direction(combined, 0.0, 0.0, weights, 1.0, {}, both=both)
    SAGO().direct(direction)
    expected = [
        0.3 * a if (a > 0 and b < 0) or (a < 0 and b > 0) else 2.0 * b
        for a, b in zip(r.tolist(), f.tolist(), strict=True)
    ]
    assert combined[0] is not None and combined[1] is not None and combined[2] is not None
    assert combined[0].tolist() == expected
    assert (combined[0] * r >= 0).all(), "nothing moves against the retain gradient"
    assert combined[1].tolist() == [2.0, 2.0]
    assert combined[2].tolist() == [0.0, 0.0]
    assert combined[3] is None


@pytest.mark.parametrize("weighting", [Linear(0.25), NGDiff()])
def test_the_optimizer_gets_sagos_direction(weighting: Weighting) -> None:
    model, lr = Curve(), 0.01
    weights = weights_of(model)
    losses = (Bent(forget_loss), Bent(retain_loss))
    trainer = trainer_of(model, {"sago": SAGO()}, weighting, partial(SGD, lr=lr), losses=losses)
    line = trainer.step()
    f, r = gradient_at(forget_loss, weights), gradient_at(retain_loss, weights)
    w_retain, w_forget = line["train/weight_retain"], line["train/weight_forget"]
    direction = [
        torch.where(a * b < 0, w_retain * a, w_forget * b) for a, b in zip(r, f, strict=True)
    ]
    expected = [w - lr * d for w, d in zip(weights, direction, strict=True)]
    torch.testing.assert_close(weights_of(model), expected, rtol=1e-12, atol=1e-12)
    norm = math.sqrt(sum(d.square().sum().item() for d in direction))
    assert line["train/direction_norm"] == pytest.approx(norm, rel=1e-6)


# gru


@pytest.mark.parametrize("gamma", [0.8, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("weighting", [Linear(0.0), Linear(0.25), NGDiff()])
def test_gru_takes_the_steps_of_a_plain_loop(weighting: Weighting, sign: int, gamma: float) -> None:
    """With one sign the first step has no conflict, with the other it has."""

    def unlearnt(w: Tensor, b: Tensor) -> Tensor:
        return sign * forget_loss(w, b)

    lr, model, conflicts = 0.02, Curve(), []
    weights = weights_of(model)
    losses = (Bent(unlearnt), Bent(retain_loss))
    trainer = trainer_of(model, {"gru": GRU(gamma)}, weighting, partial(SGD, lr=lr), losses=losses)
    average = torch.zeros(6, dtype=torch.float64)
    for _ in range(6):
        line = trainer.step()
        both = (gradient_at(loss, weights) for loss in (unlearnt, retain_loss))
        f, r = (torch.cat([part.flatten() for part in gradient]) for gradient in both)
        average = gamma * r + (1 - gamma) * average
        conflicts.append(bool(average @ f < 0))
        w_retain, w_forget = line["train/weight_retain"], line["train/weight_forget"]
        if average @ f < 0:
            f = f - (average @ f) / (average @ average) * average
        d = w_retain * r + w_forget * f
        parts = zip(weights, d.split([4, 2]), strict=True)
        weights = [w - lr * part.view_as(w) for w, part in parts]
        torch.testing.assert_close(weights_of(model), weights, rtol=1e-6, atol=1e-7)
        assert line["train/direction_norm"] == pytest.approx(d.norm().item(), rel=1e-6)
    assert conflicts[0] == (sign < 0)


def test_without_an_average_gru_is_the_weighting_of_that_name() -> None:
    found = []
    for weighting, interventions in ((Linear(0.0), {"gru": GRU(1.0)}), (GRUWeighting(), {})):
        model = Curve()
        losses = (Bent(forget_loss), Bent(retain_loss))
        trainer = trainer_of(model, interventions, weighting, partial(SGD, lr=0.02), losses=losses)
        for _ in range(4):
            trainer.step()
        found.append(weights_of(model))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


# task_vector


@pytest.mark.parametrize("alpha", [1.0, 0.5, 3.0])
@pytest.mark.parametrize(
    "optimizer", [partial(SGD, lr=0.01, momentum=0.9), partial(AdamW, lr=1e-3, weight_decay=0.0)]
)
def test_every_step_is_the_target_less_the_task_vector(
    optimizer: Callable[..., Optimizer], alpha: float
) -> None:
    """A second model learns the forget rows by a plain loop; its change is mirrored."""
    steps, lr = 4, optimizer.keywords["lr"]
    model, learner = (tiny.model("gpt2", dtype=torch.float64) for _ in range(2))
    start = weights_of(model)
    scaled = partial(optimizer.func, **{**optimizer.keywords, "lr": alpha * lr})
    trainer = trainer_of(
        model, {"task_vector": TaskVector(alpha)}, Linear(0.0), scaled, losses=LEARNT
    )
    learning = optimizer(learner.parameters())
    for number in range(steps):
        losses = []
        for batch in trainer.batches.step(number)[0]:
            loss = NegativeLogLikelihood().sum(learner, batch)
            losses.append(loss / NegativeLogLikelihood().count(batch))
        assert len(losses) == 1
        learning.zero_grad()
        losses[0].backward()
        learning.step()
        line = trainer.step()
        assert line["train/forget_loss"] == pytest.approx(losses[0].item(), rel=1e-6)
        for now, was, learnt in zip(model.parameters(), start, learner.parameters(), strict=True):
            expected = was - alpha * (learnt.detach() - was)
            torch.testing.assert_close(now.detach(), expected, rtol=1e-6, atol=1e-8)


def test_the_weights_come_back_from_their_mirror_bit_by_bit() -> None:
    model = tiny.model()
    mirror = TaskVector(0.7)
    trainer = trainer_of(model, {"task_vector": mirror}, Linear(0.25))
    trainer.step()
    before = bits(model)

    def take() -> tuple[Tensor, Gradient]:
        assert bits(model) != before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.interventions.gradient("forget", take)
    assert bits(model) == before


@pytest.mark.parametrize("words", [("method=npo",), ("method=ga", "model/adapter=lora")])
def test_what_has_no_mirror_is_refused(unlearn: Command, words: tuple[str, ...]) -> None:
    done = unlearn(*QUICK, *words, "method/interventions=[task_vector]")
    assert done.status == 2
    assert "method.interventions.task_vector: " in done.said


# undo


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undo_shrinks_every_weight_and_adds_the_noise_of_fresh_ones(dtype: torch.dtype) -> None:
    alpha, beta, model = 0.6, 0.1, tiny.model("gpt2", dtype=dtype)
    start = weights_of(model)
    trainer_of(model, {"undo": UNDO(alpha, beta, seed=4)}, losses=KEPT)
    draw = torch.Generator().manual_seed(4)
    shapes = set()
    for now, was in zip(weights_of(model), start, strict=True):
        noise = torch.zeros(was.shape)
        if was.dim() == 2:
            bound = math.sqrt(6 / (was.shape[0] + was.shape[1]))  # Glorot & Bengio 2010
            noise = (2 * torch.rand(was.shape, generator=draw) - 1) * bound
        expected = (1 - alpha) * was + alpha * beta * noise.to(dtype)
        torch.testing.assert_close(now, expected, rtol=1e-5, atol=1e-7)
        shapes.add(was.dim())
    assert shapes == {1, 2}


def test_undo_leaves_a_model_alone_at_zero_and_follows_its_seed() -> None:
    found = []
    for options in ({"alpha": 0.0}, {"seed": 1}, {"seed": 1}, {"seed": 2}):
        model = tiny.model()
        trainer_of(model, {"undo": UNDO(**options)}, losses=KEPT)
        found.append(bits(model))
    assert found[0] == bits(tiny.model())
    assert found[1] == found[2] != found[3]


@pytest.mark.slow
def test_what_undo_took_away_is_learnt_back_from_the_target(unlearn: Command) -> None:
    words = ("method=undo", "training.steps=30", "scheduler=constant", "optimizer.lr=1e-2")
    done = unlearn(*QUICK, *words)
    assert done.status == 0, done.said
    losses = [line["train/retain_loss"] for line in done.steps]
    assert losses[0] > 0.1, "the noised copy is another model than the one that was kept"
    assert losses[-1] < losses[0] / 2
    assert all(line["train/forget_loss"] is None for line in done.steps)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("method=graddiff",), "undo: loses what nothing brings back"),
        (("method=graddiff_kl", "model/adapter=lora"), "undo: noises the weights of the model"),
    ],
)
def test_undo_is_refused_where_nothing_brings_the_model_back(
    unlearn: Command, words: tuple[str, ...], told: str
) -> None:
    done = unlearn(*QUICK, *words, "method/interventions=[undo]")
    assert done.status == 2
    assert told in done.said


# The seam


def test_a_mask_holds_whatever_is_named_after_it() -> None:
    model = tiny.model()
    start = weights_of(model)
    mask = SaliencyMask(0.1)
    trainer = trainer_of(model, {"mask": mask, "sago": SAGO(), "sam": SAM()})
    trainer.step()
    for parameter, before, frozen in zip(model.parameters(), start, mask.frozen, strict=True):
        assert torch.equal(
            parameter.detach()[frozen.expand_as(before)], before[frozen.expand_as(before)]
        )
    assert bits(model) != [w.numpy().tobytes() for w in start]


def test_the_state_of_every_intervention_is_kept_and_put_back() -> None:
    class Counting(Intervention):
        count = 0

        def settle(self, step: int) -> None:
            self.count += step

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    first = {"mask": SaliencyMask(0.1), "sam": SAM(), "gru": GRU(), "counting": Counting()}
    trainer = trainer_of(tiny.model(seed=1), first)
    trainer.step()
    trainer.step()
    other = {"mask": SaliencyMask(0.5), "sam": SAM(), "gru": GRU(), "counting": Counting()}
    again = trainer_of(tiny.model(seed=2), other)  # a mask of its own, until the state is back
    pairs = list(zip(first["mask"].frozen, other["mask"].frozen, strict=True))
    assert not all(torch.equal(*pair) for pair in pairs)
    again.load_state_dict(trainer.state_dict())
    assert other["counting"].count == 1 + 2
    averages = zip(first["gru"].average, other["gru"].average, strict=True)
    assert all(torch.equal(*pair) for pair in averages)
    pairs = list(zip(first["mask"].frozen, other["mask"].frozen, strict=True))
    assert all(torch.equal(*pair) for pair in pairs)


class Ball(Intervention):
    """A user's: the weights never leave a ball around those of the target."""

    def __init__(self, radius: float) -> None:
        self.radius = radius
        self.steps: list[tuple[int, float]] = []

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters
        self.centre = [p.detach().clone() for p in start.parameters]

    @property
    def distance(self) -> float:
        pairs = zip(self.parameters, self.centre, strict=True)
        return math.sqrt(sum((p.detach() - c).square().sum().item() for p, c in pairs))

    @torch.no_grad()
    def settle(self, step: int) -> None:
        distance = self.distance
        self.steps.append((step, distance))
        for parameter, centre in zip(self.parameters, self.centre, strict=True):
            parameter.copy_(centre + (parameter - centre) * min(1, self.radius / distance))


def test_gen_goes_on_from_where_a_projection_put_the_weights() -> None:
    model = tiny.model()
    ball = Ball(1e-4)
    trainer = trainer_of(model, {"ball": ball}, scheduler=Gen(first_probes=3, pace=1e9))
    for number in range(1, 5):
        trainer.step()
        assert ball.steps[-1][0] == number
        assert ball.steps[-1][1] > ball.radius, "the step itself was longer"
        assert ball.distance <= ball.radius * (1 + 1e-3)


class Elsewhere(Intervention):
    """A user's: both gradients are of another model, whose losses are another's too."""

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters

    @contextmanager
    def around(self, task: TaskAtStep) -> Iterator[None]:
        kept = [parameter.detach().clone() for parameter in self.parameters]
        torch._foreach_mul_([p.data for p in self.parameters], 0.5)
        yield
        torch._foreach_copy_([p.data for p in self.parameters], kept)


def test_a_scheduler_is_given_no_loss_of_another_model() -> None:
    model, told = tiny.model(), []

    class Asking(Constant):
        def step(self, *arguments: Any, **named: Any) -> Any:
            told.append(arguments[3].known)
            return super().step(*arguments, **named)

    trainer_of(model, {"elsewhere": Elsewhere()}, scheduler=Asking()).step()
    trainer_of(model, {}, scheduler=Asking()).step()
    assert told[0] == (None, None)
    assert None not in told[1]


def test_a_direction_that_is_not_finite_moves_nothing() -> None:
    class Broken(Intervention):
        def direct(self, direction: Direction) -> None:
            part = next(part for part in direction.gradient if part is not None)
            part.fill_(math.nan)

    model = tiny.model()
    before = bits(model)
    with pytest.raises(NumericalError, match="direction norm nan"):
        trainer_of(model, {"broken": Broken()}).step()
    assert bits(model) == before


def test_clipping_sees_the_direction_that_an_intervention_made() -> None:
    class Longer(Intervention):
        def direct(self, direction: Direction) -> None:
            for part in direction.gradient:
                if part is not None:
                    part.mul_(100)

    trainer = trainer_of(
        Curve(), {"longer": Longer()}, losses=(Bent(forget_loss), Bent(retain_loss))
    )
    plain = trainer_of(Curve(), {}, losses=(Bent(forget_loss), Bent(retain_loss)))
    length = plain.step()["train/direction_norm"]
    trainer.clip = 10 * length
    assert trainer.step()["train/direction_norm"] == trainer.clip


# As a person runs them

NOTHING = "+method.interventions.nothing._target_=unlearn.training.interventions.Intervention"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ngdiff", "graddiff"])
def test_an_intervention_that_does_nothing_changes_no_bit(unlearn: Command, method: str) -> None:
    without, nothing = (unlearn(*QUICK, f"method={method}", *more) for more in ((), (NOTHING,)))
    assert nothing.status == 0, nothing.said
    assert nothing.weights == without.weights
    assert [{**line, "seconds": 0} for line in nothing.steps] == [
        {**line, "seconds": 0} for line in without.steps
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam", "saliency_mask", "sago", "gru", "task_vector"])
def test_a_run_with_each_is_probed_told_and_recorded(unlearn: Command, name: str) -> None:
    done = unlearn(*QUICK, "method=graddiff", f"method/interventions=[{name}]")
    assert done.status == 0, done.said
    assert done.steps[0]["train/lr_reason"]
    assert done.log.count(f"intervention {name}: ") == 1
    recorded = done.summary["method"]["interventions"]
    assert recorded[name]["_target_"].startswith("unlearn.training.interventions.")
    assert done.weights != unlearn(*QUICK, "method=graddiff").weights
