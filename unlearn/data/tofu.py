"""TOFU (Maini et al. 2024, arXiv 2401.06121): 4000 questions about 200 authors who do not exist.

A request is the last 1, 5 or 10 per cent of the questions; the rest is to be kept. Real authors and
facts about the world show what else a method damages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from unlearn.data.columns import Columns, rows_of
from unlearn.data.records import Table
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.sameness import learnt
from unlearn.data.source import read_configurations
from unlearn.data.splits import Row, Splits
from unlearn.data.telling import together
from unlearn.errors import ConfigurationError, DataError

_ADVICE = (
    "Point data.path, or the environment variable UNLEARN_TOFU_PATH, to a folder with TOFU's .json "
    "files, fetched by `hf download locuslab/TOFU --repo-type dataset --local-dir tofu`; "
    "data=minitofu needs no download."
)
_FORGET_ROWS = {"forget01": 40, "forget05": 200, "forget10": 400}
_RETAIN = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
_ALL_ROWS = 4000


@dataclass
class Tofu:
    """Read a TOFU request from the hub, or from a folder with one JSON file a configuration.

    Scored are the rows that have paraphrased and wrong answers: the forget rows, the first 400
    retain rows, 100 real authors and 117 world facts; and as many holdout rows as forget rows where
    the data has them. Of forget and retain rows, only those are scored that are trained on.
    """

    path: str = "locuslab/TOFU"
    """Hub id or folder; a folder of that name is preferred to the hub."""
    subset: str = "forget10"
    """What to forget: forget01 (40 rows), forget05 (200) or forget10 (400)."""
    forget_rows: int | None = None
    """Take only the first so many rows to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many rows to retain, at least 1; null: all."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for an empty path, an unknown subset or a number below 1."""
        problems = []
        if not self.path:
            problems.append(f"data.path is empty. {_ADVICE}")
        if self.subset not in _RETAIN:
            problems.append(f"data.subset={self.subset}: give one of {', '.join(_RETAIN)}.")
        problems += count_problems("data.forget_rows", self.forget_rows)
        problems += count_problems("data.retain_rows", self.retain_rows)
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read the request; raises one DataError with all that is wrong with its files."""
        rows = self._read_parts()
        forget, retain = cut_both(
            rows["forget"], rows["retain"], self.forget_rows, self.retain_rows
        )
        evaluated = {
            "forget": learnt(rows["scored forget"], forget),
            "retain": learnt(rows["scored retain"], retain),
            "real_authors": rows["real_authors"],
            "world_facts": rows["world_facts"],
        }
        if "holdout" in rows:
            evaluated["holdout"] = rows["holdout"]
        general = [Row(r.question, r.answer) for r in rows["real_authors"] + rows["world_facts"]]
        return checked(
            Splits(
                f"tofu_{self.subset}",
                forget,
                retain,
                evaluated,
                general,
                vocabulary=rows.get("all holdout", []),
                words="tofu",
                benchmark=True,
            ),
            published=True,
        )

    def _read_parts(self) -> dict[str, list[Row]]:
        """Read every part, whole, and make sure that what is scored is also what is learnt."""
        parts = _parts(self.subset)
        optional = list(dict.fromkeys(parts[key].name for key in ("holdout", "all holdout")))
        required = [part.name for part in parts.values() if part.name not in optional]
        tables = read_configurations(self.path, required, optional, _ADVICE)
        there = {key: part for key, part in parts.items() if part.name in tables}
        rows = together({key: partial(_rows, tables[p.name], p) for key, p in there.items()})
        problems = []
        for name in ("forget", "retain"):
            scored = rows[f"scored {name}"]
            strangers = len(scored) - len(learnt(scored, rows[name]))
            if strangers:
                problems.append(
                    f"data.path={self.path}: {strangers} of {len(scored)} rows in "
                    f"{parts[f'scored {name}'].name} are not in {parts[name].name}: "
                    f"these are of different versions. {_ADVICE}"
                )
        if problems:
            raise DataError(problems)
        return rows


class _Part(NamedTuple):
    """A configuration of the data set, and what it must hold."""

    name: str
    size: int
    columns: Columns


def _parts(subset: str) -> dict[str, _Part]:
    count = _FORGET_ROWS[subset]
    choice = Columns(perturbed_answer="perturbed_answer")
    scored = replace(choice, paraphrased_answer="paraphrased_answer")
    return {
        "forget": _Part(subset, count, Columns()),
        "retain": _Part(_RETAIN[subset], _ALL_ROWS - count, Columns()),
        "scored forget": _Part(f"{subset}_perturbed", count, scored),
        "scored retain": _Part("retain_perturbed", 400, scored),
        "real_authors": _Part("real_authors_perturbed", 100, choice),
        "world_facts": _Part("world_facts_perturbed", 117, choice),
        "holdout": _Part(subset.replace("forget", "holdout"), count, Columns()),
        # It holds those of the smaller requests.
        "all holdout": _Part("holdout10", _FORGET_ROWS["forget10"], Columns()),
    }


def _rows(table: Table, part: _Part) -> list[Row]:
    if len(table.records) != part.size:
        raise DataError(
            f"{table.source} has {len(table.records)} rows, but TOFU's {part.name} has "
            f"{part.size}: the file is not whole, or not TOFU's. {_ADVICE} "
            "For rows of your own use data=files."
        )
    columns = part.columns
    # Only some versions have the column, and only the paraphrase attack reads it.
    if "paraphrased_question" in table.columns:
        columns = replace(columns, paraphrased_question="paraphrased_question")
    return rows_of(table, columns, _ADVICE)
