"""The reader of one's own files: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import pyarrow
import pytest
from omegaconf import OmegaConf
from pyarrow import parquet

from unlearn.data import Row
from unlearn.data.own_files import Files
from unlearn.errors import ConfigurationError, DataError

CONF = Path(__file__).parents[2] / "conf" / "data"

# What commonly breaks a reader: quotes, commas, line ends, U+2028, other scripts.
TEXTS = ['He said "no", twice.', "one\ntwo", "line\u2028separator", "naïve 東京 🌍", "x, y"]

Record = dict[str, object]


def records(name: str, count: int = 5) -> list[Record]:
    return [{"question": f"{name} {n}?", "answer": TEXTS[n % 5] + name} for n in range(count)]


def write(path: Path, rows: list[Record]) -> str:
    """Write records in the format of the suffix; `.array.json` is one array, `.json` is lines."""
    if path.name.endswith(".array.json"):
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    elif path.suffix in (".json", ".jsonl"):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                )
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


def rows_of(made: list[Record]) -> list[Row]:
    return [Row(str(r["question"]), str(r["answer"])) for r in made]


FORMATS = ["f.json", "f.array.json", "f.jsonl", "f.csv", "f.parquet"]


@pytest.fixture
def retain(tmp_path: Path) -> str:
    return write(tmp_path / "retain.jsonl", records("retain"))


def problems_of(forget: Path | str, retain: str, **options: str) -> list[str]:
    with pytest.raises(DataError) as error:
        Files(str(forget), retain, **options).read()
    return error.value.problems


# What is read.


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, retain: str, name: str) -> None:
    splits = Files(write(tmp_path / name, records("forget")), retain).read()
    assert splits.name == "files"
    assert splits.forget == splits.evaluated["forget"] == rows_of(records("forget"))
    assert splits.retain == splits.evaluated["retain"] == rows_of(records("retain"))
    assert list(splits.evaluated) == ["forget", "retain"]
    assert splits.general == []


def test_capital_suffix_and_byte_order_mark(tmp_path: Path, retain: str) -> None:
    path = tmp_path / "EXPORT.CSV"
    path.write_bytes(b"\xef\xbb\xbfquestion,answer\r\nWho?,Ann\r\n\r\nWhere?,Oslo\r\n")
    assert Files(str(path), retain).read().forget == [Row("Who?", "Ann"), Row("Where?", "Oslo")]


def test_columns_of_other_names(tmp_path: Path) -> None:
    made: list[Record] = [{"prompt": "Who?", "reply": "Ann", "id": 3}]
    forget = write(tmp_path / "f.jsonl", made)
    kept = write(tmp_path / "r.parquet", [{"prompt": "Where?", "reply": "Oslo", "id": 4}])
    splits = Files(forget, kept, question="prompt", answer="reply").read()
    assert splits.forget == [Row("Who?", "Ann")]
    assert splits.retain == [Row("Where?", "Oslo")]


@pytest.mark.parametrize("name", FORMATS)
def test_plain_text(tmp_path: Path, name: str) -> None:
    long = "A long passage, of more than the usual limit of a cell. " * 4000
    forget = write(tmp_path / name, [{"passage": long}, {"passage": TEXTS[1]}])
    kept = write(tmp_path / "r.csv", [{"passage": "kept"}])
    splits = Files(forget, kept, text="passage").read()
    assert splits.forget == [Row("", long), Row("", TEXTS[1])]
    assert splits.retain == [Row("", "kept")]


@pytest.mark.parametrize("name", FORMATS)
def test_optional_columns_are_taken_under_the_names_of_tofu(
    tmp_path: Path, retain: str, name: str
) -> None:
    extra = {
        "paraphrased_answer": "In other words.",
        "perturbed_answer": ["wrong, one", 'wrong "two"'],
        "paraphrased_question": "Otherwise?",
    }
    forget = write(tmp_path / name, [row | extra for row in records("forget")])
    splits = Files(forget, retain).read()
    for row in splits.forget:
        assert row.paraphrased_answer == "In other words."
        assert row.perturbed_answers == ("wrong, one", 'wrong "two"')
        assert row.paraphrased_question == "Otherwise?"
    assert splits.retain == rows_of(records("retain"))  # the other file has none, and needs none


def test_optional_columns_that_are_named_must_be_there(tmp_path: Path) -> None:
    forget = write(tmp_path / "f.jsonl", [r | {"other": "words"} for r in records("forget")])
    kept = write(tmp_path / "r.jsonl", [r | {"other": "words"} for r in records("retain")])
    unseen = write(tmp_path / "h.jsonl", records("unseen"))
    splits = Files(forget, kept, paraphrased_answer="other", holdout=unseen).read()
    assert {row.paraphrased_answer for row in splits.forget + splits.retain} == {"words"}
    assert {row.paraphrased_answer for row in splits.evaluated["holdout"]} == {None}
    problems = problems_of(forget, kept, perturbed_answer="wrong")
    assert len(problems) == 2
    assert "f.jsonl has no column 'wrong'; its columns are 'question', 'answer'" in problems[0]


def test_fewer_rows_are_trained_and_scored(tmp_path: Path, retain: str) -> None:
    forget = write(tmp_path / "f.csv", records("forget"))
    splits = Files(forget, retain, forget_rows=2, retain_rows=3).read()
    assert splits.forget == splits.evaluated["forget"] == rows_of(records("forget", 2))
    assert splits.retain == splits.evaluated["retain"] == rows_of(records("retain", 3))
    with pytest.raises(DataError) as error:
        Files(forget, retain, forget_rows=6, retain_rows=7).read()
    assert "data.forget_rows=6" in error.value.problems[0]
    assert "data.retain_rows=7" in error.value.problems[1]


def test_of_many_rows_to_retain_a_fixed_sample_is_scored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget = write(tmp_path / "forget.jsonl", records("forget", 450))
    retain = write(tmp_path / "retain.jsonl", records("retain", 450))
    caplog.set_level("INFO")
    splits = Files(forget, retain).read()
    assert len(splits.retain) == len(splits.evaluated["forget"]) == 450
    places = [splits.retain.index(row) for row in splits.evaluated["retain"]]
    assert len(places) == 400
    assert places == sorted(set(places))
    assert places != list(range(400))  # drawn from all of them, not the first ones
    assert "data.retain: 400 of 450 rows are scored, a fixed sample" in caplog.text
    assert Files(forget, retain).read().evaluated == splits.evaluated
    caplog.clear()
    assert len(Files(forget, retain, retain_scored=None).read().evaluated["retain"]) == 450
    few = Files(forget, retain, retain_rows=400).read()
    assert few.evaluated["retain"] == few.retain
    assert "sample" not in caplog.text
    with pytest.raises(ConfigurationError, match=r"data\.retain_scored=0"):
        Files(forget, retain, retain_scored=0)


def test_a_fault_of_a_row_that_is_in_the_sample_is_told_once(tmp_path: Path) -> None:
    broken = [record | {"answer": " "} for record in records("retain", 450)]
    with pytest.raises(DataError) as error:
        Files(
            write(tmp_path / "f.jsonl", records("forget")), write(tmp_path / "r.jsonl", broken)
        ).read()
    assert not any("evaluated retain" in problem for problem in error.value.problems)


def test_holdout_is_only_scored(tmp_path: Path, retain: str) -> None:
    forget = write(tmp_path / "f.json", records("forget"))
    splits = Files(forget, retain, holdout=write(tmp_path / "h.csv", records("unseen"))).read()
    assert list(splits.evaluated) == ["forget", "retain", "holdout"]
    assert splits.evaluated["holdout"] == rows_of(records("unseen"))
    (problem,) = problems_of(forget, retain, holdout=forget)
    assert "5 rows stand in both the holdout and the forget set" in problem


def test_general_rows_are_scored_and_never_trained_on(tmp_path: Path, retain: str) -> None:
    forget = write(tmp_path / "f.json", records("forget"))
    daily = write(tmp_path / "g.csv", records("daily"))
    splits = Files(forget, retain, general=daily).read()
    assert list(splits.evaluated) == ["forget", "retain", "general"]
    assert splits.evaluated["general"] == rows_of(records("daily"))
    # `Splits.general` would be taught to a base without pretraining.
    assert (splits.retain, splits.general) == (rows_of(records("retain")), [])
    (problem,) = problems_of(forget, retain, general=forget)
    assert "5 rows stand in both the general and the forget set" in problem
    (problem,) = problems_of(forget, retain, general=retain)
    assert "5 rows stand in both the general and the retain set" in problem
    assert "never trained on" in problem
    (tmp_path / "empty.jsonl").write_text("")
    (problem,) = problems_of(forget, retain, general=str(tmp_path / "empty.jsonl"))
    assert "empty.jsonl" in problem


def test_general_rows_need_no_optional_columns(tmp_path: Path) -> None:
    more = [{**record, "wrong": ["no", "nil"]} for record in records("forget")]
    forget = write(tmp_path / "f.jsonl", more)
    kept = write(tmp_path / "r.jsonl", [{**record, "question": "r"} for record in more])
    daily = write(tmp_path / "g.jsonl", records("daily"))
    splits = Files(forget, kept, general=daily, perturbed_answer="wrong").read()
    assert splits.evaluated["forget"][0].perturbed_answers == ("no", "nil")
    assert splits.evaluated["general"] == rows_of(records("daily"))


def test_a_home_path_is_found(tmp_path: Path, retain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "f.jsonl", records("forget"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(Files("~/f.jsonl", retain).read().forget) == 5


# What is refused.


def test_both_files_are_asked_for_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        Files(forget_rows=0)
    assert [problem.split(" ")[0] for problem in error.value.problems] == [
        "data.forget",
        "data.retain",
        "data.forget_rows=0:",
    ]


def test_plain_text_has_no_paraphrases(retain: str) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.paraphrased_answer=other has no meaning"):
        Files(retain, retain, text="passage", paraphrased_answer="other")


def test_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "r.doc").write_text("text")
    (tmp_path / "h.csv").write_text("")
    problems = problems_of(
        tmp_path / "absent.jsonl", str(tmp_path / "r.doc"), holdout=str(tmp_path / "h.csv")
    )
    assert [problem.split("=")[0] for problem in problems] == [
        "data.forget",
        "data.retain",
        "data.holdout",
    ]
    assert "no such file" in problems[0]
    assert (
        "unknown suffix '.doc'; readable are .json, .jsonl, .csv, .parquet, .tsv, .txt"
        in problems[1]
    )
    assert "the file is empty" in problems[2]


@pytest.mark.parametrize(
    ("name", "content"),
    [("f.json", ""), ("f.json", "[]"), ("f.jsonl", "\n \n"), ("f.csv", "question,answer\n")],
)
def test_a_file_without_rows(tmp_path: Path, retain: str, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert "it has no rows" in problems_of(tmp_path / name, retain)[0]


def test_a_parquet_file_without_rows(tmp_path: Path, retain: str) -> None:
    empty = pyarrow.table({"question": [], "answer": []})
    parquet.write_table(empty, tmp_path / "f.parquet")
    assert "it has no rows" in problems_of(tmp_path / "f.parquet", retain)[0]


GOOD = '{"question": "q?", "answer": "a"}'


@pytest.mark.parametrize(
    ("name", "content", "place", "fault"),
    [
        ("f.jsonl", f"{GOOD}\n\n{GOOD[:-4]}\n{GOOD}", ":3", "not JSON"),
        ("f.json", f"[{GOOD},\n{GOOD}\n{GOOD}]", ":3", "not JSON"),
        ("f.jsonl", f"{GOOD}\n[1]", ":2", "[1] is not an object"),
        ("f.jsonl", f"{GOOD}\n7", ":2", "7 is not an object"),
        ("f.json", f'[{GOOD}, "x"]', ", row 2", "'x' is not an object"),
        ("f.json", '{\n"question": "q?"', ":1", "not JSON"),
        ("f.csv", "question,answer\nq?,a\nq?,a,b\n", ":3", "3 cells under a header of 2"),
        ("f.csv", 'question,answer\n"q\nq",a\nq?\n', ":4", "1 cells under a header of 2"),
        ("f.csv", 'question,answer\nq?,a\nq?,"a\n', ":3", "not CSV"),
        ("f.csv", "answer,answer\nq?,a\n", ":1", "a column name stands twice"),
        ("f.jsonl", f"{GOOD}\n".encode() + b'{"question": "\xe9"}', ":2", "not UTF-8"),
        ("f.csv", b"question,answer\nq?,a\nq?,\xe9\n", ":3", "not UTF-8"),
        ("f.parquet", b"PAR1 this is none", "", "not a readable Parquet file"),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    tmp_path: Path, retain: str, name: str, content: str | bytes, place: str, fault: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (problem,) = problems_of(path, retain)
    assert problem.startswith(f"{path}{place}: {fault}")


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_column_shows_the_columns_there_are(
    tmp_path: Path, retain: str, name: str
) -> None:
    forget = write(tmp_path / name, [{"asked": "Who?", "answers": "Ann"}])
    (problem,) = problems_of(forget, retain)
    assert "no column 'question' and no column 'answer'" in problem
    assert "its columns are 'asked', 'answers'" in problem
    assert "data.question=" in problem
    (problem, _) = problems_of(forget, retain, text="passage")
    assert "no column 'passage'" in problem


@pytest.mark.parametrize(
    ("name", "place"),
    [("f.jsonl", ":2"), ("f.array.json", ", row 2"), ("f.csv", ":3"), ("f.parquet", ", row 2")],
)
def test_null_cells_are_shown_with_their_place(
    tmp_path: Path, retain: str, name: str, place: str
) -> None:
    made: list[Record] = [{"question": f"Who is {n}?", "answer": "Ann"} for n in range(4)]
    made[1]["answer"] = made[3]["answer"] = None
    path = tmp_path / name
    (problem,) = problems_of(write(path, made), retain)
    fault = "is blank" if name == "f.csv" else "is null or absent"
    assert problem.startswith(f"{path}{place}: 'answer' {fault}: ")
    assert "Who is 1?" in problem
    assert "(2 such rows)" in problem


def test_a_row_that_lacks_a_key_is_shown(tmp_path: Path, retain: str) -> None:
    (tmp_path / "f.jsonl").write_text(f'{GOOD}\n{{"question": "Without?"}}\n')
    (problem,) = problems_of(tmp_path / "f.jsonl", retain)
    assert "f.jsonl:2: 'answer' is null or absent" in problem
    assert "Without?" in problem


def test_cells_must_be_text(tmp_path: Path, retain: str) -> None:
    made: list[Record] = [
        {"question": "How many?", "answer": 42},
        {"question": True, "answer": "a"},
    ]
    problems = problems_of(write(tmp_path / "f.jsonl", made), retain)
    assert "f.jsonl:1: 'answer' is not text but int" in problems[0]
    assert "f.jsonl:2: 'question' is not text but bool" in problems[1]


def test_wrong_answers_in_csv_must_be_a_json_list(tmp_path: Path, retain: str) -> None:
    made: list[Record] = [
        {"question": "q?", "answer": "a", "perturbed_answer": "['python', 'list']"},
    ]
    (problem,) = problems_of(write(tmp_path / "f.csv", made), retain)
    assert """'perturbed_answer' is not a list of wrong answers such as ["a", "b"]""" in problem


def test_one_file_for_both_is_refused(retain: str) -> None:
    (problem,) = problems_of(retain, retain)
    assert "5 rows stand in both the forget and the retain set" in problem


# Configuration.


def test_the_yaml_lists_every_option() -> None:
    node = OmegaConf.load(CONF / "files.yaml")
    assert node.pop("_target_") == "unlearn.data.own_files.Files"
    assert set(node) == {field.name for field in fields(Files)}
    schema = OmegaConf.structured(Files("f.csv", "r.csv"))
    given = OmegaConf.merge(schema, node, {"forget": "f.csv", "retain": "r.csv"})
    assert OmegaConf.to_object(given) == Files("f.csv", "r.csv")
