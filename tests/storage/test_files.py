"""Folders that another process writes in are walked and read all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.command import entries_in, events_in, files_in

from unlearn.record.layout import read_summary
from unlearn.record.resuming import begin
from unlearn.report import read_run
from unlearn.report.comparison.runs import find_runs, read_runs
from unlearn.storage.files import entries_below, write_json_atomic


def test_every_file_and_folder_is_met_once(tmp_path: Path) -> None:
    for name in ("one/two/three.txt", "one/.hidden/four.txt", "five.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(entries_below(tmp_path)) == sorted(tmp_path.rglob("*"))
    assert list(entries_below(tmp_path / "nothing")) == []


def test_a_folder_that_is_renamed_on_the_way_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    walk = entries_below(tmp_path)
    assert next(walk) == tmp_path / "one"
    (tmp_path / "one").rename(tmp_path / "other")
    assert list(walk) == []


@contextmanager
def restless(folder: Path) -> Iterator[None]:
    """A run that writes below the folder: entries appear under a hidden name, whole, and vanish."""
    stop, partial, whole = threading.Event(), folder / ".a", folder / "a"

    def write() -> None:
        while not stop.is_set():
            (partial / "deep" / "deeper").mkdir(parents=True)
            (partial / "deep" / "lines.jsonl").write_text("{}\n")
            partial.rename(whole)
            shutil.rmtree(whole)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


WALKS: dict[str, Callable[[Path], object]] = {
    "entries below": lambda folder: list(entries_below(folder)),
    "files in": files_in,
    "entries in": entries_in,
    "events in": events_in,
    "runs below": lambda folder: find_runs([folder]),
}


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_bears_a_run_that_writes(name: str, tmp_path: Path) -> None:
    (tmp_path / "stays").mkdir()
    (tmp_path / "stays" / "here.txt").touch()
    with restless(tmp_path):
        for _ in range(500):
            WALKS[name](tmp_path)


def test_a_run_begins_although_a_killed_one_still_writes(tmp_path: Path) -> None:
    for name in (".half.unfinished", "whole"):
        (tmp_path / "evaluations" / name).mkdir(parents=True)
    for place in (tmp_path, tmp_path / "evaluations" / "whole", tmp_path / "wandb"):
        place.mkdir(exist_ok=True)
        (place / ".summary.json.1.tmp").touch()
    with restless(tmp_path / "wandb"):
        for _ in range(20):
            begin(tmp_path, {}, "0")
    assert [path.name for path in (tmp_path / "evaluations").iterdir()] == ["whole"]
    left = {path.parent.name for path in tmp_path.rglob(".*.tmp")}
    assert left == {"wandb"}  # where others write, and nothing is ours to delete


def test_a_record_that_another_process_takes_away_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: True)  # it was there when it was looked for
    assert read_summary(tmp_path) is None
    assert read_run(tmp_path).lines == []
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "unlearn.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.undo()
    (run,), problems = read_runs([tmp_path])
    assert problems == []
    assert run.error == "no summary.json: it was killed, or is still running"


def test_what_a_killed_process_left_of_a_file_goes_with_the_next_one(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path, other = tmp_path / "a[1].json", tmp_path / ".b.json.1.tmp"
    left = tmp_path / f".{path.name}.{dead.pid}.tmp"
    alive = tmp_path / f".{path.name}.{os.getppid()}.tmp"
    for one in (left, alive, other):
        one.write_text("half")
    write_json_atomic(path, {"whole": True})
    assert sorted(tmp_path.iterdir()) == sorted([path, alive, other])
