"""The commands that README and docs print run: as they are written, but for toy sizes at their end.

Experiments are run by test_experiments, methods by test_methods, the examples' READMEs by
test_examples; what needs weights that no package ships, a cluster or a team's account is only
composed (test_commands_in_docs), and stands in `ELSEWHERE` with the reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command import QUICK, Command, row, write_rows
from support.muse_like import write_muse
from support.pages import commands, overrides_of
from support.published_like import write_knowundo, write_lume

ELSEWHERE = {
    "--help": "test_cli",
    "experiment=": "test_experiments",
    "smollm2": "93 MB of weights",
    "llama": "weights of the hub",
    "mistral": "weights of the hub",
    "lm_eval": "test_harness, where that extra is installed",
    "entity=": "a team's account",
    "qlora": "test_qlora_run, where that extra is installed",
}
SIZES = tuple(word for word in QUICK if not word.startswith(("data", "reference", "tracker")))
"""What makes a run small, and decides neither data nor models."""


def to_run() -> list[str]:
    """Return the commands of README and docs, once each; results and methods have their own."""
    found = [
        command.partition("  #")[0].strip()
        for page, command in commands()
        if page.endswith(".md") and "results" not in page and "methods.md" not in page
    ]
    return sorted({c for c in found if not any(word in c for word in ELSEWHERE)})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages speak of: rows, a data set, saved models."""
    folder = tmp_path_factory.mktemp("place")
    names = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gus", "Hedda")
    rows = [row(f"Where does {name} live?", f"In house {n}.") for n, name in enumerate(names)]
    (folder / "mine").mkdir()
    for forget, retain in (("mine/forget.jsonl", "mine/retain.jsonl"), ("f.jsonl", "r.jsonl")):
        write_rows(folder / forget, rows[:3])
        write_rows(folder / retain, rows[3:])
    write_muse(folder / "MUSE-News")
    write_lume(folder / "lume")
    write_knowundo(folder / "knowundo", "privacy")
    done = Command(folder)(*QUICK[:-1], "tracker=none", "reference=auto", run=folder / "first")
    assert done.status == 0, done.said
    saved = folder / "first" / "model"
    reference = Path(done.summary["model"]["reference"]["path"])
    for path in ("my-model", "somebodys-model", "target", "runs/mine/model"):
        shutil.copytree(saved, folder / path)
    shutil.copytree(saved, folder / "runs/2026-11-25/12-00-00-ngdiff-minitofu-tiny/model")
    shutil.copytree(reference, folder / "reference")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", to_run())
def test_the_command_runs(
    command: str, place: Path, unlearn: Command, request: pytest.FixtureRequest
) -> None:
    words = [
        word
        for word in overrides_of(command)
        # The folder is the test's own, and a rule that a toy cannot meet is not strict.
        if not word.startswith(("hydra.", "hydra/")) and word != "accept.strict=true"
    ]
    chosen = " ".join(words)
    if "data=tofu" in chosen:
        words.append(f"data.path={request.getfixturevalue('tofu_path')}")
        words += ["data.forget_rows=8", "data.retain_rows=16"]
    elif "data=" not in chosen:
        words += QUICK[:3]
    rows = "evaluation.rows=2"
    if "attack=" in chosen:  # half of the forget rows are relearnt, the others looked at
        rows = "evaluation.rows=8"
        words += ["attack.relearning.rows=4"] * ("relearning" in chosen)
    sizes = [word for word in SIZES if not word.startswith(("training.steps", "evaluation.rows"))]
    done = Command(place)(
        *words, *sizes, rows, "training.steps=2", "tracker.name=none", run=unlearn.folder / "run"
    )
    assert done.status == 0, done.said
    assert done.summary["status"] == "completed"
