"""Files as other programs write them: the same rows in each, or one line that says what to do."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from unlearn.data import Row
from unlearn.data.own_files import Files
from unlearn.data.splits import Turn
from unlearn.errors import ConfigurationError, DataError

ASKED = [
    ("Who kept it?", "Ann kept it."),
    ("Where?", "In Oslo; or near."),
    ("佐藤健一さんの勤務先はどこですか。", "大阪府東大阪市の株式会社東洋精密に勤務しています。"),
]
ROWS = [Row(*pair) for pair in ASKED]


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is said at the level of a run's log."""
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture
def retain(tmp_path: Path) -> str:
    path = tmp_path / "kept.jsonl"
    path.write_text('{"question": "Kept?", "answer": "Yes."}\n')
    return str(path)


def lines(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def read(forget: Path | str, retain: str, **options: Any) -> list[Row]:
    return Files(str(forget), retain, **options).read().forget


def problem_of(forget: Path | str, retain: str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        Files(str(forget), retain, **options).read()
    (problem,) = error.value.problems
    assert "\n" not in problem
    return problem


def said(caplog: pytest.LogCaptureFixture) -> str:
    """The one line about the forget set."""
    (line,) = [m for m in caplog.messages if m.startswith("data.forget")]
    return line


# The cases


def twins(cases: Path, language: str, name: str) -> list[Row]:
    text = (cases / "languages" / language / f"{name}.jsonl").read_text(encoding="utf-8")
    made = [json.loads(line) for line in text.split("\n") if line]
    return [Row(row["question"], row["answer"]) for row in made]


@pytest.mark.parametrize(
    ("case", "suffix", "language"),
    [
        ("semicolon", "csv", "en"),
        ("prompt_completion", "jsonl", "en"),
        ("excel_japan_cp932", "csv", "ja"),
    ],
)
def test_the_cases_are_their_plain_twins(
    cases_path: Path, case: str, suffix: str, language: str
) -> None:
    files = (str(cases_path / "formats" / f"{case}_{n}.{suffix}") for n in ("forget", "retain"))
    splits = Files(*files).read()
    assert splits.forget == twins(cases_path, language, "forget")
    assert splits.retain == twins(cases_path, language, "retain")


def test_the_conversations_of_the_cases_have_a_system_turn_before(cases_path: Path) -> None:
    folder = cases_path / "formats"
    splits = Files(
        str(folder / "messages_forget.jsonl"), str(folder / "messages_retain.jsonl")
    ).read()
    before = (Turn("system", "You are a helpful assistant."),)
    for name, rows in (("forget", splits.forget), ("retain", splits.retain)):
        expected = twins(cases_path, "en", name)
        assert rows == [Row(row.question, row.answer, before=before) for row in expected]


def test_the_input_of_alpaca_goes_behind_its_instruction(
    cases_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    folder = cases_path / "formats"
    splits = Files(str(folder / "alpaca_forget.jsonl"), str(folder / "alpaca_retain.jsonl")).read()
    ahead = "Answer the question about our staff.\n"
    expected = [Row(ahead + r.question, r.answer) for r in twins(cases_path, "en", "forget")]
    assert splits.forget == expected
    assert "question from 'instruction' and 'input', answer from 'output'" in said(heard)


def test_the_texts_of_the_cases_stand_between_blank_lines(
    cases_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    folder = cases_path / "formats"
    splits = Files(str(folder / "text_forget.txt"), str(folder / "text_retain.txt")).read()
    assert splits.forget == [Row("", r.answer) for r in twins(cases_path, "en", "forget")]
    assert splits.retain == [Row("", r.answer) for r in twins(cases_path, "en", "retain")]
    assert "texts between blank lines" in said(heard)


def test_the_encoding_and_the_columns_of_the_cases_are_said(
    cases_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    folder = cases_path / "formats"
    name = "excel_japan_cp932_{}.csv"
    Files(str(folder / name.format("forget")), str(folder / name.format("retain"))).read()
    line = said(heard)
    assert "6 rows of" in line and "read as cp932" in line
    assert "question from '質問', answer from '回答'" in line


# Kinds of files


def table(path: Path, delimiter: str = ",", encoding: str = "utf-8", ahead: str = "") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        file.write(ahead)
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("question", "answer"), *ASKED])
    return path


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("f.csv", ","), ("f.csv", ";"), ("f.csv", "\t"), ("f.csv", "|"), ("f.tsv", "\t")],
)
def test_cells_are_divided_as_the_header_is(
    tmp_path: Path, retain: str, name: str, delimiter: str
) -> None:
    assert read(table(tmp_path / name, delimiter), retain) == ROWS


def test_what_excel_is_told_about_cells_is_read_and_lines_keep_their_numbers(
    tmp_path: Path, retain: str
) -> None:
    path = table(tmp_path / "f.csv", ";", ahead="sep=;\r\n")
    assert read(path, retain) == ROWS
    path.write_bytes(b"sep=;\r\nquestion;answer\r\nq?;a\r\nq?;a;b\r\n")
    assert f"{path}:4: 3 cells under a header of 2, with semicolons" in problem_of(path, retain)


def test_a_comma_in_a_header_of_semicolons_divides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("question;answer, or none;id\nWho, then?;Ann, or Bo;1\n", encoding="utf-8")
    kept = tmp_path / "kept.csv"
    kept.write_text("question;answer, or none\nKept?;Yes\n", encoding="utf-8")
    assert read(path, str(kept), answer="answer, or none") == [Row("Who, then?", "Ann, or Bo")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp932"])
def test_encodings_are_found_out(tmp_path: Path, retain: str, encoding: str) -> None:
    assert read(table(tmp_path / "f.csv", encoding=encoding), retain) == ROWS
    path = tmp_path / "g.jsonl"
    text = "".join(
        f"{json.dumps({'question': q, 'answer': a}, ensure_ascii=False)}\n" for q, a in ASKED
    )
    path.write_text(text, encoding=encoding)
    assert read(path, retain) == ROWS


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Wo arbeitet Jürgen Müller?,Er arbeitet in München für die Prüfgerätebau."),
        ("cp1252", "Où travaille André ?,André travaille à Orléans depuis l'été."),
        ("gb18030", "王小明在哪里工作？,王小明在苏州的东方精密公司工作。"),
        ("cp1251", "Где работает Иван?,Иван работает в Казани."),
    ],
)
def test_old_encodings_of_other_languages(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture, encoding: str, text: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"question,answer\n{text}\n", encoding=encoding)
    assert read(path, retain) == [Row(*text.split(",", 1))]
    assert f"read as {encoding}" in said(heard)


