"""One line a job, as a sweep prints them when it ends."""

from __future__ import annotations

from typing import IO

from rich.table import Table
from rich.text import Text

from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.numbers import numbers, written
from unlearn.report.comparison.printed import console, heading, print_failed
from unlearn.report.comparison.runs import Run
from unlearn.report.plane import PLANES
from unlearn.report.wording import duration

VERDICTS: dict[bool | None, str] = {True: "accepted", False: "not accepted", None: "-"}


def print_jobs(comparison: Comparison, file: IO[str] | None = None) -> None:
    """Print a line for each job in the order of the jobs, completed ones first."""
    out = console(file)
    out.print()
    for number, section in enumerate(comparison.sections):
        if len(comparison.sections) > 1:
            out.print(Text(heading(section, number), "bold"))
        out.print(_jobs(section, comparison))
    print_failed(comparison, out)


def _jobs(section: Section, comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    names = section.axes
    label = PLANES[section.measure] if section.measure else ""
    for title in ("job", "told", "seed", *(f"{name.split('/')[0]} {label}" for name in names)):
        table.add_column(title, justify="left" if title in ("job", "told") else "right")
    table.add_column("trained", justify="right")
    table.add_column("verdict")
    for run in sorted(section.runs, key=_number):
        found = numbers(run)
        cells = [written(name, found[name]) if name in found else "-" for name in names]
        verdict = VERDICTS[run.accepted]
        told = Text(comparison.name(run))
        trained = duration((run.summary.get("cost") or {}).get("train_s"))
        table.add_row(_job(run), told, str(run.seed), *cells, trained, verdict)
    return table


def _job(run: Run) -> str:
    """The number of the job, which its folder's name begins with."""
    return run.path.name.partition("-")[0]


def _number(run: Run) -> tuple[int, str]:
    job = _job(run)
    return (int(job) if job.isdigit() else -1, run.path.name)
