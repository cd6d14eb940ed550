"""What the page's script draws, as plain data: points, curves, answers."""

from __future__ import annotations

import math
import shlex
from typing import Any

import numpy as np

from unlearn.record.layout import RunFolder, read_run
from unlearn.report.comparison.asked import Answers, Texts
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.planes import Drawn, Place, measured
from unlearn.report.comparison.runs import Run
from unlearn.report.comparison.styles import style
from unlearn.report.drawing import column
from unlearn.report.page import verdict_line

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
                "runs": list(members),
            }
        )
        for number, run in zip(members, group.runs, strict=True):
            runs.append(_run(run, points) | {"group": place})
            runs[-1]["answers"] = answers.of_runs[number]
    return {
        "groups": groups,
        "runs": runs,
        "baseline": section.groups.index(section.baseline),
        "front": section.front,
        "planes": [_plane(drawn) for drawn in section.planes],
        "choice": section.choice.place,
        "questions": answers.questions,
        "asked": answers.asked,
        "samples": answers.samples,
        "sets": [list(map(list, one)) for one in answers.sets],
    }


def _plane(drawn: Drawn) -> dict[str, Any]:
    plane = drawn.plane
    return {
        "name": plane.name,
        "across": plane.across,
        "up": plane.up,
        "log": plane.log,
        "floor": plane.floor,
        "reach": drawn.reach,
        "bottom": drawn.bottom,
        # The mean of one run is the run.
        "groups": [
            _point(place) if len(each) > 1 else None
            for place, each in zip(drawn.places, drawn.each, strict=True)
        ],
        "runs": [_point(place) for places in drawn.each for place in places],
        "front": drawn.front,
        "stairs": [list(map(_digits, point)) for point in drawn.stairs],
        "hypervolume": drawn.hypervolume,
        "landmarks": drawn.landmarks,
    }


def _point(place: Place) -> list[float] | None:
    """Return where a point is drawn and 1 if it is hollow; null where it has no place."""
    return [*map(_digits, place.shown), int(place.below)] if measured(place.shown) else None


def _digits(value: float) -> float:
    """Leave out digits that no screen shows: a page holds many points."""
    return float(f"{value:.6g}")


def _run(run: Run, points: int) -> dict[str, Any]:
    record = read_run(run.path, run.summary)
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
    for task in ("forget", "retain"):
        means = [_mean(column(block, f"train/{task}_loss")) for block in blocks]
        found[task] = [_rounded(mean) for mean in means]
    return found


def _mean(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
