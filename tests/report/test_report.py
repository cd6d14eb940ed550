"""The report says what the run folder holds, whatever the folder lacks."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fabricate import NAME, fabricate

from unlearn.record.layout import read_run
from unlearn.report import draw_figures, print_summary, side_by_side, write_report
from unlearn.report.curves import training_figure
from unlearn.report.gradient_facts import gradient_facts, kept_both_signs
from unlearn.report.markdown import cell, table
from unlearn.report.plane import plane_figure
from unlearn.report.wording import duration, grouped, number, size
from unlearn.weightings.diagnostics import DIAGNOSTICS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return fabricate(tmp_path / NAME, steps=30, evaluate_every=10)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, for the tests that only read it."""
    run = fabricate(tmp_path_factory.mktemp("runs") / NAME, steps=30, evaluate_every=10)
    assert write_report(run) == run / "report.md"
    return run


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes a second, which tests of the text need not wait for."""
    monkeypatch.setattr("unlearn.report.page.draw_figures", lambda run, summary: [])


def change_summary(run: Path, **changes: Any) -> None:
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def report_of(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_story_says_how_far_it_ended_from_the_reference(run: Path, no_figures: None) -> None:
    metrics = json.loads((run / "summary.json").read_text())["metrics"]
    metrics["after"] |= {"forget/rougeL_recall": 0.204, "forget/repetition": 0.3}
    change_summary(run, metrics=metrics)
    report = report_of(run)
    assert "to 0.204 (reference: 0.104; 0.100 above it)." in report
    assert "It babbles: 30% of the 4-grams" in report
    rows = {line.split("|")[1].strip(): line for line in report.splitlines() if "|" in line}
    assert rows["`forget/rougeL_recall`"].endswith("as reference |")
    assert rows["`retain/rougeL_recall`"].endswith("higher |")
    assert rows["`forget/repetition`"].endswith("lower |")
    change_summary(run, metrics=metrics | {"reference": None})
    assert "`forget/rougeL_recall` | 0.912 | 0.204 | lower |" in report_of(run)


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.41237, "forget/rougeL_recall", "0.412"),
        (2.6173, "forget/loss", "2.62"),
        (10.23, "forget/loss", "10.2"),
        (1234.5, "forget/loss", "1234"),
        (1.23456e7, "forget/loss", "1.23e+07"),
        (1e-239, "retain/truth_ratio", "1.00e-239"),
        (0.0, "forget/rougeL_recall", "0"),
        (-0.5, "privleak", "-0.500"),
        (1.834066e-21, "forget_quality", "1.83e-21"),
        (0.3438, "forget_quality", "3.44e-01"),
        (0.3438, "forget_quality_D", "0.344"),
        (120, "", "120"),
        ("at most 0.4", "", "at most 0.4"),
        (None, "forget_quality", "–"),
    ],
)
def test_numbers_have_three_digits(value: object, metric: str, text: str) -> None:
    assert number(value, metric) == text


def test_times_and_sizes_are_a_persons() -> None:
    assert [duration(s) for s in (4.21, 200.4, 3599.9, 7500, None)] == [
        "4.2 s",
        "3 min 20 s",
        "1 h 00 min",
        "2 h 05 min",
        "–",
    ]
    assert [size(count) for count in (812_345_678, 3 * 2**30, None)] == ["775 MiB", "3.0 GiB", "–"]


def test_metrics_are_grouped_with_the_headlines_first() -> None:
    names = ["retain/loss", "kpi/passed", "forget/loss", "forget/rougeL_recall", "model_utility"]
    names += ["a_metric_of_mine", "forget_quality", "holdout/loss"]
    assert grouped(names) == {
        "whole model": ["forget_quality", "model_utility", "a_metric_of_mine"],
        "forget": ["forget/rougeL_recall", "forget/loss"],
        "retain": ["retain/loss"],
        "holdout": ["holdout/loss"],
        "kpi": ["kpi/passed"],
    }


def test_no_answer_of_a_model_breaks_a_table() -> None:
    wild = "a | b\n\n# c <img> `d` [e](f) \\| " + "long " * 200
    row = table(["answer"], [[cell(wild)]], "l").splitlines()
    assert len(row) == 3
    # A table's columns are parted by the bars that no backslash precedes.
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row[2])) == 2
    assert "<img" not in row[2]
    assert row[2].endswith("… |")


# --- the page --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_begins_with_title_verdict_and_story(complete: Path) -> None:
    title, verdict, story = (complete / "report.md").read_text(encoding="utf-8").split("\n\n")[:3]
    assert title == f"# {NAME}"
    assert verdict == "**Accepted: 2 of 2 conditions met.**"
    assert "**ngdiff** trained **tiny** for 30 steps (3 min 23 s)" in story
    told = "(reference: 0.104; 0.031 below it, over-forgotten)"
    assert f"forget rows went from 0.912 to 0.073 {told}" in story
    assert "babbles" not in story
    assert "retain rows went from 0.997 to 0.971 (reference: 0.989)" in story


def test_the_page_holds_every_metric_of_every_stage(complete: Path) -> None:
    page = (complete / "report.md").read_text(encoding="utf-8")
    stages = json.loads((complete / "summary.json").read_text())["metrics"]
    for name in stages["after"]:
        cells = [number(stages[stage][name], name) for stage in ("before", "after", "reference")]
        assert f"| `{name}` | {' | '.join(cells)} |" in page
    assert page.index("`forget_quality`") < page.index("`model_utility`")
    assert page.index("`model_utility`") < page.index("**forget**") < page.index("**retain**")


def test_the_page_shows_answers_figures_and_how_to_repeat(complete: Path) -> None:
    page = (complete / "report.md").read_text(encoding="utf-8")
    assert "### forget: 8 of 20 rows, evenly spaced" in page
    assert "### retain: 4 of 24 rows, evenly spaced" in page
    # Row 0 is the one that the fabricated model still knows: the mean alone would hide it.
    assert "kept most is number 0, with a ROUGE-L recall of 1.00" in page
    links = re.findall(r"!\[\w+\]\((.+)\)", page)
    assert links == [f"figures/{name}.png" for name in ("plane", "evaluations", "training")]
    assert all((complete / link).stat().st_size > 10_000 for link in links)
    assert "unlearn method=ngdiff 'accept.conditions=[{metric: a, at_most: 0.4}]'" in page
    assert "0123abc" in page
    assert "2" * 64 in page


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"verdict": {"accepted": None, "conditions": []}}, "no acceptance conditions were given"),
        ({"status": "failed"}, "the run is failed"),
        ({"status": "stopped"}, "the run is stopped"),
    ],
)
def test_the_verdict_names_what_is_missing(
    changes: dict[str, Any], verdict: str, run: Path
) -> None:
    change_summary(run, **changes)
    assert report_of(run).split("\n\n")[1].startswith("**No verdict: ")
    assert verdict in report_of(run)


@pytest.mark.usefixtures("no_figures")
def test_a_missed_condition_is_shown(tmp_path: Path) -> None:
    page = report_of(fabricate(tmp_path / NAME, steps=10, accepted=False))
    assert "**Not accepted: 1 of 2 conditions met.**" in page
    assert "| `retain/rougeL_recall` | 0.947 | 0.971 | no |" in page
    assert "| `forget/rougeL_recall` | at most 0.4 | 0.073 | yes |" in page


def test_a_run_without_training_and_reference(tmp_path: Path) -> None:
    run = fabricate(tmp_path / NAME, steps=0, reference=False, accepted=None)
    page = report_of(run)
    assert "nothing was trained" in page
    assert "no reference model" in page
    assert "| metric | before | after | better |" in page
    assert "(figures/plane.png)" in page
    assert not (run / "figures" / "training.png").exists()


def test_a_folder_in_which_everything_is_null(tmp_path: Path) -> None:
    run = tmp_path / "broken"
    run.mkdir()
    nothing = dict.fromkeys(["status", "name", "method", "metrics", "verdict", "cost", "overrides"])
    (run / "summary.json").write_text(json.dumps({**nothing, "provenance": {"git": None}}))
    assert report_of(run).startswith("# broken\n")
    print_summary(run, io.StringIO())
    (run / "summary.json").unlink()
    assert "the run is unfinished" in report_of(run)


@pytest.mark.usefixtures("no_figures")
def test_null_metrics_are_shown_as_missing(run: Path) -> None:
    metrics = json.loads((run / "summary.json").read_text())["metrics"]
    for flat in metrics.values():
        flat |= {"forget/rougeL_recall": None, "forget_quality": None}
    change_summary(run, metrics=metrics)
    page = report_of(run)
    assert "| `forget_quality` | – | – | – |" in page
    # Without ROUGE-L on both splits the plane falls back to the probability.
    figure = plane_figure(read_run(run))
    assert figure is not None
    assert figure.axes[0].get_xlabel().startswith("Probability")


@pytest.mark.slow
def test_the_summary_may_be_handed_in_before_it_is_written(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    page = write_report(run, summary).read_text(encoding="utf-8")
    assert "**Accepted: 2 of 2 conditions met.**" in page
    assert "(figures/training.png)" in page


def test_answers_are_joined_by_question(run: Path) -> None:
    (run / "evaluations" / "reference" / "generations.jsonl").unlink()
    rows = side_by_side(run)
    assert len(rows) == 20 + 24 + 6 + 6
    assert [row["index"] for row in rows[:20]] == list(range(20))
    assert {row["split"] for row in rows[:20]} == {"forget"}
    assert rows[5]["before"] == rows[5]["truth"]
    assert rows[5]["after"] != rows[5]["truth"]
    assert rows[5]["reference"] is None
    assert (rows[5]["rougeL_before"], rows[5]["rougeL_after"]) == (1.0, 0.1)


# --- the figures -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "gramian"), [(1, True), (1, False), (150, True), (150, False)])
def test_figures_of_any_length_with_and_without_gradients(
    steps: int, gramian: bool, tmp_path: Path
) -> None:
    run = fabricate(tmp_path / NAME, steps=steps, gramian=gramian, explode=not gramian)
    on_the_way = ["evaluations"] if steps > 20 else []
    assert [path.stem for path in draw_figures(run)] == ["plane", *on_the_way, "training"]


@pytest.mark.slow
def test_training_lines_full_of_nulls_are_drawn_as_gaps(tmp_path: Path) -> None:
    run = fabricate(tmp_path / NAME, steps=12)
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    empty = [
        {name: None if name.startswith("train/") else value for name, value in line.items()}
        for line in lines
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in empty))
    assert len(draw_figures(run)) == 2


def test_an_exploding_loss_gets_a_log_scale(tmp_path: Path) -> None:
    calm = training_figure(read_run(fabricate(tmp_path / "calm")))
    wild = training_figure(read_run(fabricate(tmp_path / "wild", explode=True)))
    assert calm is not None
    assert wild is not None
    assert calm.axes[0].get_yscale() == "linear"
    assert wild.axes[0].get_yscale() == "log"


def test_the_plane_shows_the_way_in_order_of_steps(run: Path) -> None:
    figure = plane_figure(read_run(run))
    assert figure is not None
    forget = np.asarray(figure.axes[0].lines[0].get_xdata(), dtype=float)
    assert len(forget) == 4  # before, two evaluations on the way, after
    assert forget[0] == pytest.approx(0.912)
    assert forget[-1] == pytest.approx(0.073)
    assert (np.diff(forget) < 0).all()


# --- the terminal ----------------------------------------------------------------------------


def test_the_summary_fits_a_terminal_and_has_no_colour_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    run = fabricate(tmp_path / "[odd] name", steps=30)
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    print_summary(run, output)
    text = output.getvalue()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    for expected in ("5.60e-05", "0.912", "0.073", "0.104", "0.971", "Accepted", "[odd] name"):
        assert expected in text
    rates = [line["train/lr"] for line in read_run(run).training]
    assert f"{number(rates[-1])} at the last, {number(max(rates))} at most" in text
    assert "probed at 4 steps" in text
    assert "train 3 min 23 s (30 steps)" in text


def test_the_summary_prints_on_an_ascii_terminal(run: Path) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as output:
        print_summary(run, output)
        output.flush()
        assert b"Accepted" in raw.getvalue()


# Gradients


@pytest.mark.usefixtures("no_figures")
def test_the_report_says_how_often_a_step_kept_both_signs(tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", steps=40)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if "train/lr" in line]
    for line in training[:10]:
        line["train/forget_descent"] = -1e-3  # a quarter of the steps hurts the forget task
    for line in training[10:20]:
        line |= dict.fromkeys((*DIAGNOSTICS, "train/direction_norm"))  # and so many do not tell
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = gradient_facts(read_run(run))
    assert facts["train/kept_both_signs"] == pytest.approx(20 / 30)
    page = write_report(run).read_text(encoding="utf-8")
    assert "Over the 30 of 40 steps" in page
    assert re.search(
        r"share of steps whose direction lowers both minimised losses +\| +0\.667", page
    )


def test_parallel_gradients_keep_both_signs_up_to_rounding() -> None:
    line = {
        "train/direction_norm": 1e-4,
        "train/retain_norm": 2.0,
        "train/forget_norm": 30.0,
        "train/retain_descent": -1e-12,
        "train/forget_descent": 1e-12,
    }
    assert kept_both_signs(line)
    assert not kept_both_signs({**line, "train/retain_descent": -1e-6})


@pytest.mark.usefixtures("no_figures")
def test_without_gradients_apart_there_is_no_section(tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", gramian=False)
    assert gradient_facts(read_run(run)) == {}
    assert "## Gradients" not in write_report(run).read_text(encoding="utf-8")
