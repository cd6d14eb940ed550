"""The files of a comparison: table, picture and page."""

from __future__ import annotations

import re
from pathlib import Path

from unlearn.record.claim import claimed
from unlearn.report.comparison.export import write_csv
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.html import write_page
from unlearn.report.comparison.picture import draw_front

LEFT = re.compile(r"\.(?:comparison\.(?:csv|html)\.\d+\.tmp|pareto\.\d+\.png)")
"""What the files of a comparison are called as long as they are half-written."""


def write_comparison(
    comparison: Comparison, out: Path, csv: Path | None = None, name: str | None = None
) -> list[Path]:
    """Write CSV, picture and page into the folder `out`, each whole or not at all.

    Returns the files that were written. `csv` is another place for the CSV, `name` the title of the
    page; null is the name of `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    with claimed(out / "comparison.html", wait=True):
        for left in out.glob(".*"):
            if LEFT.fullmatch(left.name):  # by a process that was killed
                left.unlink(missing_ok=True)
        table = csv or out / "comparison.csv"
        write_csv(table, comparison)
        picture = draw_front(out / "pareto.png", comparison)
        page = write_page(out / "comparison.html", comparison, name or out.resolve().name)
    return [path for path in (table, picture, page) if path is not None]
