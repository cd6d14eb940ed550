"""`unlearn-compare`: what it reads, how it groups, and what it says where there is nothing."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest

from unlearn.report.comparison import find_runs, grouped, main


def a_run(
    folder: Path, seed: int, forget: float, *overrides: str, status: str = "completed"
) -> None:
    """Write the summary of a run whose retain ROUGE-L fell from 0.8 to 0.6."""
    folder.mkdir(parents=True)
    summary = {
        "status": status,
        "seed": seed,
        "overrides": [f"seed={seed}", "tracker=none", *overrides],
        "metrics": {
            "before": {"retain/rougeL_recall": 0.8},
            "after": {"forget/rougeL_recall": forget, "retain/rougeL_recall": 0.6},
        },
        "cost": {"train_s": 10.0 + seed},
    }
    if status != "completed":
        summary |= {"error": "NumericalError: step 3\nsecond line"}
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed, forget in enumerate((0.1, 0.2, 0.6)):
        a_run(tmp_path / f"{seed}-ngdiff", seed, forget, "method=ngdiff")
    a_run(tmp_path / "10-pcgrad", 0, 0.5, "method=pcgrad")
    a_run(tmp_path / "11-ga", 0, 0.5, "method=ga", status="failed")
    return tmp_path


def test_runs_are_found_in_the_order_of_their_jobs(sweep: Path) -> None:
    names = [run.name for run in find_runs([sweep])]
    assert names == ["0-ngdiff", "1-ngdiff", "2-ngdiff", "10-pcgrad", "11-ga"]


def test_seeds_are_grouped_and_failures_told_apart(sweep: Path) -> None:
    groups, failures = grouped(find_runs([sweep]))
    assert list(groups) == ["method=ngdiff", "method=pcgrad"]
    assert len(groups["method=ngdiff"]) == 3
    assert groups["method=pcgrad"][0]["retain_kept"] == pytest.approx(0.75)
    assert failures == {"method=ga seed=0": "NumericalError: step 3"}


def test_the_csv_holds_mean_and_deviation(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(sweep), "--markdown", f"{sweep}/t.md"])
    main()
    rows = list(csv.DictReader((sweep / "comparison.csv").read_text().splitlines()))
    ngdiff = next(row for row in rows if row["run"] == "method=ngdiff")
    values = (0.1, 0.2, 0.6)
    assert ngdiff["seeds"] == "3"
    assert float(ngdiff["forget/rougeL_recall"]) == pytest.approx(statistics.fmean(values))
    assert float(ngdiff["forget/rougeL_recall_std"]) == pytest.approx(statistics.stdev(values))
    assert ngdiff["model_utility"] == ""
    printed = capsys.readouterr().out
    assert "0.300 ± 0.265" in printed
    assert "not completed: method=ga seed=0: NumericalError: step 3" in printed
    assert "| `method=ngdiff` | 3 | 0.300 ± 0.265 |" in (sweep / "t.md").read_text()


def test_a_page_keeps_what_stands_around_its_table(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = sweep / "page.md"
    page.write_text("# Title\n<!-- table -->\nold\n<!-- end of table -->\nThe end.\n")
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(sweep), "--markdown", str(page)])
    main()
    text = page.read_text()
    assert text.startswith("# Title\n<!-- table -->\n| run |")
    assert text.endswith("<!-- end of table -->\nThe end.\n")
    assert "old" not in text
    assert "method=pcgrad" in text


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_nothing_to_compare_is_said(
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "sweep"
    if what == "empty":
        folder.mkdir()
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert ("no such folder" if what == "missing" else "no run") in capsys.readouterr().err
