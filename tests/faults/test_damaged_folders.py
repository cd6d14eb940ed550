"""A damaged run folder is left out of a comparison with its reason; the others are compared.

Each damage is read by itself, with a limit of time, and then all of them together.
"""

from __future__ import annotations

import csv
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from support.command import clean_hydra
from support.damage import Damage, copy_of, of_files, of_lines, of_summary, put, rewrite
from support.fabricated_sweep import fabricate_job
from support.hostile import whole_record

from unlearn.commands import compare, evaluate
from unlearn.errors import ConfigurationError
from unlearn.experiment.finished import read_finished
from unlearn.record.layout import read_sound
from unlearn.report.comparison.runs import read_runs

pytestmark = pytest.mark.slow

SECONDS = 3.0
"""Of computing, to read one damaged folder."""
GOOD = 3
ANSWERED = "evaluations/after/generations.jsonl"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with everything that a comparison reads."""
    run = fabricate_job(tmp_path_factory.mktemp("whole") / "run", "method=linear")
    shutil.rmtree(run / "model")
    for stage in ("before", "after", "reference"):
        file = run / "evaluations" / stage / "generations.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[::12]))
    (run / "metrics.jsonl").write_text(
        "".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[:5])
    )
    (run / ".hydra" / "overrides.yaml").write_text("- method=linear\n- seed=0\n")
    return run


@pytest.fixture(scope="module")
def damages(whole: Path) -> dict[str, Damage]:
    summary = json.loads((whole / "summary.json").read_text())
    found = dict(of_summary(summary))
    found |= of_lines("metrics.jsonl", (0, 2))
    found |= of_lines(ANSWERED, (1,))
    return found | dict(of_files())


@pytest.fixture(scope="module")
def sweep(
    whole: Path, damages: dict[str, Damage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders by damage, beside runs that are whole."""
    folder = tmp_path_factory.mktemp("sweep")
    for seed in range(GOOD):
        run = copy_of(whole, folder / f"good-{seed}")
        text = put((whole / "summary.json").read_text(), ("overrides",), '["method=good"]')
        rewrite(run, "summary.json", put(text, ("seed",), str(seed)))
        (run / ".hydra" / "config.yaml").unlink()  # which names the seed of the one run they are of
    folders = {}
    for number, (name, damage) in enumerate(damages.items()):
        folders[name] = copy_of(whole, folder / f"{number}-damaged")
        damage(folders[name])
    return folders


@pytest.fixture(scope="module")
def reasons(sweep: dict[str, Path]) -> dict[str, str | None]:
    """Why each was left out, null where it was not; each is read by itself and in time."""
    found: dict[str, str | None] = {}
    for name, folder in sweep.items():
        begun = time.process_time()
        runs, problems = read_runs([folder])
        assert time.process_time() - begun < SECONDS, name
        assert len(runs) + len(problems) == 1, name
        found[name] = problems[0] if problems else None
    return found


def test_there_are_enough_of_them(damages: dict[str, Damage]) -> None:
    assert len(damages) >= 110


