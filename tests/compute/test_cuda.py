"""On a CUDA GPU: the CPU's numbers, one wait a step, and the memory of the plan.

pytest tests/compute/test_cuda.py       # needs a GPU; without one every test here is skipped
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import SMALL, Command
from support.shapes import SHAPE
from torch.nn import Parameter

from benchmarks.memory import config_of, trainer_of
from benchmarks.methods import Workbench, build_method
from unlearn.compute.device import Compute
from unlearn.compute.gradients import gramian
from unlearn.compute.memory import free_memory
from unlearn.compute.optimizers import adamw, adamw_8bit, maker_8bit
from unlearn.schedulers import Constant, Gen, Scheduler
from unlearn.training.footprint import Rows, footprint
from unlearn.training.recipes import FLOAT32, RECIPES, there
from unlearn.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
METHODS = ("ngdiff", "pcgrad", "npo", "graddiff_kl", "rmu", "undial", "dpo")
"""Not ngdiff_guarded: at the target its retain loss is zero, and the gradient of it rounding."""
OF_THE_LIBRARY = ("masking_utils.py", "modeling_llama.py")
"""Where transformers looks into a mask, which makes the step wait."""
DEEP = {"hidden_size": 512, "intermediate_size": 2048, "layers": 12, "vocab_size": 32000}
ROWS = Rows(8, 256, 128)


def trainer_on(device: torch.device, name: str, scheduler: Scheduler, folder: Path) -> Trainer:
    """A method at its first step, in float32: the numbers are to compare."""
    folder.mkdir(exist_ok=True)
    work = Workbench(SHAPE, device, folder)
    work.compute = Compute(device)
    return work.trainer(build_method(name, work.alternatives), scheduler)


def numbers(trainer: Trainer, steps: int = 5) -> dict[str, list[float]]:
    lines = [trainer.step() for _ in range(steps)]
    names = [name for name, value in lines[0].items() if isinstance(value, float)]
    return {name: [line[name] for line in lines] for name in names}


@pytest.mark.parametrize("name", METHODS)
def test_the_steps_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    found, expected = (
        numbers(trainer_on(device, name, Constant(), tmp_path / device.type))
        for device in (CUDA, CPU)
    )
    assert found.keys() == expected.keys()
    for what, values in expected.items():
        assert found[what] == pytest.approx(values, rel=2e-4, abs=1e-6), what


@pytest.mark.parametrize("name", ["ngdiff", "ngdiff_guarded", "graddiff", "npo", "gd", "simnpo"])
def test_a_step_waits_for_the_gpu_once(name: str, tmp_path: Path) -> None:
    trainer = trainer_on(CUDA, name, Gen(interval=1000, first_probes=1), tmp_path / "work")
    trainer.diagnose_every = 0
    for _ in range(2):  # the first is probed, and makes the optimizer's state
        trainer.step()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{Path(one.filename).name}:{one.lineno}" for one in said if _waited(one)]
    ours = [where for where in waits if not where.startswith(OF_THE_LIBRARY)]
    assert len(ours) == 1, waits
    assert ours[0].startswith("gradients.py"), waits


def _waited(said: warnings.WarningMessage) -> bool:
    return "synchronizing CUDA operation" in str(said.message)


def small_trainer(recipe_name: str, **training: Any) -> Trainer:
    recipe = next(recipe for recipe in RECIPES if recipe.name == recipe_name)
    torch.manual_seed(0)
    trainer = trainer_of(config_of({**DEEP, "layers": 2}, ROWS.tokens), recipe, ROWS, CUDA)
    for name, value in training.items():
        setattr(trainer, name, value)
    return trainer


def weights_after(trainer: Trainer, steps: int = 3) -> list[torch.Tensor]:
    for _ in range(steps):
        trainer.step()
    return [parameter.detach().clone() for parameter in trainer.parameters]


@pytest.mark.parametrize("way", ["parked", "offloaded"])
def test_what_waits_in_the_memory_of_the_cpu_changes_no_bit(way: str) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = weights_after(small_trainer("full"))
            if way == "parked":
                trainer = small_trainer("full", parks=True)
            else:
                trainer = small_trainer("full", compute=Compute(CUDA, offloads=True))
            found = weights_after(trainer)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gramian_is_that_of_float64(dtype: torch.dtype) -> None:
    draw = torch.Generator(CUDA).manual_seed(0)
    shapes = ((4096, 1024), (4096,), (3, 7))
    first, second = (
        [torch.randn(shape, generator=draw, device=CUDA).to(dtype) + 0.05 for shape in shapes]
        for _ in range(2)
    )
    exact = [torch.cat([part.double().flatten() for part in one]) for one in (first, second)]
    rows = torch.stack(exact).cpu()
    torch.testing.assert_close(gramian(first, second), rows @ rows.T, rtol=1e-5, atol=30.0)


def moved(make: Callable[..., Any], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A matrix after ten steps of an optimizer with the same gradients."""
    draw = torch.Generator().manual_seed(0)
    weight = Parameter(torch.randn(256, 256, generator=draw).to(device, dtype))
    optimizer = make([weight])
    for _ in range(10):
        weight.grad = torch.randn(256, 256, generator=draw).to(device, dtype)
        optimizer.step()
    return weight.detach().float().cpu()


