"""MUSE (Shi et al. 2024, arXiv 2407.06460): news articles and novels that a model has memorised.

Six questions to an unlearned model: can it still recite the texts (verbmem), does it still know
what they say (knowmem), can it be told that it has seen them (privleak), what else has it lost
(knowmem of other texts), and how does it bear larger requests (scal) and one request after the
other (sust)?
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unlearn.data.columns import Columns, rows_of
from unlearn.data.foreign_files import name_problem
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.sameness import learnt
from unlearn.data.source import read_configurations
from unlearn.data.splits import USUAL, Judged, Quiz, Row, Splits
from unlearn.data.telling import together
from unlearn.errors import ConfigurationError, DataError

log = logging.getLogger(__name__)

_NAMES = {"news": "MUSE-News", "books": "MUSE-Books"}
_LAST = 4
"""Requests of `scal`, and of `sust`."""
_REQUESTS = {
    "news": ("forget", *(f"{kind}_{n}" for kind in ("scal", "sust") for n in range(1, _LAST + 1))),
    "books": ("forget",),
}
_PARTS = ("raw", "verbmem", "knowmem", "privleak")
_TEXT = Columns(question=None, answer="text")
_PASSAGE = Columns(question="prompt", answer="gt")
_QUESTION = Columns()


@dataclass
class Muse:
    """Read a MUSE request from the hub, or from a folder with the hub's layout.

    Rows are whole texts; for training, each is cut into windows of at most `model.max_length`
    tokens. Forgotten is `raw/forget`, retained `raw/retain1`. `raw/retain2` is background: target
    and reference learn it, no method is given it, and the retain questions are about it.

    Scored are the privleak texts: forget, retain (from retain2) and holdout. Quizzes are
    forget/verbmem, forget/knowmem and retain/knowmem. All of them are about `raw/forget`, whichever
    request is unlearned; the first of `scal` and of `sust` is the same set.

    A text to forget that also stands among those to keep is forgotten.
    """

    path: str | None = None
    """Hub id; or a folder of the data set, or one that holds it as MUSE-News or MUSE-Books. Null:
    the hub's."""
    corpus: str = "news"
    """news (889 articles to forget) or books (4 novels)."""
    request: str = "forget"
    """What to forget: `forget`; of news also scal_1 to scal_4, each larger by as much (889 to 3554
    articles), and sust_1 to sust_4, four sets of that size to be forgotten one after the other."""
    forget_rows: int | None = None
    """Take only the first so many texts to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many texts to retain, at least 1; null: all."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for an option that has no meaning."""
        problems = []
        if self.corpus not in _NAMES:
            raise ConfigurationError(f"data.corpus={self.corpus}: give one of {', '.join(_NAMES)}.")
        if self.path is None:
            self.path = f"muse-bench/{_NAMES[self.corpus]}"
        if not self.path:
            problems.append(f"data.path is empty. {self._advice}")
        named = Path(self.path).name
        if named != _NAMES[self.corpus] and named in _NAMES.values():
            problems.append(
                f"data.path={self.path} is {named}, but data.corpus={self.corpus} is "
                f"{_NAMES[self.corpus]}: give data=muse_{named.removeprefix('MUSE-').lower()}, or "
                "the path of the other."
            )
        allowed = _REQUESTS[self.corpus]
        if self.request not in allowed:
            problems.append(f"data.request={self.request}: give one of {', '.join(allowed)}.")
        problems += count_problems("data.forget_rows", self.forget_rows)
        problems += count_problems("data.retain_rows", self.retain_rows)
        if problems:
            raise ConfigurationError(problems)

    @property
    def subset(self) -> str:
        """Name of the request, by which a model preset names its published reference."""
        suffix = "" if self.request == "forget" else f"_{self.request}"
        return f"muse_{self.corpus}{suffix}"

    def read(self) -> Splits:
        """Read the request; raises one DataError with all that is wrong with its files."""
        rows = self._read_parts()
        forget, others = self._request(rows)
        retain = _without(rows["raw/retain1"], forget, "raw/retain1")
        forget, retain = cut_both(forget, retain, self.forget_rows, self.retain_rows)
        names = ("forget", "retain", "holdout")
        return checked(
            Splits(
                self.subset,
                forget,
                retain,
                evaluated={name: rows[f"privleak/{name}"] for name in names},
                background=[*_without(rows["raw/retain2"], forget, "raw/retain2"), *others],
                quizzes={
                    "forget/verbmem": Quiz(rows["verbmem/forget"], 128),
                    **{f"{name}/knowmem": _knowmem(rows, name) for name in names[:2]},
                },
                judged={name: Judged(USUAL[name].role, "text") for name in names},
                words="tofu",
                benchmark=True,
            ),
            published=True,
        )

    def _request(self, rows: dict[str, list[Row]]) -> tuple[list[Row], list[Row]]:
        """Return the texts of this request, and those of other requests that the target knows.

        A larger `scal` request is not yet made: its texts are in the target and stay. Of `sust`
        that holds for later requests. Earlier ones are over: this one starts from the model that
        they left (model.path), and its reference has never learnt them.
        """
        kind, _, number = self.request.partition("_")
        if kind == "forget":
            return rows["raw/forget"], []
        forget = rows[f"{kind}/forget_{number}"]
        if kind == "scal":
            gone = set(learnt(rows[f"scal/forget_{_LAST}"], forget))
            return forget, [row for row in rows[f"scal/forget_{_LAST}"] if row not in gone]
        later = range(int(number) + 1, _LAST + 1)
        return forget, [row for n in later for row in rows[f"sust/forget_{n}"]]

    def _read_parts(self) -> dict[str, list[Row]]:
        """Read every part that this request needs, whole."""
        path = self._place()
        parts = self._columns()
        tables = read_configurations(path, list(parts), [], self._advice)
        return together({k: partial(rows_of, tables[k], parts[k], self._advice) for k in parts})

    def _columns(self) -> dict[str, Columns]:
        """Return the configurations and splits that this request needs, with their columns."""
        kind, _, number = self.request.partition("_")
        wanted = {
            "forget": ["raw/forget"],
            "scal": sorted({f"scal/forget_{number}", f"scal/forget_{_LAST}"}),
            "sust": [f"sust/forget_{n}" for n in range(int(number or 1), _LAST + 1)],
        }[kind]
        texts = [*wanted, "raw/retain1", "raw/retain2"]
        texts += [f"privleak/{name}" for name in ("forget", "retain", "holdout")]
        asked = [f"knowmem/{name}_qa{icl}" for name in ("forget", "retain") for icl in ("", "_icl")]
        return {
            **dict.fromkeys(texts, _TEXT),
            "verbmem/forget": _PASSAGE,
            **dict.fromkeys(asked, _QUESTION),
        }

    def _place(self) -> str:
        """Return the data set's own folder where `path` is a folder, else `path`."""
        assert self.path is not None  # since __post_init__
        folder = Path(os.path.expanduser(self.path))
        if name_problem(self.path) or not folder.is_dir():
            return self.path
        if not (folder / _PARTS[0]).is_dir() and (folder / _NAMES[self.corpus]).is_dir():
            folder /= _NAMES[self.corpus]
        if not any((folder / part).is_dir() for part in _PARTS):
            raise DataError(
                f"data.path={self.path} is not MUSE's: it has no folder {', '.join(_PARTS[:-1])} "
                f"or {_PARTS[-1]}. {self._advice}"
            )
        return str(folder)

    @property
    def _advice(self) -> str:
        name = _NAMES[self.corpus]
        return (
            "Point data.path, or the environment variable UNLEARN_MUSE_PATH, to a folder with the "
            f"parts of {name}, fetched by `hf download muse-bench/{name} --repo-type dataset "
            f"--local-dir {name}`; data=minitofu needs no download."
        )


def _knowmem(rows: dict[str, list[Row]], name: str) -> Quiz:
    return Quiz(rows[f"knowmem/{name}_qa"], 32, rows[f"knowmem/{name}_qa_icl"])


def _without(rows: list[Row], forget: list[Row], name: str) -> list[Row]:
    """Take out what must go: published texts cannot be mended, and the request comes first."""
    both = set(learnt(rows, forget))
    if both:
        log.warning("%s: left out, as they also stand in the forget set: %d", name, len(both))
    return [row for row in rows if row not in both]
