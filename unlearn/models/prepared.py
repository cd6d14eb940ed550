"""The cache entries of prepared models, named by everything that made them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from unlearn.compute.processes import led, of_rank_zero
from unlearn.data.splits import Row, Splits
from unlearn.errors import ConfigurationError
from unlearn.models.fine_tune import Learned
from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import sealed_folder
from unlearn.storage.weights import hash_weights, whole_state

log = logging.getLogger(__name__)

RECORD = "preparation.json"


@dataclass(frozen=True)
class Prepared:
    """A model on disk with its origin."""

    folder: str
    """Folder, or hub id of a model that somebody else made."""
    sha256: str | None
    """Hash of the weights; None for a hub id that is used as it is."""
    accuracy: float | None
    """Share of answer tokens that it predicts of the rows it was to learn; None where unknown."""
    knows: dict[str, float] | None = None
    """The same of forget and retain apart, for a given model that was asked before unlearning."""


def spelled_rows(splits: Splits) -> list[Row]:
    """Return the rows that the tiny model's tokenizer is trained on: learnt, forgotten and unseen.

    A tokenizer that knew the words of forget rows and not those of holdout rows would tell one from
    the other, for a model that has met neither.
    """
    unseen = splits.evaluated[splits.unseen] if splits.unseen else []
    learnt = [*splits.general, *splits.background, *splits.retain, *splits.forget]
    return list(dict.fromkeys([*learnt, *unseen, *splits.vocabulary]))


def texts(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return question and answer of every row, and the turns before them, sorted."""
    return [(row.question, row.answer, *chain(*row.before)) for row in in_order(rows)]


def in_order(rows: list[Row]) -> list[Row]:
    """Return the rows sorted by their text."""
    return sorted(rows, key=lambda row: (row.question, row.answer, row.before))


def row_marks(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a short hash of each row (:func:`texts`), sorted."""
    texts = (json.dumps(row).encode() for row in rows)
    return sorted({hashlib.sha256(text).hexdigest()[:12] for text in texts})


def learnt_rows(folder: Path) -> set[str] | None:
    """Return the marks of the rows that a prepared model has learnt; None where nobody knows."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return set(map(str, record["rows"]))
    except (OSError, ValueError, LookupError, TypeError):  # none, or not one of ours
        return None


def refuse_reference(path: str, splits: Splits) -> None:
    """Raise ConfigurationError for a prepared model that learnt other rows than a reference.

    Only a model of the cache tells which rows it has learnt.
    """
    learnt = learnt_rows(Path(path).expanduser())
    if learnt is None:
        return
    forget, retain = (set(row_marks(texts(rows))) for rows in (splits.forget, splits.retain))
    problems = []
    if known := len(forget & learnt):
        problems.append(f"has learnt {known} of the {len(forget)} forget rows")
    if unknown := len(retain - learnt):
        problems.append(f"has not learnt {unknown} of the {len(retain)} retain rows")
    if problems:
        raise ConfigurationError(
            f"reference: {path} {' and '.join(problems)}; give a model that learnt the retain "
            "rows of these data only, or reference=train"
        )


def prepared_once(
    name: str, made_of: dict[str, Any], make: Callable[[Path], tuple[Any, Any, Learned]]
) -> Prepared:
    """Return the entry that `made_of` names; `make` (model, tokenizer, result) if there is none.

    `make` is given a folder of its own, in which a long training may leave a state to go on from.
    Of several processes all call it together, and rank 0 looks into the cache and writes.
    """
    entry = of_rank_zero(lambda: entry_of("prepared", json.dumps(made_of, sort_keys=True)))
    state = entry.with_name(f"{entry.name}.learning")

    def make_whole() -> tuple[Any, dict[str, Any], Any, Learned]:
        model, tokenizer, learned = make(state)
        return model, whole_state(model), tokenizer, learned

    def make_anew(
        together: Callable[[], tuple[Any, dict[str, Any], Any, Learned]], folder: Path
    ) -> Prepared:
        log.info("%s: not in the cache yet; it will be kept in %s", name, folder)
        model, weights, tokenizer, learned = together()
        with sealed_folder(folder) as unfinished:
            model.save_pretrained(unfinished, **weights)
            tokenizer.save_pretrained(unfinished)
            sha256 = hash_weights(unfinished)
            rows = row_marks(made_of["rows"])
            record = {"sha256": sha256, **asdict(learned), "rows": rows}
            write_json_atomic(unfinished / RECORD, record)
        for left in (state, state.with_name(f".{state.name}.unfinished")):
            shutil.rmtree(left, ignore_errors=True)
        return Prepared(str(folder), sha256, learned.accuracy)

    return led(
        lambda together: once(entry, name, partial(_read, name), partial(make_anew, together)),
        make_whole,
        everywhere=True,
    )


def _read(name: str, folder: Path) -> Prepared:
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    log.info("%s: from the cache (%.1f %% of its answer tokens)", name, 100 * record["accuracy"])
    return Prepared(str(folder), record["sha256"], record["accuracy"])