def test_fused_adamw_moves_weights_as_on_the_cpu() -> None:
    make = partial(adamw, lr=1e-2, weight_decay=0.1)
    found, expected = (moved(make, device, torch.float32) for device in (CUDA, CPU))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(maker_8bit() is None, reason="needs torchao or bitsandbytes")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_compiled_step_of_8_bits_goes_where_adamw_goes(dtype: torch.dtype) -> None:
    """Eight bits keep two digits of a moment. The way is some .035 long; bfloat16 weights about 1
    are .004 to .008 apart, so that ten updates rounded at random are off by .006 of it."""
    found = moved(partial(adamw_8bit, lr=1e-2), CUDA, dtype)
    expected = moved(partial(adamw, lr=1e-2, weight_decay=0.0), CPU, torch.float32)
    start = moved(partial(adamw, lr=0.0), CPU, torch.float32)
    away = (found - expected).norm() / (expected - start).norm()
    assert away < (0.05 if dtype is torch.float32 else 0.3)


@pytest.mark.parametrize("recipe", [r for r in RECIPES if there(r, CUDA)], ids=lambda r: r.name)
def test_the_peak_of_memory_is_that_of_the_plan(recipe: Any) -> None:
    config = config_of(DEEP, ROWS.tokens)
    autocast = recipe.weight == FLOAT32
    planned = footprint(config, recipe, ROWS, autocast, checkpointing=False).peak
    free_memory()
    before = torch.cuda.memory_allocated()
    trainer = trainer_of(config, recipe, ROWS, CUDA)
    trainer.compute = Compute(CUDA, bfloat16=autocast)
    trainer.step()  # makes the optimizer's state, and torchao's compiled step
    torch.cuda.reset_peak_memory_stats()
    trainer.step()
    measured = torch.cuda.max_memory_allocated() - before
    print(json.dumps({"recipe": recipe.name, "planned": planned, "measured": measured}))
    assert measured == pytest.approx(planned, rel=0.1)


def test_a_run_finds_what_it_finds_on_the_cpu(unlearn: Command) -> None:
    """Target and reference are taught once, on the CPU, and read by both from the cache."""
    words = [*SMALL, "scheduler=constant", "optimizer.lr=1e-3"]
    summaries = [unlearn(*words, f"model.device={device.type}").summary for device in (CPU, CUDA)]
    expected, found = (summary["metrics"] for summary in summaries)
    for stage, metrics in expected.items():
        for name, value in metrics.items():
            assert found[stage][name] == pytest.approx(value, rel=1e-2, abs=2e-3), (stage, name)
