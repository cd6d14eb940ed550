"""The figure of the evaluations on the way draws the numbers of the record, at their steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from support.fabricate import NAME, fabricate

from unlearn.record.layout import read_run
from unlearn.report import draw_figures
from unlearn.report.drawing import FORGET, REFERENCE, RETAIN
from unlearn.report.evaluations import evaluations_figure

SHARES = ("rougeL_recall", "rouge1_recall", "probability", "truth_ratio", "exact_memorization")
RETAIN_LOSS = "retain loss of each step, as trained"
REFERENCE_LINE = "the reference on the forget rows"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Evaluated before, after steps 10 and 20, and after the last one, 30."""
    return fabricate(tmp_path / NAME, steps=30, evaluate_every=10)


def figure_of(run: Path) -> Figure:
    figure = evaluations_figure(read_run(run))
    assert figure is not None
    return figure


def panels_of(figure: Figure) -> dict[str, Axes]:
    return {axis.get_title(): axis for axis in figure.axes}


def lines_of(axis: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axis.lines}


def drawn(line: Line2D) -> dict[float, float]:
    xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
    return dict(zip(xs.tolist(), ys.tolist(), strict=True))


def change_lines(run: Path, change: dict[str, Any], stage: str | None = None) -> None:
    """Change values that the lines of a stage have, or those of the training."""
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line.get("stage") == stage:
            line |= {name: value for name, value in change.items() if name in line}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_summary(run: Path, **changes: Any) -> dict[str, Any]:
    path = run / "summary.json"
    summary: dict[str, Any] = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(summary))
    return summary


def test_every_metric_is_drawn_from_before_over_the_way_to_after(run: Path) -> None:
    record = read_run(run)
    panels = panels_of(figure_of(run))
    assert set(panels) == {*SHARES, "loss", RETAIN_LOSS}
    for metric in (*SHARES, "loss"):
        lines = lines_of(panels[metric])
        for split, colour in (("forget", FORGET), ("retain", RETAIN)):
            name = f"{split}/{metric}"
            assert lines[split].get_color() == colour
            assert drawn(lines[split]) == {
                0: record.metrics["before"][name],
                10: record.on_the_way[10][name],
                20: record.on_the_way[20][name],
                30: record.metrics["after"][name],
            }
        reference = lines[REFERENCE_LINE]
        value = record.metrics["reference"][f"forget/{metric}"]
        assert list(reference.get_ydata()) == [value, value]
        assert (reference.get_color(), reference.get_linestyle()) == (REFERENCE, "--")


def test_the_retain_loss_of_each_step_is_drawn_with_its_bound(run: Path) -> None:
    losses = {line["step"]: line["train/retain_loss"] for line in read_run(run).training}
    curve, bound = panels_of(figure_of(run))[RETAIN_LOSS].lines
    assert drawn(curve) == losses
    assert len(losses) == 30
    assert list(bound.get_ydata()) == pytest.approx([losses[1] + 0.25] * 2)


def test_shares_are_drawn_over_their_whole_range_and_a_wild_loss_on_a_log_scale(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["metrics"]["after"]["forget/loss"] = 4000.0
    change_summary(run, metrics=summary["metrics"])
    panels = panels_of(figure_of(run))
    assert {panels[metric].get_ylim() for metric in SHARES} == {(-0.03, 1.03)}
    assert {panels[metric].get_yscale() for metric in SHARES} == {"linear"}
    assert panels["loss"].get_yscale() == "log"
    assert panels["loss"].get_ylim()[1] > 4000


def test_the_state_that_was_taken_is_marked_and_lies_at_its_step(run: Path) -> None:
    """With `evaluation.best` "after" is of an earlier step, and the last was evaluated as well."""
    last = {"step": 30, "stage": "step_30", **read_run(run).on_the_way[20], "forget/loss": 9.0}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**last, "step": 30, "stage": "step_30"}) + "\n")
    best = {"metric": "model_utility", "step": 20, "value": 0.6}
    summary = change_summary(run, training={"reason": "", "steps": 30, "best": best})
    panels = panels_of(figure_of(run))
    values = drawn(lines_of(panels["loss"])["forget"])
    assert list(values) == [0, 10, 20, 30]
    assert values[20] == summary["metrics"]["after"]["forget/loss"]
    assert values[30] == 9.0
    for axis in panels.values():
        assert list(lines_of(axis)["the state that was taken (step 20)"].get_xdata()) == [20, 20]


def test_what_was_not_measured_is_a_gap_or_no_panel(run: Path) -> None:
    missing: dict[str, Any] = {"forget/truth_ratio": None, "retain/truth_ratio": None}
    summary = json.loads((run / "summary.json").read_text())
    for flat in summary["metrics"].values():
        flat |= missing
    summary["metrics"]["reference"] = None
    change_summary(run, metrics=summary["metrics"])
    for stage in ("step_10", "step_20"):
        change_lines(run, missing, stage)
    change_lines(run, {"forget/loss": None}, "step_10")
    panels = panels_of(figure_of(run))
    assert "truth_ratio" not in panels
    assert np.isnan(drawn(lines_of(panels["loss"])["forget"])[10])
    assert not any(REFERENCE_LINE in lines_of(axis) for axis in panels.values())


def test_without_a_retain_task_there_is_no_bound(run: Path) -> None:
    change_lines(run, {"train/retain_loss": None})
    figure = figure_of(run)
    assert set(panels_of(figure)) == {*SHARES, "loss"}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["forget", "retain", REFERENCE_LINE]


@pytest.mark.parametrize("steps", [0, 12])
def test_a_run_that_was_not_evaluated_on_the_way_has_no_such_figure(
    steps: int, tmp_path: Path
) -> None:
    run = fabricate(tmp_path / NAME, steps=steps, evaluate_every=0)
    assert evaluations_figure(read_run(run)) is None


@pytest.mark.slow
def test_the_file_is_written_where_there_is_something_to_draw(tmp_path: Path) -> None:
    watched = fabricate(tmp_path / "watched", steps=30, evaluate_every=10)
    plain = fabricate(tmp_path / "plain", steps=30, evaluate_every=0)
    assert (watched / "figures" / "evaluations.png") in draw_figures(watched)
    draw_figures(plain)
    assert not (plain / "figures" / "evaluations.png").exists()
