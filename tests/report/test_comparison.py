"""`unlearn-compare`: what it reads, how it groups, and what it says where there is nothing."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.fabricated_sweep import IDENTITY, fabricate_job, fabricate_sweep

from unlearn.commands.compare import main
from unlearn.errors import ConfigurationError
from unlearn.report import hypervolume, pareto_front
from unlearn.report.comparison import compare
from unlearn.report.comparison.printed import differences
from unlearn.report.comparison.runs import find_runs, folders_of


def a_run(
    folder: Path, seed: int, forget: float, *overrides: str, status: str = "completed"
) -> None:
    """Write the summary of a run whose retain ROUGE-L fell from 0.8 to 0.6, and nothing else."""
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


class Compared:
    """Calls the command in this process."""

    def __init__(
        self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        self.patch, self.capsys, self.folder = patch, capsys, folder

    def __call__(self, *words: object) -> str:
        """Return what was printed."""
        self.patch.setattr("sys.argv", ["unlearn-compare", *map(str, words)])
        main()
        return self.capsys.readouterr().out

    def refused(self, *words: object) -> str:
        """Return the message of a refusal with exit status 2."""
        with pytest.raises(SystemExit) as ended:
            self(*words)
        assert ended.value.code == 2
        said = self.capsys.readouterr().err
        assert "Traceback" not in said
        return said


@pytest.fixture
def compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Compared:
    return Compared(monkeypatch, capsys, tmp_path)


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """Return the lines of a comparison.csv by label."""
    text = (folder / "comparison.csv").read_text()
    return {row["run"]: row for row in csv.DictReader(text.splitlines())}


# Finding and grouping.


def test_runs_are_found_once_in_the_order_of_their_jobs(sweep: Path) -> None:
    names = [run.name for run in find_runs([sweep, sweep / "10-pcgrad"])]
    assert names == ["0-ngdiff", "1-ngdiff", "2-ngdiff", "10-pcgrad", "11-ga"]


def test_a_pattern_in_quotes_names_folders(
    sweep: Path, compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sweep)
    assert [str(folder) for folder in folders_of(["*-ngdiff"])] == [
        f"{seed}-ngdiff" for seed in range(3)
    ]
    assert "no such folder: *-npo" in compared.refused("*-npo")


def test_seeds_are_grouped_and_failures_told_apart(sweep: Path) -> None:
    comparison = compare([sweep])
    assert [group.label for group in comparison.groups] == ["method=ngdiff", "method=pcgrad"]
    assert [len(group.runs) for group in comparison.groups] == [3, 1]
    assert comparison.groups[1].numbers[0]["retain_kept"] == pytest.approx(0.75)
    (failed,) = comparison.failed
    assert (failed.label, failed.error) == ("method=ga", "NumericalError: step 3")


def test_what_overrides_do_not_tell_is_told(tmp_path: Path) -> None:
    for number, steps in enumerate((10, 10, 20)):
        run = fabricate_job(tmp_path / f"{number}-ngdiff", "method=ngdiff", seed=number)
        (run / ".hydra" / "config.yaml").write_text(f"seed: {number}\ntraining: {{steps: {steps}}}")
    labels = [group.label for group in compare([tmp_path]).groups]
    assert labels == [
        "method=ngdiff (training.steps: 10)",
        "method=ngdiff (training.steps: 20)",
    ]


def test_what_all_were_told_is_said_once(tmp_path: Path) -> None:
    (section,) = compare([fabricate_sweep(tmp_path, groups=2, seeds=1)]).sections
    assert section.common == "method=linear"
    assert [group.short for group in section.groups] == [
        "method.weighting.retain_share=0.333",
        "method.weighting.retain_share=0.667",
    ]


def test_a_seed_that_ran_twice_and_other_targets_are_noted(tmp_path: Path) -> None:
    for number, (seed, target) in enumerate(((0, "a"), (0, "a"), (1, "b"))):
        fabricate_job(tmp_path / f"{number}-x", "method=ngdiff", seed=seed, target_sha256=target)
    (section,) = compare([tmp_path]).sections
    assert any("more than once in method=ngdiff" in note for note in section.notes)
    assert any("different targets: method=ngdiff" in note for note in section.notes)


def test_the_front_is_that_of_the_groups_means(tmp_path: Path) -> None:
    (section,) = compare([fabricate_sweep(tmp_path)]).sections
    points = [
        (
            statistics.fmean(abs(x - 0.104) for x in group.values("forget/rougeL_recall")),
            statistics.fmean(group.values("retain/rougeL_recall")),
        )
        for group in section.groups
    ]
    for point, expected in zip(section.planes[0].points, points, strict=True):
        assert point == pytest.approx(expected)
    assert section.front == pareto_front(points) == [0, 1, 2, 3]
    assert section.hypervolume == pytest.approx(hypervolume(points, (1.0, 0.0)))


# Jobs without a record, and broken ones.


def test_a_job_without_a_record_is_listed_with_its_last_error(
    tmp_path: Path, compared: Compared
) -> None:
    said = compared(fabricate_sweep(tmp_path, seeds=1))
    assert "not completed: method=npo seed=7: method.forget.beta: -1 is out of range" in said
    assert "not completed: method=ga seed=0: NumericalError: step 3" in said


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"status": "completed"}', '{"status": 1, "overrides": [], "metrics": {}}']
)
def test_a_broken_record_is_named_and_the_others_go_on(
    text: str, sweep: Path, compared: Compared
) -> None:
    broken = sweep / "1-ngdiff" / "summary.json"
    broken.write_text(text)
    said = compared(sweep)
    assert f"{broken}" in said
    assert rows_of(sweep)["method=ngdiff"]["seeds"] == "2"
    assert f"{broken}" in compared.refused(broken.parent)


# Unlike runs.


def unlike(folder: Path, **changes: object) -> Path:
    fabricate_job(folder / "0-ngdiff", "method=ngdiff")
    fabricate_job(folder / "1-ngdiff", "method=ngdiff", seed=1)
    fabricate_job(folder / "2-ngdiff", "method=ngdiff", seed=2, **changes)
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"identity": {"max_new_tokens": 200}}, "max_new_tokens: 200 here, 80 there"),
        ({"identity": {"rows_sha256": "6" * 64}}, "evaluated rows: 66666666 here, 55555555 there"),
        ({"identity": {"words": "unicode"}}, "words: unicode here, tofu there"),
        ({"identity": {"precision": "cuda/bfloat16"}}, "precision: cuda/bfloat16 here"),
        ({"reference_sha256": None}, "reference: none here, 44444444 there"),
        ({"data_sha256": "9" * 64}, "content of the data: 99999999 here, 22222222 there"),
        ({"evaluation": None}, "how it was evaluated is not recorded here"),
    ],
)
def test_runs_that_were_evaluated_otherwise_stand_apart(
    changes: dict[str, object], words: str, tmp_path: Path, compared: Compared
) -> None:
    folder = unlike(tmp_path, **changes)
    sections = compare([folder]).sections
    assert [len(section.runs) for section in sections] == [2, 1]
    assert words in "; ".join(sections[1].unlike)
    assert words in compared(folder)
    text = (folder / "comparison.csv").read_text().splitlines()
    assert [row["kind"] for row in csv.DictReader(text)] == ["1", "2"]
    assert words in compared.refused(folder, "--strict")


def test_a_record_from_before_the_option_counted_the_words_of_tofu(tmp_path: Path) -> None:
    folder = unlike(tmp_path)
    file = folder / "2-ngdiff" / "summary.json"
    summary = json.loads(file.read_text())
    del summary["provenance"]["evaluation"]["words"]
    file.write_text(json.dumps(summary))
    (section,) = compare([folder]).sections
    assert len(section.runs) == 3


def test_other_models_and_data_are_named_alone(tmp_path: Path) -> None:
    """A name explains the hashes that differ with it."""
    folder = unlike(tmp_path, identity={"rows_sha256": "6" * 64, "rows": {"forget": 3}})
    file = folder / "2-ngdiff" / "summary.json"
    summary = json.loads(file.read_text())
    summary["data"]["name"], summary["model"]["name"] = "tofu_forget05", "gpt2_xl"
    file.write_text(json.dumps(summary))
    assert compare([folder]).sections[1].unlike == (
        "data: tofu_forget05 here, minitofu there",
        "model: gpt2_xl here, tiny there",
    )


CHAT = {"template": "chat", "chat_date": "26 Jul 2024", "prompt_sha256": "7" * 64}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"prompt_sha256": "8" * 64}, "prompt of the chat template: 88888888 here, 77777777 there"),
        ({"chat_date": "1 Jan 2000", "prompt_sha256": "8" * 64}, "chat_date: 1 Jan 2000 here"),
        (
            {"chat_options": {"thinking": False}, "prompt_sha256": "8" * 64},
            "chat_options: thinking False here, none there",
        ),
        ({"template": "plain", "chat_date": "", "prompt_sha256": None}, "template: plain here"),
    ],
)
def test_runs_with_other_prompts_are_kept_apart_and_told_once(
    other: dict[str, Any], told: str, tmp_path: Path
) -> None:
    fabricate_job(tmp_path / "1-x", "method=ngdiff", seed=1, identity=CHAT)
    changed = {name: value for name, value in (CHAT | other).items() if value is not None}
    fabricate_job(tmp_path / "2-x", "method=ngdiff", seed=2, identity=changed)
    (said, *more) = compare([tmp_path]).sections[1].unlike
    assert said.startswith(told)
    assert not [line for line in more if "not recorded" in line or "prompt" in line]


def test_every_part_of_the_identity_keeps_apart(tmp_path: Path) -> None:
    for number, name in enumerate(["", *IDENTITY]):
        identity = {name: "another"} if name else None
        fabricate_job(tmp_path / f"{number}-x", "method=ngdiff", identity=identity)
    assert len(compare([tmp_path]).sections) == 1 + len(IDENTITY)


def test_like_runs_pass_the_strict_comparison(sweep: Path, compared: Compared) -> None:
    assert "written:" in compared(sweep, "--strict")


# What is written.


def test_the_csv_holds_mean_and_deviation(sweep: Path, compared: Compared) -> None:
    printed = compared(sweep, "--markdown", sweep / "t.md")
    ngdiff = rows_of(sweep)["method=ngdiff"]
    values = (0.1, 0.2, 0.6)
    assert ngdiff["seeds"] == "3"
    assert float(ngdiff["forget/rougeL_recall"]) == pytest.approx(statistics.fmean(values))
    assert float(ngdiff["forget/rougeL_recall_std"]) == pytest.approx(statistics.stdev(values))
    assert ngdiff["model_utility"] == ""
    assert ngdiff["on_front"] == "yes"
    assert "0.300 ± 0.265" in printed
    assert "not completed: method=ga seed=0: NumericalError: step 3" in printed
    assert "| `method=ngdiff` | 3 | 0.300 ± 0.265 |" in (sweep / "t.md").read_text()


def test_a_page_holds_the_differences_of_the_terminal(tmp_path: Path, compared: Compared) -> None:
    for seed, (ours, theirs) in enumerate(((0.3, 0.2), (0.6, 0.4), (0.5, 0.2))):
        fabricate_job(tmp_path / f"{seed}-a", "method=a", seed=seed, forget=theirs)
        fabricate_job(tmp_path / f"{seed}-b", "method=b", seed=seed, forget=ours)
    compared(tmp_path, "--markdown", tmp_path / "t.md")
    (section,) = compare([tmp_path]).sections
    columns, ((group, pairs, cells),) = differences(section)
    page = (tmp_path / "t.md").read_text()
    assert (group.label, pairs) == ("method=b", 3)
    assert "forget ROUGE-L" in columns
    (line,) = (one for one in page.splitlines() if one.startswith("| `method=b`") and "[" in one)
    assert [one.strip(" *") for one in line.split("|")[3:-1]] == [str(one) for one in cells]
    assert "**" in line, "0.1 to 0.3 more with every seed"
    assert "Difference from method=a on the same seeds" in page


@pytest.mark.slow
def test_differences_are_of_equal_seeds_and_against_the_baseline(
    tmp_path: Path, compared: Compared
) -> None:
    for seed, (ours, theirs) in enumerate(((0.3, 0.2), (0.6, 0.4), (0.5, 0.2))):
        fabricate_job(tmp_path / f"{seed}-a", "method=a", seed=seed, forget=theirs)
        fabricate_job(tmp_path / f"1{seed}-b", "method=b", seed=seed, forget=ours)
    fabricate_job(tmp_path / "20-b", "method=b", seed=9, forget=0.9)  # without a partner
    compared(tmp_path)
    first = rows_of(tmp_path)["method=b"]
    assert float(first["forget/rougeL_recall_diff"]) == pytest.approx(0.2)
    assert 0.1 <= float(first["forget/rougeL_recall_low"]) < 0.2
    assert 0.2 < float(first["forget/rougeL_recall_high"]) <= 0.3 + 1e-9
    assert (first["baseline"], first["pairs"]) == ("method=a", "3")
    said = compared(tmp_path, "--baseline", "method=b")
    assert "difference from method=b" in said
    second = rows_of(tmp_path)["method=a"]
    assert float(second["forget/rougeL_recall_diff"]) == pytest.approx(-0.2)


def test_a_baseline_must_fit_one_group(tmp_path: Path, compared: Compared) -> None:
    fabricate_sweep(tmp_path, groups=2, seeds=1)
    said = compared.refused(tmp_path, "--baseline", "method=linear")
    assert "fits more than one group" in said
    said = compared.refused(tmp_path, "--baseline", "method=npo")
    assert (
        "no group fits 'method=npo'; there are: method=linear method.weighting.retain_share=0.333"
        in said
    )
    share = "method.weighting.retain_share=0.667"
    assert compare([tmp_path], share).sections[0].baseline.short == share
    with pytest.raises(ConfigurationError, match="--baseline"):
        compare([tmp_path], "nothing")


def test_everything_lies_in_the_first_folder_or_in_another(
    tmp_path: Path, compared: Compared
) -> None:
    folder, other = tmp_path / "sweep", tmp_path / "new" / "place"
    fabricate_sweep(folder, groups=2, seeds=1)
    names = ["comparison.csv", "comparison.html", "pareto.png"]
    compared(folder, "--out", other)
    assert sorted(path.name for path in other.iterdir()) == names
    assert not (folder / "comparison.csv").exists()
    compared(folder)
    left = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert left == names, "nothing half-written stays behind"
    with Image.open(folder / "pareto.png") as picture:
        assert picture.width > 1000 < 2 * picture.height


def test_further_metrics_are_columns(tmp_path: Path, compared: Compared) -> None:
    compared(fabricate_sweep(tmp_path, groups=2, seeds=1))
    row = next(iter(rows_of(tmp_path).values()))
    assert float(row["kpi/bits_a_second"]) == 1.5
    assert float(row["attack/relearn_forget_rougeL"]) > 0
    assert "attack/relearn_forget_rougeL" in (tmp_path / "comparison.html").read_text()


def test_a_page_keeps_what_stands_around_its_table(sweep: Path, compared: Compared) -> None:
    page = sweep / "page.md"
    page.write_text("# Title\n<!-- table -->\nold\n<!-- end of table -->\nThe end.\n")
    compared(sweep, "--markdown", page)
    text = page.read_text()
    assert text.startswith("# Title\n<!-- table -->\n| run |")
    assert text.endswith("<!-- end of table -->\nThe end.\n")
    assert "old" not in text
    assert "method=pcgrad" in text


def test_a_page_has_the_shares_of_attacks_with_intervals_and_leaves_details_to_the_csv(
    tmp_path: Path, compared: Compared
) -> None:
    folder, page = fabricate_sweep(tmp_path, groups=2, seeds=3), tmp_path / "page.md"
    for number, path in enumerate(sorted(tmp_path.glob("*/summary.json"))):
        summary = json.loads(path.read_text())
        of_attack = {"attack/noise": 0.1 * number, "attack/noise_percent_1_probability": 0.5}
        summary["metrics"]["after"] |= of_attack
        path.write_text(json.dumps(summary))
    compared(folder, "--markdown", page)
    table, against = page.read_text().split("bold where it leaves 0 out:")
    assert "| attack/noise |" in table
    assert "| attack/noise |" in against
    assert "attack/noise_percent_1_probability" not in page.read_text()
    row = next(iter(rows_of(tmp_path).values()))
    assert row["attack/noise_percent_1_probability"] == "0.5"


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_nothing_to_compare_is_said(what: str, tmp_path: Path, compared: Compared) -> None:
    folder = tmp_path / "sweep"
    if what == "empty":
        folder.mkdir()
    said = compared.refused(folder)
    assert ("no such folder" if what == "missing" else "no run") in said
    assert len(said.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_said(sweep: Path, compared: Compared) -> None:
    (sweep / "file").write_text("")
    assert "give --out a folder that can be written" in compared.refused(
        sweep, "--out", sweep / "file" / "below"
    )


def test_only_failed_runs_are_a_comparison_too(tmp_path: Path, compared: Compared) -> None:
    fabricate_job(tmp_path / "0-ga", "method=ga", error="NumericalError: step 3")
    assert "not completed: method=ga seed=0" in compared(tmp_path)
    assert "NumericalError: step 3" in (tmp_path / "comparison.html").read_text()
    assert not (tmp_path / "pareto.png").exists()
