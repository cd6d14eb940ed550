"""RWKU (Jin et al. 2024, arXiv 2406.10890): a person of the real world, forgotten by a given model.

Questions on 200 famous people at three levels (blanks, questions, adversarial prompts), questions
on their neighbours, which are to stay, and on what else a model can do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unlearn.data.columns import Columns, rows_of
from unlearn.data.foreign_files import name_problem
from unlearn.data.own_files import sample
from unlearn.data.published import lettered, require_columns, require_whole
from unlearn.data.records import Record, Table
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.source import read_configurations
from unlearn.data.splits import Judged, Quiz, Row, Splits
from unlearn.data.telling import few, shown, together
from unlearn.errors import ConfigurationError, DataError

_ADVICE = (
    "Point data.path, or the environment variable UNLEARN_RWKU_PATH, to a folder with the parts of "
    "jinzhuoran/RWKU, fetched by `hf download jinzhuoran/RWKU --repo-type dataset --include "
    "'All/*' --local-dir rwku`."
)
_ALL = "All"
"""Folder of the data set that has every part as one file."""
_CORPORA = {
    "passage": "train_original_passage",
    "positive": "train_positive_llama3",
    "positive_phi": "train_positive_phi3",
}
"""What may be forgotten: the file and the hub's configuration."""
_PROBES = {
    "forget_level1": 3268,
    "forget_level2": 2879,
    "forget_level3": 6984,
    "neighbor_level1": None,
    "neighbor_level2": None,
}
"""Questions, with their numbers where the repository's page counts them."""
_UTILITY = {
    "retain_mmlu": "utility_general",
    "truthful": "utility_truthfulness",
    "triviaqa": "utility_factuality",
}
_MOST = 30
"""New tokens of an answer, which ends with its line, as in the authors' code."""
_BLANK = "Please complete the blank in the following question.\nQuestion: {}"
_BRIEF = "Please briefly answer the following question.\nQuestion: {}"
_IN_CONTEXT = "Please briefly answer the following question.\n{}"


