"""The last thing a run prints: what came of it, in one screen of at most 100 columns."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rich.table import Table
from rich.text import Text

from unlearn.console import visible
from unlearn.metrics.catalogue import HEADLINES
from unlearn.record.layout import RunFolder, read_run
from unlearn.report.advice import advice
from unlearn.report.attacks import share_names
from unlearn.report.page import verdict_line
from unlearn.report.wording import MISSING, bound_words, duration, number, way_words

WIDTH = 100


def print_summary(
    run: Path, file: IO[str] | None = None, summary: Mapping[str, Any] | None = None
) -> None:
    """Print the headline metrics, the verdict, the learning rate, the time and the folder.

    Where `file` is null, to standard output; in colour only on a terminal. `summary` is a record
    other than the folder's summary.json, such as a later evaluation's.
    """
    record = read_run(run, summary)
    console = visible.console(file)
    if not console.is_terminal or console.width > WIDTH:
        console.width = (
            WIDTH  # where nothing tells a width, rich's guess of 80 breaks lines in logs
        )
    console.print()
    console.print(_table(record))
    for label, text in _facts(record):
        # Text, not markup: brackets in a path or a message are not style tags.
        console.print(Text.assemble((f"{label:<15}", "bold"), text), soft_wrap=label == "folder")


def _table(record: RunFolder) -> Table:
    table = Table(title=record.name, title_justify="left")
    table.add_column("metric")
    for stage in record.metrics:
        table.add_column(stage, justify="right", no_wrap=True)
    table.add_column("better")
    verdict = record.summary.get("verdict") or {}
    judged = [condition["metric"] for condition in verdict.get("conditions") or []]
    attacks = {f"attack/{name}": f"{name}: recovered share" for name in share_names(record)}
    told = [name for name in dict.fromkeys([*HEADLINES, *judged]) if name not in attacks]
    measured = {name for flat in record.metrics.values() for name in flat}
    for metric in [*(name for name in told if name in measured), *attacks]:
        known = record.catalogue[metric]
        label = attacks.get(metric) or (known.label if metric in HEADLINES else metric)
        values = [number(flat.get(metric), metric) for flat in record.metrics.values()]
        table.add_row(label, *(value.replace(MISSING, "-") for value in values), record.way(metric))
    return table


def _facts(record: RunFolder) -> list[tuple[str, str]]:
    cost = record.summary.get("cost") or {}
    facts = [("verdict", verdict_line(record))]
    for condition in (record.summary.get("verdict") or {}).get("conditions") or []:
        metric = condition["metric"]
        value = number(condition.get("value"), metric)
        word = "  met" if condition.get("met") else "  not met"
        facts.append((word, f"{metric} {value}: {bound_words(condition)}"))
    if record.training:
        rates = [line["train/lr"] for line in record.training]
        probes = sum("train/lr_reason" in line for line in record.training)
        probed = f", probed at {probes} steps" if probes else ""
        ends = f"{number(rates[0])} at the first step, {number(rates[-1])} at the last"
        facts.append(("learning rate", f"{ends}, {number(max(rates))} at most{probed}"))
    if safety := record.summary.get("safety"):
        facts.append(("on the way", way_words(safety)))
    spent = f"evaluate {duration(cost.get('evaluate_s'))}"
    if "steps" in cost:
        prepared, trained = duration(cost.get("prepare_s")), duration(cost.get("train_s"))
        spent = f"prepare {prepared}, train {trained} ({cost['steps']} steps), {spent}"
    facts.append(("time", spent))
    if told := advice(record):
        facts.append(("try next", told))
    here, away = os.path.relpath(record.path), str(record.path.absolute())
    facts.append(("folder", min(here, away, key=len)))
    plain = str.maketrans({MISSING: "-", "×": "x"})  # a log's encoding may know neither
    return [(label, text.translate(plain)) for label, text in facts]
