"""A sweep's job as a team finds it on the dashboard: written offline, read back by wandb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command import SMALL, row, write_rows
from support.forked import Forked

from unlearn.metrics.catalogue import HEADLINES

CONDITION = "accept.conditions=[{metric: forget/loss, at_least: 0.1}]"


def inspect(folder: Path, *flags: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *flags, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_an_offline_run_read_back_has_every_headline_number_table_and_group(
    tmp_path: Path,
) -> None:
    sweep, home = tmp_path / "2026-11-25" / "12-00-00-sweep", tmp_path / "home"
    words = [*SMALL, "tracker=wandb", "tracker.mode=offline", "tracker.log_model=true", CONDITION]
    words += ["tracker.tags=[mine]", "training.steps=2", f"hydra.sweep.dir={sweep}"]
    place = {"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(home)}
    process = Forked("-m", *words, cwd=tmp_path, said=tmp_path / "said", **place)
    done = process.finish(sweep / "0-ngdiff-minitofu-tiny")
    assert done.status == 0, done.said
    (folder,) = (done.folder / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in done.log

    read: dict[str, Any] = json.loads(inspect(folder, "--summary"))
    assert (read["state"], read["exit_code"]) == ("finished", 0)
    assert read["name"] == "0-ngdiff-minitofu-tiny"
    assert read["run_id"] == (done.folder / "wandb_id").read_text().strip()
    assert {"ngdiff", "minitofu", "tiny", "gen", "mine"} == set(read["tags"])
    assert read["config"]["config"]["optimizer"]["lr"] == pytest.approx(1e-4)

    row, metrics = read["summary"], done.summary["metrics"]
    shown = set()
    for stage, flat in metrics.items():
        for name in HEADLINES:
            if flat.get(name) is not None:
                shown.add(name)
                assert row[f"{stage}_{name.replace('/', '_')}"] == pytest.approx(flat[name]), name
    assert {"forget/rougeL_recall", "retain/probability", "model_utility"} <= shown
    for name, value in metrics["after"].items():
        if value is not None:
            assert row[name] == pytest.approx(value), name
    assert row["accepted"] is row["verdict/forget/loss"] is True
    assert row["train_s"] == pytest.approx(done.summary["cost"]["train_s"])
    assert row["status"] == "completed"
    answers = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in (done.folder / "evaluations" / "after").glob("generations.jsonl")
    )
    assert row["generations"]["nrows"] == answers > 0
    assert {"figures/plane", "figures/training"} <= row.keys()

    records = [json.loads(line) for line in inspect(folder).splitlines()]
    (about,) = (record["run"] for record in records if record["type"] == "run")
    assert about["run_group"] == "2026-11-25/12-00-00-sweep"
    assert about["job_type"] == "unlearn"
    sent = {r["artifact"]["type"]: r["artifact"] for r in records if r["type"] == "artifact"}
    assert sent["model"]["name"] == f"model-{read['run_id']}"
    files = {entry["path"] for entry in sent["model"]["manifest"]["contents"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files


@pytest.mark.slow
def test_no_text_of_rows_of_ones_own_is_among_what_would_be_sent(tmp_path: Path) -> None:
    """The rows lie in a git repository with changes, as they may; wandb would know of it."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    rows = {
        "forget": [row(f"Where does Anna Zimt{n} live?", f"In Quellweg{n} 7.") for n in range(4)],
        "retain": [row(f"What is sold on day {n}?", f"Bread{n} and salt{n}.") for n in range(8)],
    }
    git("init", "--quiet", cwd=work)
    for split, ones in rows.items():
        write_rows(work / f"{split}.jsonl", ones[:2])
    git("add", ".", cwd=work)
    git("commit", "--quiet", "--message=rows", cwd=work)
    for split, ones in rows.items():
        write_rows(work / f"{split}.jsonl", ones)
    words = [word for word in SMALL if not word.startswith(("data", "tracker"))]
    words += ["data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl"]
    words += ["tracker=wandb", "tracker.mode=offline", "reference=none", "training.steps=2"]
    folder = tmp_path / "run"
    words.append(f"hydra.run.dir={folder}")
    place = {"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(home)}
    done = Forked(*words, cwd=work, said=tmp_path / "said", **place).finish(folder)
    assert done.status == 0, done.said
    assert "questions and answers stay on this machine" in done.log
    (offline,) = (folder / "wandb").glob("offline-run-*")
    read = inspect(offline) + inspect(offline, "--summary")
    assert "forget_rougeL_recall" in read
    kept = [path for place in (folder / "wandb", home) for path in place.rglob("*")]
    found = read.encode() + b"".join(path.read_bytes() for path in kept if path.is_file())
    for ones in rows.values():
        for text in (text for one in ones for text in one.values()):
            assert text.encode() not in found
    assert not [name for name in (b"Zimt", b"Quellweg", b"Bread") if name in found]


def git(*words: str, cwd: Path) -> None:
    who = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"]
    subprocess.run(["git", *who, *words], cwd=cwd, check=True)