@dataclass
class Rwku:
    """Read RWKU for some of its people from the hub, or from a folder with the hub's files.

    Forgotten are texts on `subjects`. RWKU offers no rows to retain; here they are texts of the
    same kind on its next people, which is this reader's choice. Nothing is taught: a given model
    knows these people.

    Quizzes are forget/level1 to forget/level3 and neighbor/level1, neighbor/level2, by ROUGE-L
    recall of the first line of at most 30 tokens. Of the utility sets the splits utility_general
    (MMLU after its examples) and utility_truthfulness (TruthfulQA's MC1) have an `accuracy`, and
    the quiz utility/factuality is TriviaQA's exact match; reasoning (BBH) is left to
    `evaluation.lm_eval.tasks=[bbh]`, fluency to `repetition`.

    The layout is that which the authors' code reads: subject, query, answer, level and type of the
    questions, subject and text of the texts. What differs from that code: prompts go through
    `model.template`, and no "Answer:" stands behind the model's turn; MMLU is asked outside any
    template, TruthfulQA without six examples, TriviaQA without five; ROUGE is ours.
    """

    path: str = "jinzhuoran/RWKU"
    """Hub id or folder; a folder of that name is preferred to the hub."""
    subjects: list[str] | None = None
    """Whom to forget, by name; null: the first of the data set."""
    corpus: str = "passage"
    """The texts: passage (of Wikipedia), positive or positive_phi (by Llama 3 and Phi 3)."""
    retain_subjects: int = 10
    """Texts on so many of the other people, in the data set's order, are retained, at least 1."""
    utility: bool = True
    """Whether the utility sets are asked."""
    forget_rows: int | None = None
    """Take only the first so many texts to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many texts to retain, at least 1; null: all."""
    retain_scored: int | None = 400
    """Most texts to retain that are scored, a fixed sample; null: all."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for an option that has no meaning."""
        problems = [] if self.path else [f"data.path is empty. {_ADVICE}"]
        if self.corpus not in _CORPORA:
            problems.append(f"data.corpus={self.corpus}: give one of {', '.join(_CORPORA)}.")
        if self.subjects is not None and not self.subjects:
            problems.append("data.subjects=[]: give names, or null for the first of the data set.")
        if self.retain_subjects < 1:
            problems.append(f"data.retain_subjects={self.retain_subjects}: give 1 or more.")
        for name in ("forget_rows", "retain_rows", "retain_scored"):
            problems += count_problems(f"data.{name}", getattr(self, name))
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read texts and questions; raises one DataError with all that is wrong with them."""
        tables = self._tables()
        texts = together({"texts": partial(_by_subject, tables[self.corpus])})["texts"]
        subjects = self._chosen(list(texts))
        others = [name for name in texts if name not in subjects][: self.retain_subjects]
        if not others:
            raise DataError(f"{tables[self.corpus].source} has no texts on other people. {_ADVICE}")
        forget, retain = cut_both(
            [row for name in subjects for row in texts[name]],
            [row for name in others for row in texts[name]],
            self.forget_rows,
            self.retain_rows,
        )
        readers: dict[str, Callable[[Table, Sequence[str]], list[Row]]] = {
            **dict.fromkeys(_PROBES, _probes),
            "retain_mmlu": _general,
            "truthful": _truthful,
        }
        asked = together(
            {
                name: partial(readers[name], table, subjects)
                for name, table in tables.items()
                if name in readers
            }
        )
        quizzes = {
            name.replace("_", "/"): Quiz(asked[name], _MOST, None, True, "rougeL_recall", True)
            for name in _PROBES
            if asked[name]
        }
        evaluated = {"forget": forget, "retain": sample(retain, self.retain_scored)}
        judged = {"forget": Judged("forget", "text"), "retain": Judged("keep", "text")}
        judged["neighbor"] = Judged("keep")
        if self.utility:
            rows, also = _factual(tables["triviaqa"], subjects)
            quizzes["utility/factuality"] = Quiz(
                rows, _MOST, templated=True, score="answer_match", line=True, also=also
            )
            judged["utility"] = Judged("keep")
            for name, form in (("retain_mmlu", "continuation"), ("truthful", "multiple_choice")):
                evaluated[_UTILITY[name]] = asked[name]
                judged[_UTILITY[name]] = Judged("keep", form)  # type: ignore[arg-type]
        named = "_".join(subjects).replace(" ", "_") if len(subjects) == 1 else str(len(subjects))
        return checked(
            Splits(
                f"rwku_{named}",
                forget,
                retain,
                evaluated=evaluated,
                quizzes=quizzes,
                judged=judged,
                words="tofu",
            ),
            published=True,
        )

    def _tables(self) -> dict[str, Table]:
        """Read every part that is needed, whole, by the names of the files."""
        hub = {name: f"{name}/test" for name in _PROBES}
        hub |= {name: f"{part}/test" for name, part in _UTILITY.items() if self.utility}
        hub[self.corpus] = f"{_CORPORA[self.corpus]}/train"
        folder = Path(os.path.expanduser(self.path))
        if not name_problem(self.path) and folder.is_dir():
            parts = {name: f"{_ALL}/{name}" for name in hub}
            if not (folder / _ALL).is_dir() and any(folder.glob("forget_level1.*")):
                raise DataError(
                    f"data.path={self.path} is a folder of RWKU's files; give the one above it, "
                    f"which has it as {_ALL}. {_ADVICE}"
                )
        else:
            parts = hub
        found = read_configurations(self.path, list(parts.values()), [], _ADVICE)
        tables = {name: found[part] for name, part in parts.items()}
        for name, size in _PROBES.items():
            if size is not None:
                require_whole(tables[name], f"RWKU's {name}", size, _ADVICE)
        return tables

    def _chosen(self, known: Sequence[str]) -> list[str]:
        """Return the people to forget; raises DataError for names that have no texts."""
        if self.subjects is None:
            return list(known[:1])
        unknown = [name for name in self.subjects if name not in known]
        if unknown:
            close = difflib.get_close_matches(unknown[0], known, 3, 0.5)
            advice = f"did you mean {', '.join(close)}?" if close else f"it has {few(list(known))}"
            raise DataError(
                f"data.subjects: no texts on {', '.join(unknown)} in RWKU's {self.corpus}; {advice}"
            )
        return list(dict.fromkeys(self.subjects))


def _by_subject(table: Table) -> dict[str, list[Row]]:
    """Return the texts by the people whom they are about, in the order of the file."""
    require_columns(table, ["subject", "text"], _ADVICE)
    rows = rows_of(table, Columns(question=None, answer="text"), _ADVICE)
    found: dict[str, list[Row]] = {}
    for row, record in zip(rows, table.records, strict=True):
        found.setdefault(str(record["subject"]), []).append(row)
    return found


def _about(table: Table, subjects: Sequence[str]) -> Table:
    """Return the records on these people alone."""
    pairs = zip(table.records, table.places, strict=True)
    kept = [(one, place) for one, place in pairs if str(one.get("subject")) in subjects]
    return Table(table.source, [one for one, _ in kept], [place for _, place in kept])


def _probes(table: Table, subjects: Sequence[str]) -> list[Row]:
    require_columns(table, ["subject", "query", "answer", "level", "type"], _ADVICE)
    chosen = _about(table, subjects)
    if not chosen.records:
        return []
    rows = rows_of(chosen, Columns("query", "answer"), _ADVICE)
    return [
        Row(_wording(record).format(row.question), row.answer)
        for row, record in zip(rows, chosen.records, strict=True)
    ]


def _wording(record: Mapping[str, object]) -> str:
    """Return what the authors' code puts ahead of a query."""
    if str(record["level"]) == "1":
        return _BLANK
    return _IN_CONTEXT if record["type"] == "incontext learning" else _BRIEF


