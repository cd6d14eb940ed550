"""KnowUnDo (Tian et al. 2024, arXiv 2407.01920): does unlearning know where to stop?

Questions on books under copyright, or on the privacy of made-up people: what is to go (unlearn)
stands beside what must stay of the same books and people (retention).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from unlearn.data.columns import Columns, rows_of
from unlearn.data.own_files import sample
from unlearn.data.published import require_columns
from unlearn.data.records import Table
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.sameness import learnt
from unlearn.data.source import read_configurations
from unlearn.data.splits import Judged, Row, Splits
from unlearn.data.telling import shown, together
from unlearn.errors import ConfigurationError, DataError

_DOMAINS = ("copyright", "privacy")
_ADVICE = (
    "Point data.path, or the environment variable UNLEARN_KNOWUNDO_PATH, to a folder with the "
    "parts of zjunlp/KnowUnDo, fetched by `hf download zjunlp/KnowUnDo --repo-type dataset "
    "--local-dir knowundo`."
)
_FOLDS = ("train", "val")


@dataclass
class KnowUnDo:
    """Read a domain of KnowUnDo from the hub, or from a folder with the hub's layout.

    The layout is that which the authors' code reads: DOMAIN/unlearn.json and DOMAIN/retention.json,
    each one record with the lists train and val, of rows with text (the question) and labels (the
    answer). Their number is in no published count, and is not checked.

    Unlearnt and retained are the rows of train, as there. Those of val are scored besides, as the
    splits forget_val and retain_val; the authors' models have learnt them too, so that a target
    that is taught here, which has not learnt forget_val, shows less there. The authors' "unlearn
    success" is 1 − `exact_memorization` of forget_val without the end token
    (`evaluation.end_token=false`), their "retention success" that of retain_val.
    """

    path: str = "zjunlp/KnowUnDo"
    """Hub id or folder; a folder of that name is preferred to the hub."""
    domain: str = "copyright"
    """Whose questions: copyright or privacy."""
    forget_rows: int | None = None
    """Take only the first so many rows to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many rows to retain, at least 1; null: all."""
    retain_scored: int | None = 400
    """Most rows to retain that are scored, a fixed sample; null: all."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for an option that has no meaning."""
        problems = [] if self.path else [f"data.path is empty. {_ADVICE}"]
        if self.domain not in _DOMAINS:
            problems.append(f"data.domain={self.domain}: give one of {', '.join(_DOMAINS)}.")
        for name in ("forget_rows", "retain_rows", "retain_scored"):
            problems += count_problems(f"data.{name}", getattr(self, name))
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read both sets; raises one DataError with all that is wrong with them."""
        parts = {"forget": f"{self.domain}/unlearn", "retain": f"{self.domain}/retention"}
        tables = read_configurations(self.path, list(parts.values()), [], _ADVICE)
        rows = together(
            {
                (name if fold == "train" else f"{name}_{fold}"): partial(_fold, tables[part], fold)
                for name, part in parts.items()
                for fold in _FOLDS
            }
        )
        gone = set(learnt(rows["retain"], rows["forget"]))
        kept = [row for row in rows["retain"] if row not in gone]
        forget, retain = cut_both(rows["forget"], kept, self.forget_rows, self.retain_rows)
        return checked(
            Splits(
                f"knowundo_{self.domain}",
                forget,
                retain,
                evaluated={
                    "forget": forget,
                    "retain": sample(retain, self.retain_scored),
                    "forget_val": rows["forget_val"],
                    "retain_val": rows["retain_val"],
                },
                # The target is to know them, and no method is given them.
                background=[row for row in rows["retain_val"] if row not in gone],
                judged={"forget_val": Judged("forget"), "retain_val": Judged("keep")},
                benchmark=True,
            ),
            published=True,
        )


def _fold(table: Table, fold: str) -> list[Row]:
    """Return the rows of a fold of the one record of a file."""
    require_columns(table, _FOLDS, _ADVICE)
    if len(table.records) != 1:
        raise DataError(
            f"{table.source} has {len(table.records)} records; KnowUnDo's files are one record "
            f"with the lists train and val. {_ADVICE}"
        )
    found = table.records[0][fold]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError(
            f"{table.source}: {fold!r} is no list of rows but {shown(found, 160)}. {_ADVICE}"
        )
    inner = Table.numbered(f"{table.source}, {fold}", found)
    if not found:
        raise DataError(f"{inner.source} has no rows. {_ADVICE}")
    return rows_of(inner, Columns("text", "labels"), _ADVICE)