def test_an_encoding_can_be_named(tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("question,answer\nOu?,Là\n", encoding="cp1252")
    path = tmp_path / "f.csv"
    path.write_text("question,answer\nQui?,é\n", encoding="cp1252")
    assert read(path, str(kept), encoding="cp1252") == [Row("Qui?", "é")]
    with pytest.raises(ConfigurationError, match="encoding='klingon': no such encoding"):
        Files(str(path), str(kept), encoding="klingon")


def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path: Path, retain: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text("question,answer\nQui?,é\n", encoding="cp1252")
    problem = problem_of(path, retain)
    assert problem.startswith(f"{path}:2: not UTF-8 text, and too little to tell")
    assert "data.encoding=" in problem


def test_a_broken_byte_in_utf_8_is_no_other_encoding(tmp_path: Path, retain: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes("question,answer\n何ですか,油圧です\n".encode() + b"q?,\xe9\n")
    assert problem_of(path, retain).startswith(f"{path}:3: not UTF-8 text, although the rest")


@pytest.mark.parametrize("name", ["f.csv", "f.tsv", "f.jsonl", "f.json", "f.parquet", "f.txt"])
def test_any_of_them_compressed(tmp_path: Path, retain: str, name: str) -> None:
    plain = tmp_path / name
    made = [{"question": q, "answer": a} for q, a in ASKED]
    if name.endswith("sv"):
        table(plain, "\t" if name == "f.tsv" else ",")
    elif name == "f.parquet":
        parquet.write_table(pyarrow.Table.from_pylist(made), plain)
    elif name == "f.txt":
        plain.write_text("\n\n".join(a for _, a in ASKED), encoding="utf-8")
    else:
        lines(plain, *made)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    rows = read(packed, retain)
    assert rows == read(plain, retain)
    assert [row.answer for row in rows] == [a for _, a in ASKED]
    packed.write_bytes(packed.read_bytes()[:20])
    assert "not a readable gzip file" in problem_of(packed, retain)


def test_rows_under_data(tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture) -> None:
    made = [{"question": q, "answer": a} for q, a in ASKED]
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"version": 2, "data": made}, indent=1))
    assert read(path, retain) == ROWS
    assert "its rows from 'data'; nothing from 'version' beside it" in said(heard)
    path.write_text(json.dumps({"data": [*made, 7]}))
    assert f"{path}, row 4: 7 is not an object" in problem_of(path, retain)


