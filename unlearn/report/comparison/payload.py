"""What the page's script draws, as plain data: points, curves, answers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from unlearn.record.layout import RunFolder, read_run
from unlearn.report.comparison.asked import Answers, Texts
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.picture import SPLITS, landmarks, lowest_shown, staircase
from unlearn.report.comparison.runs import Run
from unlearn.report.comparison.styles import style
from unlearn.report.drawing import column
from unlearn.report.page import verdict_line
from unlearn.report.plane import PLANES

POINTS = 24_000
"""Points of one curve that a page may hold, all runs together."""
FEWEST, MOST = 16, 400
"""Points of the curve of one run, at the least and at the most."""


def payload(comparison: Comparison) -> dict[str, Any]:
    """Return the data of the page, ready for JSON."""
    texts = Texts()
    runs = sum(len(section.runs) for section in comparison.sections)
    points = max(FEWEST, min(MOST, POINTS // max(runs, 1)))
    sections = [_section(section, texts, points) for section in comparison.sections]
    return {"texts": list(texts.numbers), "cut": texts.cut, "points": points, "sections": sections}


def _section(section: Section, texts: Texts, points: int) -> dict[str, Any]:
    answers = Answers(section.runs, texts)
    runs: list[dict[str, Any]] = []
    groups = []
    for place, group in enumerate(section.groups):
        look = style(place)
        members = range(len(runs), len(runs) + len(group.runs))
        groups.append(
            {
                "label": group.short,
                "colour": look.colour,
                "symbol": look.symbol,
                "dash": look.dash,
                "point": _finite(section.points[place]) if section.points else None,
                "runs": list(members),
            }
        )
        for number, run in zip(members, group.runs, strict=True):
            runs.append(_run(run, section.measure, points) | {"group": place})
            runs[-1]["answers"] = answers.of_runs[number]
    return {
        "measure": PLANES.get(section.measure or "", ""),
        "groups": groups,
        "runs": runs,
        "baseline": section.groups.index(section.baseline),
        "front": section.front,
        "stairs": staircase([section.points[place] for place in section.front]),
        "hypervolume": section.hypervolume,
        "bottom": lowest_shown(section) if section.measure else 0,
        "landmarks": landmarks(section),
        "questions": answers.questions,
        "asked": answers.asked,
        "samples": answers.samples,
        "sets": [list(map(list, one)) for one in answers.sets],
    }


def _run(run: Run, measure: str | None, points: int) -> dict[str, Any]:
    record = read_run(run.path, run.summary)
    after = run.metrics["after"]
    place = [after.get(f"{split}/{measure}") for split in SPLITS]
    verdict = run.summary.get("verdict") or {}
    return {
        "name": record.name,
        "seed": run.seed,
        "command": shlex.join(["unlearn", *run.overrides]),
        "verdict": verdict_line(record),
        "conditions": [
            [condition.get(key) for key in ("metric", "rule", "value", "met")]
            for condition in verdict.get("conditions") or []
        ],
        "point": place if None not in place else None,
        "curves": curves(record, points),
    }


def curves(record: RunFolder, points: int) -> dict[str, list[float | None]]:
    """Return step, both losses and the learning rate, in at most about `points` points.

    Where steps are too many, a point is the mean loss of as many steps in a row, and the rate at
    the last of them.
    """
    lines = record.training
    width = math.ceil(len(lines) / points) if lines else 1
    blocks = [lines[start : start + width] for start in range(0, len(lines), width)]
    found: dict[str, list[float | None]] = {
        "step": [block[-1].get("step") for block in blocks],
        "rate": [_rounded(block[-1].get("train/lr")) for block in blocks],
    }
    for task in SPLITS:
        means = [_mean(column(block, f"train/{task}_loss")) for block in blocks]
        found[task] = [_rounded(mean) for mean in means]
    return found


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _finite(point: Sequence[float]) -> list[float] | None:
    return list(point) if all(map(math.isfinite, point)) else None
