"""How much the learning rate matters to each method: ranges over rates, from a comparison's CSV.

    python docs/sensitivity.py docs/results/tofu_tiny.csv

Prints Markdown: for every method and schedule the lowest and the highest mean over seeds among the
rates that were tried, of forget and retain ROUGE-L and of model utility.
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


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
