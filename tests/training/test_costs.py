"""What a step of each method runs of the model, against the ideal of the field's cost table.

F is one forward pass of one batch, a backward pass 2F. Layers are counted, so a second model, a
discarded pass and a layer too many all show.
"""

from __future__ import annotations

import pytest
import torch
from support.shapes import DEPTH, SHAPE

from benchmarks.calls import counted_calls, mark_layers
from benchmarks.loops import build_model
from benchmarks.methods import INTERVENTIONS, Workbench, build_method, ideal, method_names, probed
from unlearn.schedulers import Constant

PEERS = {
    "graddiff": 6,
    "graddiff_kl": 7,
    "npo": 6,
    "dpo": 9,
    "undial": 4,
    "rmu": 7 * 7 / 16,
    "ngdiff": 6,
    "pcgrad": 6,
}
"""The "ideal" column; of rmu, everything that it runs (7F) up to layer 7 of 16."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(SHAPE, torch.device("cpu"), tmp_path_factory.mktemp("work"))


def test_a_step_is_counted_as_its_layers_in_both_directions() -> None:
    model = build_model(SHAPE)
    mark_layers(model)
    ids = torch.tensor([[3, 4, 5]])
    with counted_calls(rows=1) as calls:
        with torch.no_grad():
            model(input_ids=ids)
        model(input_ids=ids, labels=ids).loss.backward()
    assert (calls.forward, calls.backward) == (pytest.approx(2), pytest.approx(2))
    model(input_ids=ids)
    assert calls.forward == pytest.approx(2), "nothing is counted outside"


@pytest.mark.parametrize("name", PEERS)
def test_a_method_runs_what_the_ideal_column_says(work: Workbench, name: str) -> None:
    trainer = work.trainer(build_method(name, work.alternatives), Constant())
    counted = [work.counted(trainer).total for _ in range(2)]
    assert counted == pytest.approx([PEERS[name]] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(method_names()) - set(PEERS) - {"ga", "gd"}))
def test_no_other_method_runs_more_than_its_mathematics(work: Workbench, name: str) -> None:
    method = build_method(name, work.alternatives)
    trainer = work.trainer(method, Constant())
    assert work.counted(trainer).total == pytest.approx(ideal(name, method, DEPTH))


@pytest.mark.parametrize("name", ["ga", "gd"])
def test_a_task_of_weight_zero_costs_a_forward_pass_for_the_record(
    work: Workbench, name: str
) -> None:
    trainer = work.trainer(build_method(name, work.alternatives), Constant())
    assert work.counted(trainer).total == pytest.approx(3 + 1)


@pytest.mark.slow
def test_gen_adds_two_forward_passes_every_ten_steps(work: Workbench) -> None:
    assert work.counted(probed(work), steps=20).total == pytest.approx(6 + 2 / 10)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["graddiff", "ngdiff"])
@pytest.mark.parametrize(("name", "more"), INTERVENTIONS.items())
def test_an_intervention_runs_no_more_than_it_needs(
    work: Workbench, method: str, name: str, more: int
) -> None:
    chosen = build_method(method, work.alternatives, f"method/interventions=[{name}]")
    trainer = work.trainer(chosen, Constant())
    trainer.diagnose_every = 0
    counted = [work.counted(trainer).total for _ in range(2)]
    assert counted == pytest.approx([6 + more] * 2)


def test_fixed_weights_take_their_gradients_apart_at_no_further_cost(work: Workbench) -> None:
    trainer = work.trainer(build_method("graddiff", work.alternatives), Constant())
    trainer.diagnose_every = 2
    counted = [work.counted(trainer).total for _ in range(4)]
    assert counted == pytest.approx([6] * 4)
