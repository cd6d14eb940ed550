"""The TOFU reader, on the real data where it is there and on a made-up folder for every error."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from unlearn.data import Row
from unlearn.data.tofu import Tofu
from unlearn.errors import ConfigurationError, DataError

CONF = Path(__file__).parents[2] / "conf" / "data"
SIZES = {"forget01": (40, 3960), "forget05": (200, 3800), "forget10": (400, 3600)}

Record = dict[str, object]


def record(name: str, wrong: int = 0, paraphrased: bool = False) -> Record:
    made: Record = {"question": f"What of {name}?", "answer": f"All of {name}."}
    if paraphrased:
        made |= {"paraphrased_answer": f"Of {name}, all.", "paraphrased_question": f"{name}: what?"}
    if wrong:
        made["perturbed_answer"] = [f"Wrong {n} of {name}." for n in range(wrong)]
    return made


def write(folder: Path, name: str, records: list[Record]) -> None:
    text = "\n".join(map(json.dumps, records))
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Made-up rows in TOFU's layout, enough of it for forget01."""
    full = [record(f"author {n}", wrong=5, paraphrased=True) for n in range(4000)]
    plain = [{"question": r["question"], "answer": r["answer"]} for r in full]
    write(tmp_path, "forget01", plain[3960:])
    write(tmp_path, "retain99", plain[:3960])
    write(tmp_path, "forget01_perturbed", full[3960:])
    write(tmp_path, "retain_perturbed", full[:400])
    write(tmp_path, "real_authors_perturbed", [record(f"poet {n}", wrong=3) for n in range(100)])
    write(tmp_path, "world_facts_perturbed", [record(f"river {n}", wrong=3) for n in range(117)])
    write(tmp_path, "holdout01", [record(f"stranger {n}") for n in range(40)])
    return tmp_path


def problems_of(folder: Path, **options: int) -> list[str]:
    with pytest.raises(DataError) as error:
        Tofu(str(folder), "forget01", **options).read()
    return error.value.problems


def change(folder: Path, name: str, edit: Callable[[list[Record]], object]) -> None:
    """Rewrite one file of the folder after `edit` has changed its records in place."""
    lines = (folder / f"{name}.json").read_text(encoding="utf-8").split("\n")
    records = list(map(json.loads, lines))
    edit(records)
    write(folder, name, records)


# The real data.


@pytest.mark.parametrize("subset", SIZES)
def test_real_request_is_the_end_of_full(tofu_path: Path, subset: str) -> None:
    lines = (tofu_path / "full.json").read_text(encoding="utf-8").split("\n")
    full = [Row(r["question"], r["answer"]) for r in map(json.loads, filter(None, lines))]
    splits = Tofu(str(tofu_path), subset).read()
    forget, retain = SIZES[subset]
    assert splits.name == f"tofu_{subset}"
    assert (len(splits.forget), len(splits.retain)) == (forget, retain)
    assert splits.retain + splits.forget == full


@pytest.mark.parametrize("subset", SIZES)
def test_real_scored_rows(tofu_path: Path, subset: str) -> None:
    splits = Tofu(str(tofu_path), subset).read()
    forget = SIZES[subset][0]
    sizes = {name: len(rows) for name, rows in splits.evaluated.items()}
    assert list(sizes) == ["forget", "retain", "real_authors", "world_facts", "holdout"]
    assert list(sizes.values()) == [forget, 400, 100, 117, forget]
    for name, trained in (("forget", splits.forget), ("retain", splits.retain[:400])):
        scored = splits.evaluated[name]
        assert [Row(row.question, row.answer) for row in scored] == trained
        assert all(row.paraphrased_answer and row.paraphrased_question for row in scored)
        assert {len(row.perturbed_answers) for row in scored} == {5}
    for name in ("real_authors", "world_facts"):
        for row in splits.evaluated[name]:
            assert len(row.perturbed_answers) == 3
            assert row.answer not in row.perturbed_answers
            assert row.paraphrased_answer is None


def test_real_general_rows_are_those_of_the_plain_files(tofu_path: Path) -> None:
    expected: list[Row] = []
    for name in ("real_authors", "world_facts"):
        lines = (tofu_path / f"{name}.json").read_text(encoding="utf-8").split("\n")
        records = map(json.loads, filter(None, lines))
        expected += [Row(r["question"], r["answer"]) for r in records]
    assert Tofu(str(tofu_path), "forget01").read().general == expected


def test_real_rows_that_share_a_question_both_stay(tofu_path: Path) -> None:
    retain = Tofu(str(tofu_path), "forget10").read().retain
    twice = [row for row in retain if row.question == "What is the full name of the author?"]
    assert len(twice) == 2
    assert twice[0].answer != twice[1].answer


