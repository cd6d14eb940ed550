"""How metrics read a score table: one split, one kind of answer, mean NLL per token.

A score table has one row per scored (split, index, kind, number): `nll_sum` is the summed NLL of
the answer's tokens in nats (end-of-answer token included), `tokens` their number, `hits` how many
of them are the model's first choice given the true prefix. True answers of some splits have lists,
one entry a token: `token_hits`, and `token_log_p` with mean and variance of log p under the
vocabulary, `token_mean_log_p` and `token_variance_log_p`. What a metric cannot read correctly (two
splits at once, an answer scored twice, an empty answer) is an error here, so that no metric
averages it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import pandas as pd

from unlearn.errors import UnlearnError

HITS = "token_hits"
LIKELIHOODS = ("token_log_p", "token_mean_log_p", "token_variance_log_p")
"""The columns that hold lists."""


Known = dict[tuple[int, str], tuple[pd.DataFrame, pd.DataFrame, pd.Series]]
_sorted: ContextVar[Known | None] = ContextVar("sorted", default=None)


@contextmanager
def sorted_once() -> Iterator[None]:
    """Sort the answers of a table once for all metrics that are computed in this context.

    Nobody may change a table meanwhile, nor what :func:`answers_of` and :func:`mean_nll` return.
    """
    token = _sorted.set({})
    try:
        yield
    finally:
        _sorted.reset(token)


def answers_of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The rows of one kind, indexed by (index, number) and sorted.

    Sorting makes every metric independent of row order to the last bit, since floating-point sums
    are not.

    Raises UnlearnError where the table holds several splits, no row of this kind, an answer that
    was scored twice, or an answer without tokens.
    """
    return _read(table, kind)[1]


def _read(table: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return the table, its rows of one kind, and their mean NLL; read once where that is asked."""
    known = _sorted.get()
    if known is not None and (id(table), kind) in known:
        return known[id(table), kind]
    rows = _answers_of(table, kind)
    nll = (rows["nll_sum"] / rows["tokens"]).where(np.isfinite(rows["nll_sum"]))
    if known is not None:  # the table is kept beside it, so that its id stays its own
        known[id(table), kind] = table, rows, nll
    return table, rows, nll


def _answers_of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    splits = list(table["split"].unique())
    if len(splits) > 1:
        raise UnlearnError(f"a metric reads the score table of one split; this one holds {splits}")
    rows = table[table["kind"] == kind].set_index(["index", "number"]).sort_index()
    where = f"score table of split {splits[0]!r}" if splits else "empty score table"
    if rows.empty:
        kinds = sorted(table["kind"].unique())
        raise UnlearnError(f"{where}: no row of kind {kind!r} to measure; kinds present: {kinds}")
    if rows.index.has_duplicates:
        twice = rows.index[rows.index.duplicated()].unique().tolist()
        raise UnlearnError(f"{where}: (index, number) scored twice as {kind!r}: {listed(twice)}")
    if (rows["tokens"] < 1).any():
        empty = rows.index[rows["tokens"] < 1].tolist()
        raise UnlearnError(f"{where}: {kind!r} without tokens at (index, number) {listed(empty)}")
    return rows


def mean_nll(table: pd.DataFrame, kind: str) -> pd.Series:
    """Mean NLL per answer token, a = S / tokens, in nats; indexed by (index, number) and sorted.

    An infinite S is what a broken forward pass leaves, not a likelihood of zero: it becomes NaN
    here, and every mean over it is NaN too.
    """
    return _read(table, kind)[2]


def token_lists(rows: pd.DataFrame, column: str) -> list[np.ndarray]:
    """The lists of one column, (tokens,) each, in the order of `rows`; `answers_of` gives the rows.

    Numbers come back in float64, so that what is made of them adds no rounding of its own.

    Raises UnlearnError where a row has no list, or not one entry a token.
    """
    if column not in rows:
        raise UnlearnError(f"score table without the column {column}: nothing was kept by token")
    lists = [
        None if values is None else np.asarray(values, dtype=bool if column == HITS else float)
        for values in rows[column]
    ]
    wrong = [
        place
        for place, values, tokens in zip(rows.index, lists, rows["tokens"], strict=True)
        if values is None or values.shape != (tokens,)
    ]
    if wrong:
        raise UnlearnError(f"{column}: not one entry a token at (index, number) {listed(wrong)}")
    return [values for values in lists if values is not None]


def without_last(lists: list[np.ndarray]) -> list[np.ndarray]:
    """The lists without their last entry, which is the end token's unless the answer was cut.

    OpenUnlearning's code leaves the last one out either way. A list of one entry stays, as nothing
    would be left of it to count.
    """
    return [values[:-1] if len(values) > 1 else values for values in lists]


def right_and_wrong(
    table: pd.DataFrame, right_kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, pd.Index]:
    """Mean NLL of each row's right answer and of its wrong ones, in the order of `index`.

    Returns a_right (rows,), a_wrong (the wrong answers of all rows, each row's beside each other),
    the position in a_wrong at which each row begins (rows,), and the rows' indexes.

    Raises UnlearnError unless every index of the table has both.
    """
    right = mean_nll(table, right_kind).droplevel("number")
    wrong = mean_nll(table, "perturbed")
    indexes, first = np.unique(wrong.index.get_level_values("index"), return_index=True)
    rows = pd.Index(indexes, name="index")
    right_name = f"answers of kind {right_kind!r}"
    require_same_indexes(right.index, rows, right_name, "answers of kind 'perturbed'")
    require_same_indexes(pd.Index(table["index"].unique()), rows, "the split", right_name)
    return right.to_numpy(), wrong.to_numpy(), first, rows


def require_same_indexes(one: pd.Index, other: pd.Index, one_name: str, other_name: str) -> None:
    """Raise UnlearnError unless both sides hold the same questions, each once.

    Pairing by position instead would compare different questions and still print a number.
    """
    problems = [
        f"index given twice in {name}: {listed(side[side.duplicated()].unique().tolist())}"
        for side, name in ((one, one_name), (other, other_name))
        if side.has_duplicates
    ]
    problems += [
        f"in {here} but not in {there}: index {listed(missing.tolist())}"
        for missing, here, there in (
            (one.difference(other), one_name, other_name),
            (other.difference(one), other_name, one_name),
        )
        if len(missing)
    ]
    if problems:
        raise UnlearnError(
            f"{one_name} and {other_name} must cover the same questions; " + "; ".join(problems)
        )


def listed(values: list[object], shown: int = 5) -> str:
    """The first few values for an error message, with a count of the rest."""
    more = f" and {len(values) - shown} more" if len(values) > shown else ""
    return ", ".join(map(str, values[:shown])) + more
