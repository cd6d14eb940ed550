"""Models mixed to an equal retain level: against a hand-made mix, and runs compared there."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.attacked import RETAIN, forget_probability, suite, taught
from support.command import SMALL, Command, Done
from support.doors import door
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearn.errors import ConfigurationError
from unlearn.experiment.mixing import Mixer, largest_share, mixed_at

LEARNT = (*SMALL, "model.fine_tuning.epochs=60", "model.fine_tuning.lr=1e-2", "training.steps=12")


def by_hand(before: Any, after: Any, share: float) -> Any:
    """A third model, weight by weight."""
    mixed = copy.deepcopy(before).state_dict()
    other = after.state_dict()
    model = copy.deepcopy(before)
    model.load_state_dict({k: (1 - share) * w + share * other[k] for k, w in mixed.items()})
    return model


@tiny.every_architecture
def test_the_mix_is_the_one_by_hand(architecture: str) -> None:
    before, after = taught(architecture), tiny.model(architecture, seed=5)
    mixer, wanted = Mixer(copy.deepcopy(after), before), by_hand(before, after, 0.3)
    mixer.put(0.3)
    for one, other in zip(mixer.model.parameters(), wanted.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    for share, end in ((1, after), (0, before)):
        mixer.put(share)
        pairs = zip(mixer.model.parameters(), end.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_bfloat16_is_mixed_in_float32() -> None:
    before, after = tiny.model(dtype=torch.bfloat16), tiny.model(seed=1, dtype=torch.bfloat16)
    mixer = Mixer(copy.deepcopy(after), before)
    mixer.put(0.3)
    for mixed, old, new in zip(
        mixer.model.parameters(), before.parameters(), after.parameters(), strict=True
    ):
        wanted = (old.double() + 0.3 * (new.double() - old.double())).bfloat16()
        assert (mixed == wanted).double().mean() > 0.99


@pytest.mark.parametrize(
    ("kept", "level", "share"),
    [
        (lambda a: 1 - a / 10, 0.9, 1.0),
        (lambda a: 1 - a, 0.98, 2 / 128),
        (lambda a: 1 - a * a, 0.75, 0.5),
        (lambda a: float(a == 0), 0.5, 0.0),
        (lambda a: 1.0 if a < 0.3 else 0.2, 0.9, 38 / 128),
    ],
)
def test_the_largest_share_that_keeps_the_level(kept: Any, level: float, share: float) -> None:
    found = largest_share(kept, level)
    assert found == share
    assert kept(found) >= level
    assert found == 1 or kept(found + 1 / 128) < level


def test_the_level_is_met_and_forgetting_is_what_the_mix_shows() -> None:
    before, after = taught(), tiny.model(seed=5)
    stages = {"before": suite().evaluate(before, "before", None)}
    bench: Any = SimpleNamespace(suite=suite(), stages=stages)
    model, mixed = mixed_at(bench, lambda: copy.deepcopy(after), lambda: before, 0.9)
    wanted = by_hand(before, after, mixed.share)
    whole = forget_probability(before, RETAIN)
    assert 0 < mixed.share < 1
    assert mixed.kept == pytest.approx(forget_probability(wanted, RETAIN) / whole, rel=1e-3)
    assert mixed.kept >= 0.9
    beyond = by_hand(before, after, mixed.share + 1 / 128)
    assert forget_probability(beyond, RETAIN) / whole < 0.9
    assert forget_probability(model) == pytest.approx(forget_probability(wanted), rel=1e-3)
    assert mixed.told == "at_retain=0.9"


def test_models_of_other_shapes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not the same weights"):
        Mixer(tiny.model(), tiny.model("gpt2"))


# The command.


def compare(*words: str | Path) -> tuple[int, str]:
    """Exit status of `unlearn-compare`, and all that it says."""
    return door("compare", Path.cwd(), *map(str, words))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Done]:
    command = Command(tmp_path_factory.mktemp("mixed"))
    done = [
        command(*LEARNT, f"method={method}", "scheduler=constant", "optimizer.lr=3e-3")
        for method in ("graddiff", "ga")
    ]
    assert all(run.status == 0 for run in done), done[0].said
    return done


@pytest.mark.slow
@pytest.mark.trains
def test_runs_are_compared_where_they_keep_equally_much(runs: list[Done], tmp_path: Path) -> None:
    folders = [Path(shutil.copytree(run.folder, tmp_path / run.folder.name)) for run in runs]
    status, out = compare(tmp_path, "--at-retain", "0.9")
    assert status == 0, out
    for folder in folders:
        place = folder / "evaluations" / "at-retain-0.9"
        record = json.loads((place / "record.json").read_text())
        mixed, metrics = record["mixed"], record["metrics"]
        assert mixed["kept"] >= 0.9 and 0 < mixed["share"] < 1
        target = Path(record["model"]["target"]["path"])
        old, new = (load_file(f / "model.safetensors") for f in (target, folder / "model"))
        share = mixed["share"]
        model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
        model.load_state_dict({k: old[k] + share * (new[k] - old[k]) for k in new}, strict=False)
        kept = metrics["after"]["retain/probability"] / metrics["before"]["retain/probability"]
        assert kept == pytest.approx(mixed["kept"], rel=1e-4)
        assert metrics["after"]["forget/probability"] < metrics["before"]["forget/probability"]
        assert by_transformers(model, folder) == pytest.approx(
            metrics["after"]["forget/probability"], rel=1e-3
        )
        assert f"{place}: {share:.3g} of the way from the target" in out
        assert record["overrides"][-1] == "at_retain=0.9"
    assert "method=ga" in out and "at_retain=0.9" in out
    made = [(f / "evaluations/at-retain-0.9/record.json").stat().st_mtime_ns for f in folders]
    status, _ = compare(tmp_path, "--at-retain", "0.9")
    assert status == 0
    assert made == [
        (f / "evaluations/at-retain-0.9/record.json").stat().st_mtime_ns for f in folders
    ], "what is there is not made again"


@pytest.mark.slow
@pytest.mark.trains
def test_a_run_that_keeps_the_level_stands_as_it_measured_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("method=gd", "scheduler=constant", "optimizer.lr=1e-4", "attack=[probing,sampling]")
    run = Command(tmp_path)(*LEARNT, *words, "attack.sampling.samples=2", "attack.sampling.k=[2]")
    assert run.status == 0, run.said

    def never(*_: Any) -> None:
        raise AssertionError("neither mixed nor attacked again")

    with monkeypatch.context() as patch:
        patch.setattr("unlearn.experiment.rescoring.mixed_at", never)
        patch.setattr("unlearn.experiment.bench.run_attacks", never)
        status, out = compare(run.folder, "--at-retain", "0.9")
    assert status == 0, out
    record = json.loads((run.folder / "evaluations/at-retain-0.9/record.json").read_text())
    assert record["mixed"]["share"] == 1 and record["mixed"]["kept"] >= 0.9
    assert record["metrics"] == run.summary["metrics"]
    assert record["attacks"] == run.summary["attacks"]
    assert "as it is, keeps" in out

    summary = json.loads((run.folder / "summary.json").read_text())
    summary["provenance"]["evaluation"]["max_new_tokens"] = 99  # as if it had asked otherwise
    del summary["sha256"]
    (run.folder / "summary.json").write_text(json.dumps(summary))
    shutil.rmtree(run.folder / "evaluations/at-retain-0.9")
    status, out = compare(run.folder, "--at-retain", "0.9")
    assert status == 0, out
    again = json.loads((run.folder / "evaluations/at-retain-0.9/record.json").read_text())
    of = {k: x for k, x in again["metrics"]["after"].items() if not k.startswith("attack/")}
    assert of == {k: record["metrics"]["after"][k] for k in of}, "measured anew, with the same end"


def by_transformers(model: Any, folder: Path) -> float:
    """Mean probability of the forget answers, by transformers' own loss."""
    from unlearn.data.minitofu import MiniTofu
    from unlearn.data.tokens import Encoder

    encoder, found = Encoder(AutoTokenizer.from_pretrained(folder / "model")), []
    for row in MiniTofu(forget_rows=8, retain_rows=16).read().forget:
        example = encoder.encode(row.question, row.answer)
        ids = torch.tensor([[*example.prompt, *example.answer]])
        labels = ids.clone()
        labels[:, : len(example.prompt)] = -100
        with torch.no_grad():
            found.append(torch.exp(-model(input_ids=ids, labels=labels).loss).item())
    return sum(found) / len(found)


@pytest.mark.slow
@pytest.mark.trains
def test_what_cannot_be_mixed_is_said(runs: list[Done], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0].folder, tmp_path / "run"))
    status, out = compare(run, "--at-retain", "1.5")
    assert status == 2 and "--at-retain: 1.5; allowed: above 0, up to 1" in out
    status, out = compare(run, "--trust")
    assert status == 2 and "--trust: only with --at-retain" in out
    other = Path(shutil.copytree(run, tmp_path / "other"))
    shutil.rmtree(other / "model")
    status, out = compare(other, "--at-retain", "0.9")
    assert status == 2 and "left out: " in out and "no model/ to mix" in out
    place = run / "evaluations" / "at-retain-0.9"
    place.mkdir()
    (place / "record.json").write_text("{}")
    status, out = compare(run, "--at-retain", "0.9")
    assert status == 2 and "is of another model; remove that folder" in out