@pytest.mark.slow
def test_the_library_reads_the_same_rows(
    tofu_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    library = datasets.load_dataset
    bars: list[bool] = []

    def from_hub(path: str, name: str, split: str) -> datasets.Dataset:
        assert path == "somebody/tofu-like"
        bars.append(datasets.utils.are_progress_bars_disabled())
        return library(str(tofu_path), name, split=split, cache_dir=str(tmp_path))

    monkeypatch.setattr(datasets, "load_dataset", from_hub)
    before = datasets.utils.are_progress_bars_disabled()
    hub = Tofu("somebody/tofu-like", "forget01").read()
    assert hub.sha256 == Tofu(str(tofu_path), "forget01").read().sha256
    assert all(bars)
    assert datasets.utils.are_progress_bars_disabled() is before


# A made-up folder: fewer rows.


def test_what_is_not_trained_on_is_not_scored(folder: Path) -> None:
    splits = Tofu(str(folder), "forget01", forget_rows=7, retain_rows=30).read()
    assert (len(splits.forget), len(splits.retain)) == (7, 30)
    for name, trained in (("forget", splits.forget), ("retain", splits.retain)):
        scored = [Row(row.question, row.answer) for row in splits.evaluated[name]]
        assert scored == trained
    many = Tofu(str(folder), "forget01", retain_rows=1000).read()
    assert len(many.evaluated["retain"]) == 400


def test_more_rows_than_there_are(folder: Path) -> None:
    problems = problems_of(folder, forget_rows=41, retain_rows=5000)
    assert "data.forget_rows=41" in problems[0]
    assert "only 40" in problems[0]
    assert "data.retain_rows=5000" in problems[1]
    assert "only 3960" in problems[1]


@pytest.mark.slow
def test_the_hash_follows_the_rows(folder: Path) -> None:
    whole = Tofu(str(folder), "forget01").read().sha256
    assert Tofu(str(folder), "forget01").read().sha256 == whole
    assert Tofu(str(folder), "forget01", forget_rows=39).read().sha256 != whole
    change(folder, "retain99", lambda records: records[3000].update(answer="Another."))
    assert Tofu(str(folder), "forget01").read().sha256 != whole


# A made-up folder: optional parts.


def test_holdout_and_paraphrased_questions_may_be_absent(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "holdout01.json").unlink()
    change(folder, "retain_perturbed", lambda rs: [r.pop("paraphrased_question") for r in rs])
    with caplog.at_level(logging.INFO):
        splits = Tofu(str(folder), "forget01").read()
    assert list(splits.evaluated) == ["forget", "retain", "real_authors", "world_facts"]
    assert splits.evaluated["forget"][0].paraphrased_question == "author 3960: what?"
    assert splits.evaluated["retain"][0].paraphrased_question is None
    assert "has no holdout01.json" in caplog.text


@pytest.mark.slow
def test_an_array_of_objects_is_read_too(folder: Path) -> None:
    lines = Tofu(str(folder), "forget01").read().sha256
    text = (folder / "retain99.json").read_text(encoding="utf-8")
    (folder / "retain99.json").write_text(f"[{','.join(text.split(chr(10)))}]", encoding="utf-8")
    assert Tofu(str(folder), "forget01").read().sha256 == lines


# Errors.


@pytest.mark.parametrize(
    "path", ["./absent", "/absent/tofu", "~/absent/tofu", "a/b/c", "../absent"]
)
def test_a_missing_folder_is_not_looked_up_on_the_hub(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)  # importing it would raise
    with pytest.raises(DataError) as error:
        Tofu(path).read()
    for word in (f"data.path={path}", "UNLEARN_TOFU_PATH", "data=minitofu", "no such folder"):
        assert word in str(error.value)


def test_a_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert len(Tofu(f"~/{folder.name}", "forget01").read().forget) == 40


def test_a_file_is_not_a_folder(folder: Path) -> None:
    assert "is a file; a folder is needed" in problems_of(folder / "forget01.json")[0]


@pytest.mark.parametrize("error", [ConnectionError("offline"), ValueError("no such thing")])
def test_the_hub_failing_tells_how_to_use_a_folder(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def failing(path: str, name: str, split: str) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", failing)
    with pytest.raises(DataError) as told:
        Tofu().read()
    for word in ("data.path=locuslab/TOFU", str(error), "UNLEARN_TOFU_PATH", "data=minitofu"):
        assert word in str(told.value)


@pytest.mark.slow
def test_a_hub_without_holdout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import datasets

    def without_holdout(path: str, name: str, split: str) -> datasets.Dataset:
        if name.startswith("holdout"):
            raise ValueError(f"BuilderConfig '{name}' not found.")
        lines = (folder / f"{name}.json").read_text(encoding="utf-8").split("\n")
        return datasets.Dataset.from_list(list(map(json.loads, lines)))

    monkeypatch.chdir(folder)
    monkeypatch.setattr(datasets, "load_dataset", without_holdout)
    hub = Tofu("somebody/tofu-like", "forget01").read()
    assert "somebody/tofu-like has no holdout01" in caplog.text
    (folder / "holdout01.json").unlink()
    assert hub.sha256 == Tofu(str(folder), "forget01").read().sha256


def test_missing_files_are_listed_together(folder: Path) -> None:
    (folder / "retain99.json").unlink()
    (folder / "forget01_perturbed.json").unlink()
    (problem,) = problems_of(folder)
    assert "lacks retain99.json, forget01_perturbed.json" in problem
    assert "UNLEARN_TOFU_PATH" in problem


def test_wrong_row_counts_are_listed_together(folder: Path) -> None:
    change(folder, "forget01", lambda records: records.pop())
    change(folder, "world_facts_perturbed", lambda records: records.append(record("more", 3)))
    problems = problems_of(folder)
    assert len(problems) == 2
    assert "forget01.json has 39 rows, but TOFU's forget01 has 40" in problems[0]
    assert "world_facts_perturbed.json has 118 rows" in problems[1]


def test_a_missing_column_shows_the_columns_there_are(folder: Path) -> None:
    change(folder, "forget01_perturbed", lambda rs: [r.pop("perturbed_answer") for r in rs])
    (problem,) = problems_of(folder)
    assert "forget01_perturbed.json has no column 'perturbed_answer'" in problem
    assert "its columns are 'question', 'answer', 'paraphrased_answer'" in problem


def test_broken_lines_are_named_in_every_file(folder: Path) -> None:
    for name, line in (("retain99", 17), ("holdout01", 3)):
        lines = (folder / f"{name}.json").read_text(encoding="utf-8").split("\n")
        lines[line - 1] = lines[line - 1][:-5]
        (folder / f"{name}.json").write_text("\n".join(lines), encoding="utf-8")
    problems = problems_of(folder)
    assert problems[0].startswith(f"{folder / 'retain99.json'}:17: not JSON")
    assert problems[1].startswith(f"{folder / 'holdout01.json'}:3: not JSON")


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ({"answer": None}, "'answer' is null or absent"),
        ({"answer": "  "}, "'answer' is blank"),
        ({"answer": 7}, "'answer' is not text but int"),
        ({"perturbed_answer": []}, "'perturbed_answer' is not a list of wrong answers"),
        ({"perturbed_answer": ["a", None]}, "'perturbed_answer' is null or absent"),
        ({"perturbed_answer": "one"}, "'perturbed_answer' is not a list of wrong answers"),
    ],
)
def test_a_bad_cell_is_shown_with_file_and_line(folder: Path, cell: Record, fault: str) -> None:
    change(folder, "retain_perturbed", lambda rs: [rs[n].update(cell) for n in (4, 9)])
    (problem,) = problems_of(folder)
    assert problem.startswith(f"{folder / 'retain_perturbed.json'}:5: {fault}")
    assert "author 4" in problem
    assert "(2 such rows)" in problem


