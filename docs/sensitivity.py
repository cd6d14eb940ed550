"""How much the learning rate matters to each method: ranges over rates, from a comparison's CSV.

    python docs/sensitivity.py docs/results/tofu_tiny.csv

Prints two tables in Markdown. For every method and schedule the lowest and the highest mean over
seeds among the rates that were tried, of forget and retain ROUGE-L and of model utility. Then the
paired differences from the comparison's baseline, of the groups with its schedule and rate.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

NUMBERS = {
    "forget/rougeL_recall": "forget ROUGE-L",
    "retain/rougeL_recall": "retain ROUGE-L",
    "model_utility": "utility",
}


def ranges(path: Path) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Return the rows of the CSV by method and schedule."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            told = dict(word.split("=", 1) for word in row["run"].split())
            groups.setdefault((told["method"], told["scheduler"]), []).append(row)
    return groups


def table(path: Path) -> str:
    """Return the ranges as a Markdown table."""
    groups = ranges(path)
    schedules = list(dict.fromkeys(schedule for _, schedule in groups))
    heads = [f"{title}, {schedule}" for title in NUMBERS.values() for schedule in schedules]
    lines = ["| method | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for method in dict.fromkeys(method for method, _ in groups):
        cells = []
        for name in NUMBERS:
            for schedule in schedules:
                values = [float(row[name]) for row in groups[method, schedule]]
                cells.append(f"{min(values):.2f} to {max(values):.2f}")
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(path: Path) -> str:
    """Return the differences from the baseline, whose own cells are empty, as a Markdown table."""
    rows = [row for group in ranges(path).values() for row in group]
    (baseline,) = (row["run"] for row in rows if not row["pairs"])
    alike = baseline.split(" ", 1)[1]
    lines = [f"| minus `{baseline}` | " + " | ".join(NUMBERS.values()) + " |"]
    lines += ["|---|" + "---|" * len(NUMBERS)]
    for row in rows:
        if row["run"].endswith(alike) and row["run"] != baseline:
            cells = []
            for name in NUMBERS:
                mean, low, high = (float(row[f"{name}_{part}"]) for part in ("diff", "low", "high"))
                cells.append(f"{mean:+.3f} [{low:.3f}, {high:.3f}]")
            lines.append(f"| `{row['run'].split()[0]}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])), differences(Path(sys.argv[1])), sep="\n\n")
