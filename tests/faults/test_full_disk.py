"""A disk that is full: the path and the way out in one line, nothing half-written, and gone on."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from support.command import QUICK, Command, files_in
from support.disk import disk_for

from unlearn.console.visible import LogFile
from unlearn.evaluation.results import Evaluation
from unlearn.record.lines import Record
from unlearn.report.drawing import save_figure
from unlearn.storage.files import NotWritten, whole_folder, write_text_atomic
from unlearn.storage.weights import save_state

WEIGHTS = {"weight": torch.arange(50_000.0)}


def picture(folder: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().imshow(np.random.default_rng(0).random((300, 300)))
    save_figure(figure, folder / "picture.png")


def folder_with(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def written(folder: Path) -> None:
        with whole_folder(folder / "whole") as unfinished:
            write(unfinished)

    return written


def evaluation(folder: Path) -> None:
    scores = pd.DataFrame({"nll_sum": np.random.default_rng(0).random(50_000)})
    Evaluation(scores, [], {}, {}, []).write(folder / "whole")


def record(folder: Path) -> None:
    with Record(folder) as lines:
        lines.log(1, {"text": "a" * 30_000})


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "text": ("page.md", lambda folder: write_text_atomic(folder / "page.md", "a" * 30_000)),
    "picture": ("picture.png", picture),
    "weights": ("whole", folder_with(lambda f: save_file(WEIGHTS, f / "model.safetensors"))),
    "state": ("whole", folder_with(lambda folder: save_state(WEIGHTS, folder / "state.pt"))),
    "plain": ("whole", folder_with(lambda folder: (folder / "a").write_text("a" * 30_000))),
    "evaluation": ("whole", evaluation),
    "record": ("metrics.jsonl", record),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_writer_names_its_path_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    with disk_for(10_000), pytest.raises(NotWritten) as told:
        write(tmp_path)
    assert str(told.value) == f"{tmp_path / name} could not be written: File too large"
    assert told.value.errno == errno.EFBIG
    left = {path: size for path, size in files_in(tmp_path).items() if path != "metrics.jsonl"}
    assert left == {}
    write(tmp_path)  # and with room it is written
    assert (tmp_path / name).exists()


def test_an_error_that_is_no_full_disk_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "whole"):
        (tmp_path / "nothing").read_text()
    with pytest.raises(RuntimeError, match="of somebody's"):
        save_state({"weight": _Unsaved()}, tmp_path / "state.pt")


class _Unsaved:
    def __reduce__(self) -> Any:
        raise RuntimeError("a mistake of somebody's")


def test_a_log_without_room_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = LogFile(tmp_path / "unlearn.log")
    with disk_for(1_000):
        for number in range(5):
            handler.emit(logging.makeLogRecord({"msg": f"{number} " + "a" * 600}))
        handler.close()
    said = capsys.readouterr().err
    assert said == f"{tmp_path}/unlearn.log could not be written: File too large\n"


PLACES = {
    100: ".hydra",
    3_000: "run1",
    50_000: "run1",
}
"""Bytes that a file may have, and what the line names: Hydra's own files, ours, the model."""


@pytest.mark.slow
@pytest.mark.parametrize("most", PLACES)
def test_a_run_on_a_full_disk_is_gone_on_with_in_the_same_folder(
    most: int, unlearn: Command, own_cache: Path, tmp_path: Path
) -> None:
    words = (*QUICK, "training.checkpoint_every=2")
    whole = unlearn(*words, run=tmp_path / "whole")
    with disk_for(most):
        done = unlearn(*words)
    assert done.status in (1, 2)
    assert "Traceback" not in done.said
    lines = [line for line in done.err.splitlines() if "File too large" in line]
    assert lines
    assert all(str(done.folder) in line for line in lines), lines
    assert not list(done.folder.rglob("*.tmp"))
    assert not list(done.folder.rglob(".*.unfinished"))
    assert not (done.folder / "model").exists()
    again = unlearn(*words, run=done.folder)
    assert again.status == 0, again.said
    assert again.weights == whole.weights


def test_the_disk_is_full_when_hydra_writes_first(unlearn: Command) -> None:
    with disk_for(100):
        done = unlearn(*QUICK)
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert "hydra.run.dir" in line
    assert str(done.folder) in line
    assert "File too large" in line