def _general(table: Table, subjects: Sequence[str]) -> list[Row]:
    """MMLU: questions behind their examples, all in lm-evaluation-harness's form."""
    require_columns(
        table, ["subject", "question", "choices", "answer", "examples", "task"], _ADVICE
    )
    chosen = _about(table, subjects)
    rows = []
    for record, place in zip(chosen.records, chosen.places, strict=True):
        examples = record["examples"]
        if not isinstance(examples, list):
            raise DataError(f"{place}: 'examples' is no list: {shown(record, 160)}.")
        task = str(record["task"]).replace("_", " ")
        ahead = f"The following are multiple choice questions (with answers) about {task}.\n\n"
        shots = [lettered(_record(one, place), place) for one in examples]
        ahead += "".join(f"{shot.question} {shot.answer}\n\n" for shot in shots)
        rows.append(lettered(record, place, ahead))
    return _some(rows, chosen, subjects)


def _truthful(table: Table, subjects: Sequence[str]) -> list[Row]:
    """TruthfulQA's MC1: the one true answer and the wrong ones."""
    require_columns(table, ["subject", "question", "mc1_targets"], _ADVICE)
    chosen = _about(table, subjects)
    rows = []
    for record, place in zip(chosen.records, chosen.places, strict=True):
        targets = _record(record["mc1_targets"], place)
        choices, labels = targets.get("choices"), targets.get("labels")
        lists = isinstance(choices, list) and isinstance(labels, list)
        choices, labels = (choices, labels) if lists else ([], [])
        assert isinstance(choices, list)
        assert isinstance(labels, list)
        if len(choices) != len(labels) or labels.count(1) != 1:
            raise DataError(
                f"{place}: 'mc1_targets' has no choices with labels of which one is 1: "
                f"{shown(record, 160)}."
            )
        right = str(choices[labels.index(1)])
        wrong = tuple(str(c) for c, label in zip(choices, labels, strict=True) if label != 1)
        rows.append(Row(str(record["question"]), right, perturbed_answers=wrong))
    return _some(rows, chosen, subjects)


def _factual(
    table: Table, subjects: Sequence[str]
) -> tuple[list[Row], tuple[tuple[str, ...], ...]]:
    """TriviaQA: questions with the first answer, and the other ones that are right."""
    require_columns(table, ["subject", "question", "answers"], _ADVICE)
    chosen = _about(table, subjects)
    rows, also = [], []
    for record, place in zip(chosen.records, chosen.places, strict=True):
        answers = record["answers"]
        if not isinstance(answers, list) or not answers:
            raise DataError(f"{place}: 'answers' is no list of answers: {shown(record, 160)}.")
        first, *others = map(str, answers)
        rows.append(Row(str(record["question"]), first))
        also.append(tuple(others))
    return _some(rows, chosen, subjects), tuple(also)


def _some(rows: list[Row], table: Table, subjects: Sequence[str]) -> list[Row]:
    if not rows:
        raise DataError(f"{table.source} has no rows on {', '.join(subjects)}. {_ADVICE}")
    return rows


def _record(value: object, place: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{place}: {shown(value, 160)} is no record.")
    return value