def test_a_reason_is_one_line_that_names_the_folder(
    reasons: dict[str, str | None], sweep: dict[str, Path]
) -> None:
    for name, reason in reasons.items():
        if reason is not None:
            assert str(sweep[name]) in reason and "left out" in reason, name
            assert len(reason.splitlines()) == 1 and len(reason) < 2_100 and reason.isprintable()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("seed a text", "summary.json: seed: a whole number"),
        ("seed true", "summary.json: seed: a whole number"),
        ("metrics.after.model_utility a text", "metrics.after.model_utility: a finite number"),
        ("metrics.after.model_utility true", "metrics.after.model_utility: a finite number"),
        ("metrics.after.model_utility more than a float", "finite number was expected, found inf"),
        ("metrics.after.model_utility an integer beyond floats", "found one of 1,329 bits"),
        ("metrics.after null", "without metrics of the stage after"),
        ("metrics.after.model_utility NaN", "NaN is no number"),
        ("metrics.before a list", "metrics.before: a mapping"),
        ("cost.train_s a mapping", "cost.train_s: a finite number"),
        ("verdict.accepted a number", "verdict.accepted: true or false"),
        ("verdict.conditions.0 null", "verdict.conditions[0]: a mapping"),
        ("verdict.conditions.1.metric null", "verdict.conditions[1].metric: a text"),
        ("overrides.1 a number", "overrides[1]: a text"),
        ("overrides gone", "it has no overrides"),
        ("status a long text", "status: a text of at most 100,000 letters"),
        ("metrics.jsonl:3: train/lr a text", "metrics.jsonl:3: train/lr: a finite number"),
        ("metrics.jsonl:3 a list", "metrics.jsonl:3: a mapping"),
        (f"{ANSWERED}:2: index a text", "generations.jsonl:2: index: a whole number"),
        (f"{ANSWERED}:2: answer a number", "generations.jsonl:2: answer: a text"),
        (f"{ANSWERED} no letter", "generations.jsonl: 'utf-8' codec"),
        (f"{ANSWERED} a pipe", "generations.jsonl: no regular file"),
        ("metrics.jsonl a link to a device", "metrics.jsonl: no regular file"),
        (".hydra/config.yaml aliases", "config.yaml: an alias"),
        (".hydra/config.yaml a number to the base of 60", "to the base of 60"),
        (".hydra/config.yaml a list", "config.yaml: a mapping"),
        (".hydra/config.yaml a day", "config.yaml: a: a text, a number or a flag"),
        (".hydra/config.yaml a long number", "config.yaml: a: a whole number of at most 64 bits"),
    ],
)
def test_file_and_field_are_named(damage: str, told: str, reasons: dict[str, str | None]) -> None:
    assert told in (reasons[damage] or "it was not left out")


def test_what_nobody_reads_keeps_no_run_out(reasons: dict[str, str | None]) -> None:
    for name in ("provenance.git a list", "cost gone", "notes gone", "verdict null", "name gone"):
        assert reasons.get(name) is None, name


def test_all_others_are_compared(
    sweep: dict[str, Path],
    reasons: dict[str, str | None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = next(iter(sweep.values())).parent
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(folder), "--out", str(tmp_path)])
    compare.main()
    captured = capsys.readouterr()
    said = captured.out.splitlines()
    assert captured.err == ""
    left_out = [reason for reason in reasons.values() if reason is not None]
    assert [line for line in said if "left out" in line] == left_out
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seeds"] for row in rows if row["run"] == "method=good"] == [str(GOOD)]
    failed = sum(line.startswith("not completed: ") for line in said)
    assert sum(int(row["seeds"]) for row in rows) + failed + len(left_out) == len(sweep) + GOOD
    assert (tmp_path / "pareto.png").exists()
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    data = page.split('id="data">')[1].split("</script>")[0]
    json.loads(data, parse_constant=lambda word: pytest.fail(f"{word} on the page"))


def test_measuring_again_is_refused_in_one_line(sweep: dict[str, Path]) -> None:
    """Of what is not refused, everything that a rescoring takes from the record is there."""
    refused = 0
    for name, folder in sweep.items():
        begun = time.process_time()
        try:
            summary = read_finished(folder).summary
        except ConfigurationError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1 and str(folder) in str(error), name
        else:
            assert {**summary["data"], **summary["model"]} and "name" in summary, name
            hashes = (f"{role}_sha256" for role in ("data", "target", "reference"))
            assert all(one in summary["provenance"] for one in hashes), name
        assert time.process_time() - begun < SECONDS, name
    assert refused > 110


CONFIGURED: dict[str, Any] = {
    "data": 5,
    "model": [],
    "model.path": {"a": 1},
    "model.device": [1],
    "evaluation": "x",
    "evaluation.rows": "many",
    "evaluation.kpis": 3,
    "accept": 3,
    "accept.conditions": "x",
    "attack": "x",
    "reference": {"a": 1},
    "seed": "x",
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_record(tmp_path_factory.mktemp("record") / "run")


@pytest.mark.parametrize("place", CONFIGURED)
def test_a_configuration_of_wrong_kinds_is_one_line(
    place: str,
    recorded: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from support.hostile import set_in

    run = tmp_path / "run"
    shutil.copytree(recorded, run)
    set_in(place, CONFIGURED[place])(run, tmp_path)
    with clean_hydra(), caplog.at_level(logging.ERROR):
        assert evaluate.evaluate(run, [], None, None) == 2
    (error,) = caplog.records
    assert error.exc_info is None and str(run) in error.getMessage()


def test_a_sound_run_is_sound(whole: Path) -> None:
    assert read_sound(whole).summary["status"] == "completed"
