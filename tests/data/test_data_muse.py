"""The MUSE reader, on a made-up folder in the hub's layout: what it gives, and every error."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from support import muse_like
from support.muse_like import article, excerpt, question, write_muse, write_part

from unlearn.data import Row
from unlearn.data.muse import Muse
from unlearn.errors import ConfigurationError, DataError

CONF = Path(__file__).parents[2] / "conf" / "data"
CORPORA = {"news": "MUSE-News", "books": "MUSE-Books"}


def texts(*numbers: int) -> list[Row]:
    return [Row("", article(number)) for number in numbers]


RETAIN2 = texts(105, 106, 107, 108)


@pytest.fixture
def news(tmp_path: Path) -> Path:
    return write_muse(tmp_path / "muse")


def problems_of(folder: Path | str, **options: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        Muse(str(folder), **options).read()
    return error.value.problems


# What is read.


@pytest.mark.parametrize("corpus", CORPORA)
def test_rows_of_the_plain_request(corpus: str, tmp_path: Path) -> None:
    splits = Muse(str(write_muse(tmp_path, corpus)), corpus).read()
    assert splits.name == f"muse_{corpus}"
    assert splits.forget == texts(0, 1, 2)
    assert splits.retain == texts(100, 101, 102, 103, 104)
    assert splits.background == RETAIN2
    assert splits.general == []
    assert {name: len(rows) for name, rows in splits.evaluated.items()} == {
        "forget": 3,
        "retain": 4,
        "holdout": 3,
    }
    halves = [Row("", excerpt(number)["gt"].strip()) for number in (109, 110, 111)]
    assert splits.evaluated["holdout"] == halves


def test_quizzes(news: Path) -> None:
    quizzes = Muse(str(news)).read().quizzes
    assert list(quizzes) == ["forget/verbmem", "forget/knowmem", "retain/knowmem"]
    passages = quizzes["forget/verbmem"]
    assert passages.rows == [Row(e["prompt"], e["gt"]) for e in map(excerpt, (0, 1, 2))]
    assert (passages.shots, passages.new_tokens) == (None, 128)
    for split, numbers in (("forget", (0, 1, 2, 0)), ("retain", (105, 106, 107, 108))):
        quiz = quizzes[f"{split}/knowmem"]
        assert quiz.rows == [Row(**question(number)) for number in numbers]
        assert quiz.new_tokens == 32
        assert quiz.shots is not None
        assert len(quiz.shots) == muse_like.SHOTS
        assert quiz.shots != quiz.rows[: muse_like.SHOTS]


def test_the_layout_of_the_hub_and_lists_of_objects_give_the_same(
    news: Path, tmp_path: Path
) -> None:
    parquet = write_muse(tmp_path / "parquet", suffix=".parquet")
    assert Muse(str(parquet)).read() == Muse(str(news)).read()
    assert Muse(str(parquet)).read().sha256 == Muse(str(news)).read().sha256


def test_the_parquet_files_of_a_split_are_read_in_order_and_before_an_older_list(
    tmp_path: Path,
) -> None:
    folder = write_muse(tmp_path, suffix=".parquet")
    whole = Muse(str(folder)).read()
    file = folder / "raw" / "retain1-00000-of-00001.parquet"
    file.unlink()
    for part, numbers in enumerate(([100, 101], [102, 103, 104])):
        records = [{"text": article(number)} for number in numbers]
        made = write_part(folder, f"raw/part{part}", records, ".parquet")
        made.rename(folder / "raw" / f"retain1-0000{part}-of-00002.parquet")
    write_part(folder, "raw/retain1", [{"text": "old"}], ".json")
    assert Muse(str(folder)).read() == whole


def test_a_growing_request_contains_the_one_before(news: Path) -> None:
    read = {n: Muse(str(news), request=f"scal_{n}").read() for n in (1, 2, 3, 4)}
    assert read[1].forget == Muse(str(news)).read().forget
    for n, splits in read.items():
        assert splits.name == f"muse_news_scal_{n}"
        assert splits.forget == texts(*range(3 * n))
        # The target is the same for all: it knows the texts of the largest.
        assert splits.background == RETAIN2 + texts(*range(3 * n, 12))


def test_a_request_in_turn_knows_the_later_ones_only(news: Path) -> None:
    read = {n: Muse(str(news), request=f"sust_{n}").read() for n in (1, 2, 3, 4)}
    assert read[1].forget == Muse(str(news)).read().forget
    for n, splits in read.items():
        assert splits.name == f"muse_news_sust_{n}"
        assert splits.forget == texts(*range(3 * n - 3, 3 * n))
        assert splits.background == RETAIN2 + texts(*range(3 * n, 12))


def test_every_request_is_measured_alike(news: Path) -> None:
    plain = Muse(str(news)).read()
    for request in ("scal_3", "sust_4"):
        splits = Muse(str(news), request=request).read()
        assert splits.evaluated == plain.evaluated
        assert splits.quizzes == plain.quizzes
        assert splits.sha256 != plain.sha256


def test_a_request_needs_no_other_part(news: Path) -> None:
    """Only what is read must be there."""
    for name in ("raw/forget", "scal/forget_1", "scal/forget_3", "sust/forget_1"):
        (news / f"{name}.json").unlink()
    assert len(Muse(str(news), request="scal_2").read().forget) == 6
    assert len(Muse(str(news), request="sust_2").read().forget) == 3


def test_fewer_texts(news: Path) -> None:
    splits = Muse(str(news), forget_rows=2, retain_rows=3).read()
    assert splits.forget == texts(0, 1)
    assert splits.retain == texts(100, 101, 102)
    (problem,) = problems_of(news, forget_rows=4)
    assert problem.startswith("data.forget_rows=4, but the data has only 3")


def test_a_text_to_forget_is_not_kept_as_well(news: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, number in (("retain1", 1), ("retain2", 2)):
        records = [{"text": f" {article(number)}\n"}, *muse_like.parts()[f"raw/{name}"]]
        write_part(news, f"raw/{name}", records, ".json")
    with caplog.at_level(logging.WARNING):
        splits = Muse(str(news)).read()
    assert splits.retain == texts(100, 101, 102, 103, 104)
    assert splits.background == RETAIN2
    assert "raw/retain1: left out, as they also stand in the forget set: 1" in caplog.text
    assert "raw/retain2: left out, as they also stand in the forget set: 1" in caplog.text


# Where it is looked for.


@pytest.mark.parametrize("corpus", CORPORA)
def test_one_folder_may_hold_both(corpus: str, tmp_path: Path) -> None:
    for name, place in CORPORA.items():
        write_muse(tmp_path / place, name)
    inside = Muse(str(tmp_path / CORPORA[corpus]), corpus).read()
    assert Muse(str(tmp_path), corpus).read() == inside


def test_a_home_folder_is_found(news: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(news.parent))
    assert Muse(f"~/{news.name}").read() == Muse(str(news)).read()


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_hub_is_asked_for_configuration_and_split(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.chdir(tmp_path)
    records = muse_like.parts(corpus)
    asked = []

    def load(path: str, name: str, split: str) -> datasets.Dataset:
        asked.append(path)
        return datasets.Dataset.from_list(records[f"{name}/{split}"])

    monkeypatch.setattr(datasets, "load_dataset", load)
    hub = Muse(corpus=corpus).read()
    assert set(asked) == {f"muse-bench/{CORPORA[corpus]}"}
    folder = write_muse(tmp_path / "folder", corpus)
    assert hub == Muse(str(folder), corpus).read()


def test_the_hub_failing_tells_how_to_use_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def failing(path: str, name: str, split: str) -> None:
        raise ConnectionError("offline")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", failing)
    (problem,) = problems_of("muse-bench/MUSE-Books", corpus="books")
    for word in ("did not give raw/forget", "offline", "UNLEARN_MUSE_PATH", "data=minitofu"):
        assert word in problem
    assert "hf download muse-bench/MUSE-Books" in problem


# What is refused.


@pytest.mark.parametrize(
    "name",
    [
        "raw/forget",
        "raw/retain1",
        "raw/retain2",
        "verbmem/forget",
        "privleak/holdout",
        "knowmem/retain_qa_icl",
    ],
)
@pytest.mark.parametrize(
    ("suffix", "ending"), [(".json", ".json"), (".parquet", "-00000-of-00001.parquet")]
)
def test_a_missing_part_is_named(name: str, suffix: str, ending: str, tmp_path: Path) -> None:
    folder = write_muse(tmp_path, suffix=suffix)
    (folder / f"{name}{ending}").unlink()
    (problem,) = problems_of(folder)
    assert problem.startswith(f"data.path={folder} lacks {name}. ")
    assert "hf download muse-bench/MUSE-News --repo-type dataset" in problem


def test_missing_parts_are_listed_together(news: Path) -> None:
    (news / "verbmem" / "forget.json").unlink()
    (news / "sust" / "forget_3.json").unlink()
    (problem,) = problems_of(news, request="sust_2")
    assert "lacks sust/forget_3, verbmem/forget. " in problem


def test_a_split_without_one_of_its_files_is_missing(tmp_path: Path) -> None:
    folder = write_muse(tmp_path, suffix=".parquet")
    whole = folder / "raw" / "retain1-00000-of-00001.parquet"
    whole.rename(folder / "raw" / "retain1-00000-of-00002.parquet")
    assert "lacks raw/retain1. " in problems_of(folder)[0]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "forget01.json").write_text("[]")
    (problem,) = problems_of(tmp_path)
    assert "is not MUSE's: it has no folder raw, verbmem, knowmem or privleak" in problem
    assert "UNLEARN_MUSE_PATH" in problem


def test_no_such_folder_and_a_file(news: Path, tmp_path: Path) -> None:
    assert "no such folder" in problems_of(tmp_path / "absent")[0]
    assert "is a file; a folder is needed" in problems_of(news / "raw" / "forget.json")[0]


def test_empty_parts_are_listed_together(news: Path) -> None:
    for name in ("privleak/holdout", "knowmem/forget_qa_icl"):
        write_part(news, name, [], ".json")
    problems = problems_of(news)
    assert len(problems) == 2
    for problem, name in zip(problems, ("holdout", "forget_qa_icl"), strict=True):
        assert f"{name}.json: the file is empty, it has no rows." in problem


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("raw/retain1", "text"),
        ("privleak/forget", "text"),
        ("verbmem/forget", "prompt"),
        ("verbmem/forget", "gt"),
        ("knowmem/forget_qa", "question"),
        ("knowmem/retain_qa_icl", "answer"),
    ],
)
def test_a_missing_column_shows_the_columns_there_are(news: Path, name: str, column: str) -> None:
    records = [dict(record) for record in muse_like.parts()[name]]
    for record in records:
        record["other"] = record.pop(column)
    write_part(news, name, records, ".json")
    (problem,) = problems_of(news)
    assert f"{name}.json has no column '{column}'; its columns are" in problem
    assert "'other'" in problem


def test_bad_cells_of_every_file_are_shown(news: Path) -> None:
    write_part(news, "raw/forget", [{"text": "A."}, {"text": " "}], ".json")
    write_part(news, "verbmem/forget", [{"prompt": "A", "gt": None}], ".json")
    problems = problems_of(news)
    assert "forget.json, row 2: 'text' is blank" in problems[0]
    assert "forget.json, row 1: 'gt' is null or absent" in problems[1]


def test_holdout_texts_must_be_unseen(news: Path) -> None:
    write_part(news, "privleak/holdout", [{"text": article(101)}], ".json")
    (problem,) = problems_of(news)
    assert "1 row stands in both the holdout and the retain set" in problem


def test_wrong_options_are_listed_together() -> None:
    with pytest.raises(ConfigurationError) as error:
        Muse(path="", request="scal_5", forget_rows=0, retain_rows=-1)
    problems = error.value.problems
    assert len(problems) == 4
    assert "UNLEARN_MUSE_PATH" in problems[0]
    assert "data.request=scal_5: give one of forget, scal_1, scal_2" in problems[1]


def test_only_news_has_other_requests() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.request=sust_1: give one of forget"):
        Muse(corpus="books", request="sust_1")
    with pytest.raises(ConfigurationError, match=r"data\.corpus=films: give one of news, books"):
        Muse(corpus="films")


def test_the_other_corpus_is_not_taken_for_this_one() -> None:
    with pytest.raises(ConfigurationError) as error:
        Muse(path="/data/MUSE-News", corpus="books")
    (problem,) = error.value.problems
    assert "data.path=/data/MUSE-News is MUSE-News, but data.corpus=books" in problem
    assert "data=muse_news" in problem


# Configuration.


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_yaml_lists_every_option(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARN_MUSE_PATH", raising=False)
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"muse_{corpus}.yaml"), resolve=True)
    assert node.pop("_target_") == "unlearn.data.muse.Muse"
    assert list(node) == [field.name for field in fields(Muse)]
    assert Muse(**node) == Muse(corpus=corpus)
    typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Muse), node))
    assert typed == Muse(corpus=corpus)


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_environment_sets_the_path(corpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARN_MUSE_PATH", "./mine")
    assert OmegaConf.load(CONF / f"muse_{corpus}.yaml").path == "./mine"


def test_the_reader_imports_quickly() -> None:
    code = (
        "import sys, unlearn.data.muse\n"
        "print({'torch', 'transformers', 'datasets', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