def test_scored_rows_of_another_version_are_refused(folder: Path) -> None:
    change(folder, "retain_perturbed", lambda rs: rs[3].update(answer="Changed."))
    (problem,) = problems_of(folder)
    assert "1 of 400 rows in retain_perturbed are not in retain99" in problem


def test_a_row_in_forget_and_retain_is_refused(folder: Path) -> None:
    change(folder, "retain99", lambda rs: rs[2000].update(record("author 3990")))
    (problem,) = problems_of(folder)
    assert "1 row stands in both the forget and the retain set" in problem
    assert "What of author 3990?" in problem


def test_wrong_options_are_listed_together() -> None:
    with pytest.raises(ConfigurationError) as error:
        Tofu(path="", subset="forget02", forget_rows=0, retain_rows=-1)
    problems = error.value.problems
    assert len(problems) == 4
    assert "UNLEARN_TOFU_PATH" in problems[0]
    assert "data.subset=forget02: give one of forget01, forget05, forget10" in problems[1]


# Configuration.


@pytest.mark.parametrize("subset", SIZES)
def test_the_yaml_lists_every_option(subset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARN_TOFU_PATH", raising=False)
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"tofu_{subset}.yaml"), resolve=True)
    assert node.pop("_target_") == "unlearn.data.tofu.Tofu"
    assert list(node) == [field.name for field in fields(Tofu)]
    assert Tofu(**node) == Tofu(subset=subset)
    typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Tofu), node))
    assert typed == Tofu(subset=subset)


def test_the_environment_sets_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARN_TOFU_PATH", "./mine")
    assert OmegaConf.load(CONF / "tofu_forget05.yaml").path == "./mine"


def test_readers_import_quickly() -> None:
    code = (
        "import sys, unlearn.data.tofu, unlearn.data.own_files\n"
        "print({'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
