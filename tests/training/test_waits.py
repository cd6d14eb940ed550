"""A step waits for its device once: losses, norms and Gramian leave it together."""

from __future__ import annotations

import pytest
import torch
from support.shapes import SHAPE
from support.waits import counted_waits

from benchmarks.methods import Workbench, build_method
from unlearn.schedulers import Constant, Gen

OURS = "tolist in gradients.py"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(SHAPE, torch.device("cpu"), tmp_path_factory.mktemp("work"))


def of_the_library(name: str) -> bool:
    """Whether transformers asks, which looks into the mask of every batch for padding."""
    return name.endswith(("masking_utils.py", "modeling_llama.py"))


@pytest.mark.parametrize("name", ["ngdiff", "ngdiff_guarded", "graddiff", "npo", "gd", "simnpo"])
def test_a_step_waits_once(work: Workbench, name: str) -> None:
    gen = Gen(interval=1000, first_probes=1)
    trainer = work.trainer(build_method(name, work.alternatives), gen)
    trainer.diagnose_every = 0
    trainer.step()  # the first one is probed, and makes the optimizer's state
    with counted_waits(work.model) as found:
        trainer.step()
    ours = {what: times for what, times in found.items() if not of_the_library(what)}
    assert ours == {OURS: 1}, found


def test_what_would_make_it_wait_is_seen(work: Workbench) -> None:
    trainer = work.trainer(build_method("ngdiff", work.alternatives), Constant())
    (batch,) = trainer.batches.step(0)[0]
    device = torch.device("cpu")
    with counted_waits(work.model) as found:
        moved = batch.to(device)
        moved.input_ids[moved.answer_mask]
        moved.answer_mask.nonzero()
        int(moved.attention_mask.sum())
        weight = next(work.model.parameters()).detach()
        weight.sum().item()
        weight.sum().cpu().item()  # of the host once it has left
        batch.attention_mask.sum().item()  # which never was anywhere else
    by_name = {what.partition(" ")[0]: times for what, times in found.items()}
    assert by_name == {"index": 1, "nonzero": 1, "_local_scalar_dense": 2, "cpu": 1}