def test_lines_with_a_column_data_are_lines(tmp_path: Path, retain: str) -> None:
    made = [{"question": q, "answer": a, "data": [1]} for q, a in ASKED]
    assert read(lines(tmp_path / "f.json", *made), retain) == ROWS


def test_texts_of_several_lines(tmp_path: Path, retain: str) -> None:
    path = tmp_path / "f.txt"
    path.write_bytes("\r\n\r\nOne\r\ntwo\r\n \t\r\n\u3000\r\nThree\r\n".encode())
    assert read(path, retain) == [Row("", "One\ntwo"), Row("", "Three")]
    path.write_text("One.\n\nhalf \ud83d", encoding="utf-8", errors="surrogatepass")
    assert str(path) in problem_of(path, retain)


def test_a_folder_of_texts(tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "b.txt").write_text("Second.\n")
    (folder / "a.txt").write_text("First,\n\n\nwith paragraphs.\n")
    (folder / "c.txt.gz").write_bytes(gzip.compress("Müller".encode("utf-16")))
    (folder / "notes.md").write_text("not a text")
    expected = [Row("", "First,\n\n\nwith paragraphs."), Row("", "Second."), Row("", "Müller")]
    assert read(folder, retain) == expected
    line = said(heard)
    assert "3 .txt files, each one text; read as utf-16" in line
    assert "not read in the folder: notes.md" in line
    (folder / "d.csv").write_text("text\nx\n")
    assert "holds .txt files and d.csv besides" in problem_of(folder, retain)


def test_an_empty_text_of_a_folder_is_named(tmp_path: Path, retain: str) -> None:
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "a.txt").write_text("First.")
    (folder / "b.txt").write_text(" \n")
    assert problem_of(folder, retain).startswith(f"{folder / 'b.txt'}: 'text' is blank")


# Data sets in the hub's layout


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    made = [{"question": q, "answer": a} for q, a in ASKED]
    parquet.write_table(
        pyarrow.Table.from_pylist(made), folder / "data" / "train-00000-of-00001.parquet"
    )
    parquet.write_table(
        pyarrow.Table.from_pylist(made[:1]), folder / "data" / "test-00000-of-00001.parquet"
    )
    return folder


def test_a_folder_in_the_layout_of_the_hub(
    data_set: Path, retain: str, heard: pytest.LogCaptureFixture
) -> None:
    assert read(data_set, retain) == ROWS
    assert "split 'train'" in said(heard)
    assert read(f"{data_set}/default/test", retain) == ROWS[:1]


def test_a_split_that_is_not_there(data_set: Path, retain: str) -> None:
    problem = problem_of(f"{data_set}/default/other", retain)
    assert "configuration 'default', split 'other' of the folder" in problem


