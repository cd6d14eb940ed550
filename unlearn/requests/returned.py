"""Which rows, forgotten earlier, a run brought back."""

from __future__ import annotations

from pathlib import Path

MORE = 0.1
"""Nats a token by which a row must have become likelier to count."""


def rows_that_came_back(run: Path, most: int) -> list[int]:
    """Return the places of rows of the split `forgotten` that a run made likelier, the worst first.

    At most `most`, the number of rows to forget: in a batch of both, half are still new ones.
    """
    import pandas as pd

    means = []
    for stage in ("before", "after"):
        table = pd.read_parquet(run / "evaluations" / stage / "scores.parquet")
        ours = table[(table["split"] == "forgotten") & (table["kind"] == "answer")]
        sums = ours.groupby("index")[["nll_sum", "tokens"]].sum()
        means.append(sums["nll_sum"] / sums["tokens"])
    fallen = (means[0] - means[1]).sort_values(ascending=False, kind="stable")
    return [int(str(place)) for place in fallen[fallen > MORE].index[:most]]
