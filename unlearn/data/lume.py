"""LUME (Ramakrishna et al. 2025, arXiv 2502.15097): stories, made-up people, real biographies.

Three tasks, each with completions (does the model recite?) and questions (does it know?), in a set
to forget and one to retain; the data of SemEval 2025's task 4 have the same rows in folds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unlearn.data.columns import Columns, rows_of
from unlearn.data.own_files import sample
from unlearn.data.published import require_columns
from unlearn.data.records import Table
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.source import read_configurations
from unlearn.data.splits import Judged, Quiz, Row, Splits
from unlearn.data.telling import shown, together
from unlearn.errors import ConfigurationError, DataError
from unlearn.metrics.task_aggregate import TASKS

_ADVICE = (
    "Point data.path, or the environment variable UNLEARN_LUME_PATH, to a clone of "
    "github.com/amazon-science/lume-llm-unlearning, whose folder data has forget.jsonl and "
    "retain.jsonl, or to the data of SemEval 2025's task 4, with data.fold=train."
)
_FOLDS = ("train", "validation")
_KIND = re.compile(r"(sc|qa)\d+$")
_QUIZZES = {"sc": "regurgitation", "qa": "knowledge"}
_MOST = 256
"""New tokens of an answer. The challenge's script takes it as an argument."""


@dataclass
class Lume:
    """Read LUME from a folder with its repository's layout, or from a hub id that has its splits.

    Columns are id, input, output and task (Task1 to Task3); an id ends in sc and a number for a
    completion, in qa and a number for a question, as the challenge's own script tells them apart.
    The rows are in no published count, so their number is not checked, but each set must have
    both kinds of each task.

    Quizzes are forget/regurgitation_task1 to retain/knowledge_task3, completions by ROUGE-L recall
    and questions by exact match; `lume_score` is the harmonic mean of all twelve, forget ones as
    1 − x. Prompts are put as in training, by `model.template`: the published models were trained on
    inputs as they are, which is `model.template=raw`.
    """

    path: str | None = None
    """Folder of the repository, or hub id. Required."""
    fold: str | None = None
    """train or validation, of SemEval's data; null: LUME's, which has no folds."""
    forget_rows: int | None = None
    """Take only the first so many rows to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many rows to retain, at least 1; null: all."""
    retain_scored: int | None = 400
    """Most rows to retain whose loss is measured, a fixed sample; null: all. Quizzes ask all, or
    `evaluation.rows` each."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for an option that has no meaning."""
        problems = [] if self.path else [f"data.path is not set. {_ADVICE}"]
        if self.fold is not None and self.fold not in _FOLDS:
            problems.append(f"data.fold={self.fold}: give one of {', '.join(_FOLDS)}, or null.")
        for name in ("forget_rows", "retain_rows", "retain_scored"):
            problems += count_problems(f"data.{name}", getattr(self, name))
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read both sets; raises one DataError with all that is wrong with them."""
        assert self.path is not None  # since __post_init__
        here = Path(os.path.expanduser(self.path)).is_dir()
        suffix = "" if self.fold is None else f"_{self.fold}"
        part = {n: f"{'data' if here else 'default'}/{n}{suffix}" for n in ("forget", "retain")}
        tables = read_configurations(self.path, list(part.values()), [], _ADVICE)
        read = together({name: partial(_read, tables[part[name]], name) for name in part})
        rows = {name: list(read[name]) for name in part}
        forget, retain = cut_both(
            rows["forget"], rows["retain"], self.forget_rows, self.retain_rows
        )
        quizzes = {
            f"{name}/{_QUIZZES[kind]}_{task}": Quiz(
                asked,
                _MOST,
                templated=True,
                score="rougeL_recall" if kind == "sc" else "exact_match",
            )
            for name, chosen in (("forget", forget), ("retain", retain))
            for task in TASKS
            for kind in _QUIZZES
            if (asked := [row for row in chosen if (task, kind) in read[name][row]])
        }
        return checked(
            Splits(
                f"lume{suffix}",
                forget,
                retain,
                evaluated={"forget": forget, "retain": sample(retain, self.retain_scored)},
                quizzes=quizzes,
                judged={"forget": Judged("forget", "text"), "retain": Judged("keep", "text")},
                words="tofu",
                benchmark=True,
            ),
            published=True,
        )


def _read(table: Table, name: str) -> dict[Row, set[tuple[str, str]]]:
    """Return the rows of a set, each with its task and kind; of two same rows both are kept as one.

    Raises DataError for another layout.
    """
    require_columns(table, ["id", "input", "output", "task"], _ADVICE)
    rows = rows_of(table, Columns("input", "output"), _ADVICE)
    found: dict[Row, set[tuple[str, str]]] = {}
    for row, record, place in zip(rows, table.records, table.places, strict=True):
        kind = _KIND.search(str(record["id"]))
        task = str(record["task"]).lower().replace(" ", "")
        if kind is None or task not in TASKS:
            raise DataError(
                f"{place}: 'id' {shown(record['id'])} ends in neither sc nor qa and a number, or "
                f"'task' {shown(record['task'])} is none of Task1, Task2 and Task3. {_ADVICE}"
            )
        found.setdefault(row, set()).add((task, kind[1]))
    there = set().union(*found.values())
    lacking = [
        f"{_QUIZZES[kind]} of {task}"
        for task in TASKS
        for kind in _QUIZZES
        if (task, kind) not in there
    ]
    if lacking:
        raise DataError(
            f"{table.source}: the {name} set has no rows for {', '.join(lacking)}. {_ADVICE}"
        )
    return found