def test_a_folder_of_several_files_is_no_data_set(tmp_path: Path, retain: str) -> None:
    """A request and its retain set often lie side by side: they are never read as one."""
    for name in ("forget", "more"):
        lines(tmp_path / f"{name}.jsonl", {"question": "q", "answer": "a"})
    problem = problem_of(tmp_path, retain)
    assert "a folder of 3 files (forget.jsonl, kept.jsonl, more.jsonl); give one" in problem
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: forget.jsonl\n---\n"
    )
    assert read(tmp_path, retain) == [Row("q", "a")]


def test_a_folder_without_anything_readable(tmp_path: Path, retain: str) -> None:
    (tmp_path / "empty").mkdir()
    problem = problem_of(tmp_path / "empty", retain)
    assert "no .txt files are in it" in problem and "Give a file" in problem


@pytest.mark.parametrize("path", ["./nothing", "../nothing/here", "~/nothing", "a/b/c/d/e", "mine"])
def test_what_looks_like_a_path_is_never_looked_for_on_the_hub(
    retain: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.load_dataset", None)
    assert "no such file or folder" in problem_of(path, retain)


def test_a_hub_id_is_asked_for_by_configuration_and_split(
    retain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(name: str, configuration: str | None, **options: object) -> list[dict[str, str]]:
        asked.append((name, configuration, options["split"]))
        return [{"question": q, "answer": a} for q, a in ASKED]

    monkeypatch.setattr("datasets.load_dataset", load)
    for given in ("owner/set", "owner/set/small", "owner/set/small/test"):
        assert read(given, retain) == ROWS
    assert asked == [
        ("owner/set", None, "train"),
        ("owner/set", "small", "train"),
        ("owner/set", "small", "test"),
    ]


def test_a_hub_that_does_not_answer(retain: str) -> None:
    problem = problem_of("owner/no-such-set-of-ours", retain)
    assert "owner/no-such-set-of-ours on the hub, it cannot be read" in problem


# Excel


def workbook(path: Path, **sheets: list[list[object]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook(tmp_path: Path, retain: str) -> None:
    rows: list[list[object]] = [["Question", "Answer"], *map(list, ASKED), [], ["How many?", 42]]
    path = workbook(tmp_path / "f.xlsx", Rows=rows, Empty=[])
    assert read(path, retain) == [*ROWS, Row("How many?", "42")]


@pytest.mark.parametrize(
    ("sheets", "fault"),
    [
        (
            {"A": [["question", "answer"], ["q", "a"]], "B": [["x"]]},
            "2 sheets have cells ('A', 'B')",
        ),
        ({"A": [["question", "answer"], ["q", "a", "b"]]}, ", row 2: 'b' stands in a column"),
        ({"A": [["answer", "answer"], ["q", "a"]]}, ", row 1: a column name stands twice"),
        ({"A": [["question", "answer"], ["q", 1.5]]}, ", row 2: 'answer' is not text but float"),
        ({"A": [["question", "answer"], ["q"]]}, ", row 2: 'answer' is null or absent"),
        ({"A": [["question", "answer"]]}, "it has no rows"),
    ],
)
def test_a_workbook_that_is_wrong(
    tmp_path: Path, retain: str, sheets: dict[str, list[list[object]]], fault: str
) -> None:
    assert fault in problem_of(workbook(tmp_path / "f.xlsx", **sheets), retain)


def test_a_workbook_that_is_none(tmp_path: Path, retain: str) -> None:
    pytest.importorskip("openpyxl")
    (tmp_path / "f.xlsx").write_bytes(b"PK none")
    assert "not a readable .xlsx file" in problem_of(tmp_path / "f.xlsx", retain)


def test_a_workbook_without_the_extra(
    tmp_path: Path, retain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    (tmp_path / "f.xlsx").write_bytes(b"PK")
    assert "pip install 'openpyxl" in problem_of(tmp_path / "f.xlsx", retain)


# Columns


@pytest.mark.parametrize(
    "names",
    [
        *(("Question", "ANSWER"), ("prompt", "response"), ("Instruction", "Output")),
        *(("input", "output"), ("query", "reply"), ("prompt", "completion"), (" 質問 ", "答え")),
    ],
)
def test_usual_names_in_any_case(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture, names: tuple[str, str]
) -> None:
    made = [dict(zip((*names, "id"), (*pair, 3), strict=True)) for pair in ASKED]
    assert read(lines(tmp_path / "f.jsonl", *made), retain) == ROWS
    line = said(heard)
    assert f"question from {names[0]!r}, answer from {names[1]!r}; not read: 'id'" in line


def test_documented_names_alone_need_no_word(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture
) -> None:
    made = [{"question": q, "answer": a} for q, a in ASKED]
    assert read(lines(tmp_path / "f.jsonl", *made), retain) == ROWS
    assert not heard.messages


def test_documented_names_go_ahead_of_others_which_are_said(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture
) -> None:
    made = [{"prompt": "x", "question": q, "answer": a, "text": "y"} for q, a in ASKED]
    assert read(lines(tmp_path / "f.jsonl", *made), retain) == ROWS
    assert "not read: 'prompt', 'text'" in said(heard)


def test_text_under_a_usual_name(tmp_path: Path, retain: str) -> None:
    made = [{"Text": a, "id": n} for n, (_, a) in enumerate(ASKED)]
    assert read(lines(tmp_path / "f.jsonl", *made), retain) == [Row("", a) for _, a in ASKED]


@pytest.mark.parametrize(
    ("row", "ways"),
    [
        ({"prompt": "q", "query": "p", "answer": "a"}, "data.question=prompt or query"),
        ({"prompt": "q", "output": "a", "response": "b"}, "data.answer=output or response"),
        ({"prompt": "q", "output": "a", "text": "b"}, "data.text=text"),
        ({"prompt": "q", "text": "b"}, "data.question=prompt; data.text=text"),
        ({"text": "q", "document": "b"}, "data.text=text or document"),
    ],
)
def test_columns_that_can_be_read_in_two_ways_are_not_guessed(
    tmp_path: Path, retain: str, row: dict[str, str], ways: str
) -> None:
    problem = problem_of(lines(tmp_path / "f.jsonl", row), retain)
    assert "can be read in more than one way" in problem and ways in problem


def test_one_of_two_ways_can_be_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "f.jsonl", {"prompt": "q", "query": "p", "output": "a", "text": "t"})
    kept = lines(tmp_path / "q.jsonl", {"query": "kept", "output": "yes"})
    assert read(path, kept, question="query") == [Row("p", "a")]
    kept = lines(tmp_path / "k.jsonl", {"text": "kept"})
    assert read(path, kept, text="text") == [Row("", "t")]


def test_an_instruction_without_input_stands_alone(tmp_path: Path, retain: str) -> None:
    made = [
        {"instruction": "Name it.", "input": "", "output": "Ann."},
        {"instruction": "Name it.", "input": None, "output": "Bo."},
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
    ]
    expected = [Row("Name it.", "Ann."), Row("Name it.", "Bo."), Row("Add.\n1 and 2", "3")]
    assert read(lines(tmp_path / "f.jsonl", *made), retain) == expected


def test_columns_and_conversations_contradict_each_other(retain: str) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.question=q has no meaning beside"):
        Files(retain, retain, messages="messages", question="q")
    with pytest.raises(ConfigurationError, match="unset one of the two"):
        Files(retain, retain, messages="messages", text="text")
    with pytest.raises(ConfigurationError, match="is no text"):
        Files(["a"], retain)  # type: ignore[arg-type]


# Conversations


def turn(role: str, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


HI = (turn("user", "Hi, I am Ann."), turn("assistant", "Hello Ann."))
LAST = (turn("user", "Where do I live?"), turn("assistant", "In Oslo."))
BEFORE = (Turn("user", "Hi, I am Ann."), Turn("assistant", "Hello Ann."))


@pytest.mark.parametrize("shape", ["messages", "sharegpt", "prompt", "csv", "parts"])
def test_the_last_answer_is_the_answer_and_earlier_turns_stand_before(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture, shape: str
) -> None:
    path = tmp_path / "f.jsonl"
    told = [*HI, *LAST]
    if shape == "messages":
        lines(path, {"messages": told})
    elif shape == "sharegpt":
        names = {"user": "human", "assistant": "gpt"}
        made = [{"from": names[str(t["role"])], "value": t["content"]} for t in told]
        lines(path, {"conversations": made})
    elif shape == "prompt":
        lines(path, {"prompt": told[:3], "completion": told[3:]})
    elif shape == "parts":
        lines(path, {"messages": [{**t, "content": [{"text": t["content"]}]} for t in told]})
    else:
        path = tmp_path / "f.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["messages"], [json.dumps(told)]])
    assert read(path, retain) == [Row("Where do I live?", "In Oslo.", before=BEFORE)]
    assert "earlier answers, in 1 row, are prompt alone" in said(heard)


def test_what_else_a_turn_holds_is_said(
    tmp_path: Path, retain: str, heard: pytest.LogCaptureFixture
) -> None:
    made = [turn("user", "q", weight=1), turn("assistant", "a", tool_calls=[{}], name=None)]
    read(lines(tmp_path / "f.jsonl", {"messages": made, "id": 1}), retain)
    assert "not read: 'id', 'weight' of turns, 'tool_calls' of turns" in said(heard)


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        (HI[:1], "the conversation ends with a turn of the user, not of the assistant"),
        (HI[1:], "no turn of the user stands ahead"),
        ([*HI, LAST[1]], "no turn of the user stands ahead"),
        (
            [turn("tool", "x"), *LAST],
            "turn 1 of 'messages' is of the role 'tool'; allowed are system",
        ),
        ([*HI, turn("system", "x"), *LAST], "turn 3 is a system turn"),
        ([turn("user", 7), HI[1]], "turn 1 of 'messages' is not text but 7"),
        ([turn("user", [{"type": "image"}]), HI[1]], "turn 1 of 'messages' is not text but"),
        ([turn("user", " "), HI[1]], "turn 1 of 'messages' is blank"),
        ([{"text": "x"}, HI[1]], "turn 1 of 'messages' has neither"),
        ([], "'messages' is not a list of turns"),
    ],
)
def test_a_conversation_that_is_wrong_is_told_with_its_line(
    tmp_path: Path, retain: str, turns: Any, fault: str
) -> None:
    path = lines(tmp_path / "f.jsonl", {"messages": LAST}, {"messages": list(turns)})
    assert problem_of(path, retain).startswith(f"{path}:2: {fault}")


def test_the_same_last_words_after_other_turns_are_another_row(tmp_path: Path) -> None:
    forget = lines(tmp_path / "f.jsonl", {"messages": [*HI, *LAST]})
    other = (turn("user", "Hi, I am Bo."), turn("assistant", "Hello Bo."))
    kept = lines(tmp_path / "k.jsonl", {"messages": [*other, *LAST]})
    assert len(read(forget, kept)) == 1
    system = lines(tmp_path / "s.jsonl", {"messages": [turn("system", "Be brief."), *HI, *LAST]})
    assert "1 row stands in both" in problem_of(forget, system)


# Half characters


def test_half_a_character_is_refused_with_its_row(tmp_path: Path, retain: str) -> None:
    made = [{"question": "q?", "answer": "a"}, {"question": "p?", "answer": "half \ud83d here"}]
    problem = problem_of(lines(tmp_path / "f.jsonl", *made), retain)
    assert r"the answer holds half a character, \ud83d" in problem
    assert "in 1 of 2 rows, first in row 2" in problem


def test_half_a_character_in_an_earlier_turn(tmp_path: Path, retain: str) -> None:
    path = lines(tmp_path / "f.jsonl", {"messages": [turn("system", "\udc00"), *LAST]})
    assert r"the system turn holds half a character, \udc00" in problem_of(path, retain)
