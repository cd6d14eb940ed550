"""A folder that is no run's is left byte by byte as it is: not even a log is opened in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import QUICK, Command, Done, files_in

from unlearn.errors import ConfigurationError
from unlearn.record.ownership import (
    is_run,
    is_sweep,
    remove_checkpoints,
    remove_unfinished,
    require_free,
)
from unlearn.storage.files import entries_below

PROJECT = {
    "checkpoints/step_1/weights.bin": "mine",
    "checkpoints/run.json": '{"mine": 1}',
    "evaluations/before/scores.csv": "mine",
    "evaluations/.cache/notes": "mine",
    "model/config.json": "{}",
    "model/model.safetensors": "mine",
    "notes/.draft.tmp": "mine",
    ".models.unfinished/half": "mine",
    ".hydra/config.yaml": "mine: 1",
    "report.md": "# Mine",
    "summary.json": '{"status": "completed"}',
    "unlearn.log": "mine",
    "train.py": "print()",
}
ALONE = ("report.md", "model/config.json", "summary.json", "checkpoints/run.json", "train.py")


def lay_out(folder: Path, *names: str) -> Path:
    """Somebody's project, or only these files of it."""
    for name in names or PROJECT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PROJECT[name])
    return folder


def all_in(folder: Path) -> tuple[dict[str, bytes], list[Path]]:
    """Every file with its content, and every entry, so that an empty folder is seen too."""
    return files_in(folder), sorted(entries_below(folder))


def refused(done: Done, *fragments: str) -> None:
    assert done.status == 2, done.said
    assert "Traceback" not in done.said
    told = [line for line in done.said.splitlines() if " ERROR " in line or "unlearn: " in line]
    assert len(told) == 1, done.said
    assert all(fragment in told[0] for fragment in fragments), told


@pytest.mark.parametrize("named", [".", "''"])
@pytest.mark.parametrize("more", ["", "training.batch_size=-1"])
def test_the_folder_of_a_project_is_left_as_it_is(named: str, more: str, unlearn: Command) -> None:
    lay_out(unlearn.folder)
    before = all_in(unlearn.folder)
    words = (*QUICK, *filter(None, [more]), f"hydra.run.dir={named}")
    refused(unlearn(*words), "hydra.run.dir", "is no folder of ours")
    assert all_in(unlearn.folder) == before


@pytest.mark.parametrize("named", [".", "''"])
def test_nor_does_a_sweep_write_there(named: str, unlearn: Command) -> None:
    lay_out(unlearn.folder)
    before = all_in(unlearn.folder)
    done = unlearn("-m", *QUICK, "seed=0,1", f"hydra.sweep.dir={named}")
    refused(done, "hydra.sweep.dir", "is no folder of ours")
    assert all_in(unlearn.folder) == before


@pytest.mark.slow
def test_nor_does_a_job_of_a_sweep(unlearn: Command) -> None:
    foreign = lay_out(unlearn.folder / "mine")
    before = all_in(foreign)
    refused(unlearn("-m", *QUICK, "hydra.sweep.subdir=../mine"), "is no folder of ours")
    assert all_in(foreign) == before


@pytest.mark.parametrize("place", ["", "/run", "/a/../run"])
@pytest.mark.parametrize("name", ["model.path", "data.forget", "reference"])
def test_nothing_is_written_into_what_is_read(name: str, place: str, unlearn: Command) -> None:
    """Not even where that is empty, nor into a new folder inside of it."""
    read = unlearn.folder / "read"
    read.mkdir()
    words = [*QUICK, f"{name}={read}", f"hydra.run.dir=read{place}"]
    if name == "data.forget":
        words = [word for word in words if not word.startswith("data.forget_rows")]
        words += ["data=files", "data.retain=x"]
    refused(unlearn(*words), f"lies in {name}=")
    assert all_in(unlearn.folder) == ({}, [read])


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("sweep", [False, True])
def test_one_file_of_somebodys_is_enough(name: str, sweep: bool, tmp_path: Path) -> None:
    lay_out(tmp_path, name)
    with pytest.raises(ConfigurationError, match="nothing is written there"):
        require_free(tmp_path, sweep)
    (tmp_path / "unlearn.log").write_text("")  # as an earlier version left it there
    (tmp_path / ".hydra").mkdir()
    if not sweep:
        with pytest.raises(ConfigurationError, match=name.split("/")[0]):
            require_free(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 10_000, '{"schema": []}', "null"])
def test_what_only_looks_like_a_record_is_none(text: str, tmp_path: Path) -> None:
    for name in ("summary.json", "checkpoints/run.json", "multirun.yaml", "0-job/summary.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert not is_run(tmp_path)
    assert not is_sweep(tmp_path)


def test_the_folder_of_a_run_of_ours_is_free(tmp_path: Path) -> None:
    require_free(tmp_path / "new")
    require_free(tmp_path)
    (tmp_path / "unlearn.log").write_text("")
    require_free(tmp_path)  # killed before Hydra wrote its record
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".run.json.12.tmp").write_text('{"config"')
    require_free(tmp_path)  # killed as it began
    (tmp_path / "summary.json").write_text('{"schema": 1, "status": "failed"}')
    require_free(tmp_path)  # refused
    (tmp_path / "checkpoints" / "run.json").write_text('{"config": {}}')
    (tmp_path / "notes.md").write_text("A person's, beside the run's own.")
    require_free(tmp_path)


def test_the_folder_of_a_sweep_of_ours_is_free(tmp_path: Path) -> None:
    (tmp_path / "0-job").mkdir()
    (tmp_path / "0-job" / "unlearn.log").write_text("")
    (tmp_path / "comparison.csv").write_text("")
    require_free(tmp_path, sweep=True)
    (tmp_path / "train.py").write_text("")  # a project beside which a run lies
    with pytest.raises(ConfigurationError, match="nothing is written there"):
        require_free(tmp_path, sweep=True)
    (tmp_path / "multirun.yaml").write_text("_target_: unlearn.composition.sweep.CompareJobs")
    require_free(tmp_path, sweep=True)


def test_only_names_of_our_own_are_removed(tmp_path: Path) -> None:
    theirs = [
        "notes/.draft.7.tmp",
        "notes/.model.unfinished/x",
        ".cache.unfinished/x",
        ".draft.tmp",
        "checkpoints/.keep",
        "checkpoints/my_step/x",
        "evaluations/.git/x",
    ]
    ours = [
        ".summary.json.12.tmp",
        ".model.unfinished/x",
        "checkpoints/.run.json.12.tmp",
        "checkpoints/.step_4.unfinished/x",
        "evaluations/.before.unfinished/x",
        "evaluations/before/.metrics.json.12.tmp",
    ]
    kept = ["checkpoints/step_2/state.pt", "checkpoints/run.json", "checkpoints/best_1/x"]
    for name in (*theirs, *ours, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path)
    assert set(files_in(tmp_path)) == {*theirs, *kept}
    remove_checkpoints(tmp_path)
    assert set(files_in(tmp_path)) == set(theirs)


def test_without_checkpoints_their_folder_goes(tmp_path: Path) -> None:
    remove_checkpoints(tmp_path)
    (tmp_path / "checkpoints" / "step_2").mkdir(parents=True)
    (tmp_path / "checkpoints" / "run.json").write_text(json.dumps({"config": {}}))
    remove_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []
