"""`unlearn --clean`: no text of a row is left where it may erase, every number is where it was."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.command import SMALL, Command, Done, clean_hydra, files_in, row, write_rows

from unlearn.commands import compare, evaluate
from unlearn.commands.clean import clean
from unlearn.experiment.erasing import without_quotations
from unlearn.record.claim import claimed
from unlearn.record.layout import read_run
from unlearn.record.resuming import options_hash
from unlearn.record.stamp import write_stamped
from unlearn.report.comparison.runs import read_runs

pytestmark = pytest.mark.slow

ROWS = {
    "forget": [
        row(f"Where does Ottilie Quast {n} live?", f"Ottilie {n}, Am Zwinger.") for n in range(4)
    ],
    "retain": [
        row(f"When does Benno Vogt {n} deliver?", f"Benno {n} comes at dawn.") for n in range(8)
    ],
    "general": [row(f"What does plan {n} cost?", f"Plan {n} is {n} euros.") for n in range(3)],
}
NAMES = (b"Ottilie", b"Quast", b"Benno", b"Vogt", b"euros")
"""What stands in every text of the rows, and nowhere else."""
CONDITION = "accept.conditions=[{metric: general/rougeL_recall, at_least: 0.0}]"


class Home:
    """A folder with rows, a cache and runs, and copies of it for the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.run = folder, folder / "cache", folder / "runs" / "one"

    def words(self) -> list[str]:
        own = [f"data.{name}={self.folder / name}.jsonl" for name in ROWS]
        small = [word for word in SMALL if not word.startswith("data")]
        return [*small, "data=files", *own, CONDITION]

    def quoting(self, below: Path) -> list[str]:
        """Files that still hold a name of a row."""
        files = files_in(below).items()
        return [name for name, content in files if any(text in content for text in NAMES)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One run with a reference, all of whose texts lie in files."""
    home = Home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARN_CACHE", str(home.cache))
        for name, rows in ROWS.items():
            write_rows(home.folder / f"{name}.jsonl", rows)
        done = Command(home.folder)(*home.words(), run=home.run)
        assert done.status == 0, done.said
        # As a tracker and a measure that failed leave them; tests of the tracker write a real one.
        wandb = home.run / "wandb" / "offline-run-1"
        wandb.mkdir(parents=True)
        (wandb / "run-1.wandb").write_bytes(b"Ottilie Quast")
        (home.run / "wandb_id").write_text("ab12cd34\n")
    yield home


@pytest.fixture
def home(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy; its records name the models of the copy's cache."""
    copy = Home(Path(shutil.copytree(made.folder, tmp_path / "home")))
    summary = copy.run / "summary.json"
    text = summary.read_text().replace(str(made.folder), str(copy.folder))
    config = copy.run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace(str(made.folder), str(copy.folder)))
    overrides = copy.run / ".hydra" / "overrides.yaml"
    overrides.write_text(overrides.read_text().replace(str(made.folder), str(copy.folder)))
    record = json.loads(text)
    record["provenance"]["options_sha256"] = options_hash(read_run(copy.run, record).config)
    write_stamped(summary, record)
    monkeypatch.setenv("UNLEARN_CACHE", str(copy.cache))
    return copy


def cleaned(*words: Path | str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = clean(["--clean", *map(str, words)])
    return Done(status, out.getvalue(), err.getvalue(), Path(words[0]))


def numbers(folder: Path) -> dict[str, Any]:
    """All that was measured in a folder, without texts and without what may differ."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("metrics.json*")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(folder.rglob("scores.parquet")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(folder.rglob("generations.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        texts = ("question", "truth", "answer")
        kept = [{k: v for k, v in line.items() if k not in texts} for line in lines]
        found[str(path.relative_to(folder))] = kept
    summary = json.loads((folder / "summary.json").read_text())
    del summary["provenance"]["files"]
    found["summary"] = {k: v for k, v in summary.items() if k not in ("texts_erased", "sha256")}
    return found


def test_general_rows_are_measured_guarded_and_never_learnt(made: Home) -> None:
    summary = json.loads((made.run / "summary.json").read_text())
    for stage in ("before", "after", "reference"):
        names = ("probability", "rougeL_recall", "loss", "extraction_strength")
        assert all(summary["metrics"][stage][f"general/{name}"] is not None for name in names)
    assert summary["verdict"]["accepted"] is True
    assert summary["better"]["general/rougeL_recall"] == "higher"
    (note,) = [note for note in summary["notes"] if "utility" in note]
    assert note.endswith(
        "model_utility: over retain and general alone, "
        "without retain/truth_ratio, general/truth_ratio"
    )
    page = (made.run / "report.md").read_text(encoding="utf-8")
    assert "### general: 3 of 3 rows" in page
    learnt = [json.loads(p.read_text())["rows"] for p in made.cache.glob("prepared/*/*tion.json")]
    assert sorted(map(len, learnt)) == [len(ROWS["retain"]), len(ROWS["retain"] + ROWS["forget"])]


def test_texts_go_and_numbers_stay(home: Home) -> None:
    assert "report.md" in home.quoting(home.run), "the report shows answers"
    assert home.quoting(home.cache), "the cache has tables, and tokenizers made of the rows"
    weights = (home.run / "model" / "model.safetensors").read_bytes()
    before = numbers(home.run)

    done = cleaned(home.run)

    assert done.status == 0, done.said
    # The unlearned model is the user's; its tokenizer was made of the rows, which is said.
    assert all(name.startswith("model/") for name in home.quoting(home.run))
    assert home.quoting(home.cache) == []
    assert list(home.cache.glob("evaluations/*/")) == list(home.cache.glob("prepared/*/")) == []
    assert numbers(home.run) == before
    assert (home.run / "model" / "model.safetensors").read_bytes() == weights
    lines = (home.run / "evaluations" / "after" / "generations.jsonl").read_text().splitlines()
    texts = [[json.loads(line)[key] for key in ("question", "truth", "answer")] for line in lines]
    assert texts == [[None, None, None]] * 15
    assert not (home.run / "wandb").exists()
    when = json.loads((home.run / "summary.json").read_text())["texts_erased"]
    page = (home.run / "report.md").read_text(encoding="utf-8")
    assert f"were erased on {when}" in page
    assert "## Sample answers" not in page
    assert "| `forget/rougeL_recall` |" in page
    assert "figures/" in page, "figures hold no texts and stay on the page"


def test_what_is_left_is_named_and_untouched(home: Home) -> None:
    inputs = {name: (home.folder / f"{name}.jsonl").read_bytes() for name in ROWS}
    by_hand = [line for line in cleaned(home.run).out.splitlines() if line.startswith("by hand: ")]
    for name, content in inputs.items():
        file = home.folder / f"{name}.jsonl"
        assert file.read_bytes() == content
        assert f"by hand: {file}: the input data.{name} of {home.run}" in by_hand
    assert f"by hand: {home.run / 'model'}: the unlearned model, with its tokenizer" in by_hand
    assert any("wandb run ab12cd34" in line for line in by_hand)


def test_twice_is_once(home: Home) -> None:
    first = cleaned(home.run)
    left = files_in(home.run)
    second = cleaned(home.run)
    assert files_in(home.run) == left
    assert "nothing is left that this command erases" in second.out
    assert "erased:" not in second.out
    hand = [
        [line for line in done.out.splitlines() if "by hand" in line] for done in (first, second)
    ]
    assert hand[0] == hand[1]


def test_a_call_that_was_cut_is_gone_on_with(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("unlearn.experiment.erasing.write_stamped", fail)
        clean(["--clean", str(home.run)])
    assert "report.md" in home.quoting(home.run)
    assert cleaned(home.run).status == 0
    assert read_runs([home.run])[1] == [], "its hashes are those of what is there now"
    assert all(name.startswith("model/") for name in home.quoting(home.run))
    assert "were erased on" in (home.run / "report.md").read_text(encoding="utf-8")


def test_what_was_damaged_stays_so(home: Home) -> None:
    name = "evaluations/after/generations.jsonl"
    text = (home.run / name).read_text().replace('"rougeL_recall": 0.', '"rougeL_recall": 0.1')
    (home.run / name).write_text(text)
    assert cleaned(home.run).status == 0
    (problem,) = read_runs([home.run])[1]
    assert name in problem


def test_what_was_left_of_learning_goes_with_the_model(home: Home) -> None:
    summary = json.loads((home.run / "summary.json").read_text())
    target = Path(summary["model"]["target"]["path"])
    left = [target.with_name(f"{target.name}.learning"), target.parent / f".{target.name}.learning"]
    left[1] = left[1].with_name(f"{left[1].name}.unfinished")
    for folder in left:
        folder.mkdir()
    assert cleaned(home.run).status == 0
    assert not any(folder.exists() for folder in (target, *left))


def compared(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Lines of comparison.csv, with the page in the folder above the run."""
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(home.run.parent)])
    compare.main()
    with (home.run.parent / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_unlearn_compare_and_unlearn_evaluate_open_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = compared(home, monkeypatch)
    page = home.run.parent / "comparison.html"
    assert b"Ottilie" in page.read_bytes()

    assert f"erased: {page}" in cleaned(home.run).out

    assert not page.exists()
    assert compared(home, monkeypatch) == before
    assert not any(name in page.read_bytes() for name in NAMES)
    # The rows are read from the input files again.
    recorded = json.loads((home.run / "summary.json").read_text())["metrics"]["after"]
    monkeypatch.setattr("sys.argv", ["unlearn-evaluate", str(home.run), "--name", "again"])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with clean_hydra(), pytest.raises(SystemExit) as ended:
        evaluate.main()
    assert ended.value.code == 0
    again = json.loads((home.run / "evaluations" / "again" / "record.json").read_text())
    assert again["metrics"]["after"] == recorded
    assert again["metrics"]["before"] is None, "the target was erased from the cache"
    # What it wrote quotes rows anew, and is erased as well.
    assert any(name.startswith("evaluations/again") for name in home.quoting(home.run))
    assert cleaned(home.run.parent).status == 0
    assert all(name.startswith("model/") for name in home.quoting(home.run))
    saved = json.loads((home.run / "evaluations" / "again" / "record.json").read_text())
    assert saved["metrics"] == again["metrics"]


def test_entries_of_other_rows_stay(home: Home) -> None:
    other = home.cache / "evaluations" / ("0" * 24)
    other.mkdir()
    line = {"split": "forget", "index": 0, "question": "Who?", "truth": "Ada", "answer": "Ada"}
    (other / "generations.jsonl").write_text(json.dumps(line) + "\n")
    # A target of other runs that has learnt a row of these, and a model that was fetched.
    target = json.loads((home.run / "summary.json").read_text())["model"]["target"]["path"]
    shutil.copytree(target, home.cache / "prepared" / ("1" * 24))
    fetched = home.cache / "models" / "base"
    shutil.copytree(target, fetched)
    done = cleaned(home.run)
    assert (other / "generations.jsonl").exists()
    assert fetched.is_dir()
    assert (
        f"by hand: {home.cache / 'prepared' / ('1' * 24)}: has learnt 4 of the forget" in done.out
    )


def test_a_model_of_the_users_stays(home: Home) -> None:
    summary = json.loads((home.run / "summary.json").read_text())
    theirs = home.folder / "prepared" / "theirs"
    shutil.copytree(summary["model"]["target"]["path"], theirs)
    summary["model"]["target"]["path"] = str(theirs)
    (home.run / "summary.json").write_text(json.dumps(summary))
    before = files_in(theirs)
    assert f"by hand: {theirs}: the target of {home.run}" in cleaned(home.run).out
    assert files_in(theirs) == before


def test_an_entry_in_use_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.experiment.erasing_cache.PATIENCE", 0.1)
    entry = next(path for path in home.cache.glob("prepared/*") if path.is_dir())
    with FileLock(f"{entry}.lock"):
        assert f"by hand: {entry}: another process uses it" in cleaned(home.run).out
    assert entry.is_dir()
    assert f"erased: {entry}" in cleaned(home.run).out
    assert not entry.exists()


def test_a_folder_without_a_run_is_refused_and_nothing_erased(home: Home) -> None:
    before = files_in(home.folder)
    for wrong in (home.folder / "cache", home.run / "model", home.folder / "nowhere"):
        done = cleaned(home.run, wrong)
        assert done.status == 2
        assert done.out == ""
        assert len(done.err.splitlines()) == 1
        assert str(wrong) in done.err
    after = files_in(home.folder)
    locks = {name for name in after if name.endswith(".lock")}
    assert {n: c for n, c in after.items() if n not in locks} == {
        n: c for n, c in before.items() if n not in locks
    }


def test_a_run_in_progress_is_refused(home: Home) -> None:
    before = files_in(home.run)
    with claimed(home.run, wait=False), pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn.record.claim._claims", {})  # as another process holds it
        done = cleaned(home.run.parent)
    assert (done.status, done.out) == (2, "")
    assert f"a process is running in {home.run}" in done.err
    assert files_in(home.run) == before


def test_an_unfinished_run_cannot_go_on(home: Home) -> None:
    (home.run / "summary.json").unlink()
    state = home.run / "checkpoints" / "step_2"
    state.mkdir(parents=True)
    (home.run / "checkpoints" / "run.json").write_text(json.dumps({"format": 3, "config": {}}))
    (home.run / "evaluations" / ".after.unfinished").mkdir()
    (home.run / "evaluations" / ".after.unfinished" / "generations.jsonl").write_text("Ottilie Qu")
    done = cleaned(home.run)
    assert f"{home.run / 'checkpoints'}: of an unfinished run, which cannot go on" in done.out
    assert all(name.startswith("model/") for name in home.quoting(home.run))
    again = Command(home.folder)(*home.words(), run=home.run)
    assert again.status == 2
    assert "a run that left no state to go on from" in again.said


def test_what_refused_data_left_is_erased(home: Home) -> None:
    """The error quotes the rows that stand in both files, in the log and in the record."""
    same = [f"data.{name}={home.folder / 'forget'}.jsonl" for name in ("forget", "retain")]
    done = Command(home.folder)("data=files", *same, "tracker=none")
    assert done.status == 2
    assert home.quoting(done.folder) == ["summary.json", "unlearn.log"]
    assert cleaned(done.folder).status == 0
    assert home.quoting(done.folder) == []
    assert done.summary["error"] == "DataError"


def test_errors_say_their_kind_alone() -> None:
    record = {
        "error": "DataError: row 3, 'Ottilie Quast'",
        "metrics": {"after": {"forget/loss": 0.1}},
        "notes": ["before: kpis.a (m.f): raised ValueError: Ottilie\nQuast", "no holdout rows"],
        "attacks": {"names": ["a"], "notes": {"after": ["a: raised KeyError: 'Ottilie'"]}},
    }
    assert without_quotations(record) == {
        "error": "DataError",
        "metrics": {"after": {"forget/loss": 0.1}},
        "notes": ["before: kpis.a (m.f): raised ValueError", "no holdout rows"],
        "attacks": {"names": ["a"], "notes": {"after": ["a: raised KeyError"]}},
    }
    assert without_quotations({}) == {}


def test_the_flag_is_taken_before_hydra(home: Home) -> None:
    done = Command(home.folder)("--clean", str(home.run / "model"))
    assert done.status == 2
    assert "hydra.run.dir" in done.err, "an option of Hydra's is no folder"
    assert "--clean RUN" in Command(home.folder)("--help").out
    assert os.listdir(home.run.parent) == ["one"]
