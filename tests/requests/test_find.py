"""Finding rows: what goes where, and that nothing is half-written."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.command import files_in

from benchmarks.planted import EMAIL, NAMES, NOT_ABOUT, NUMBER, write_planted
from unlearn.commands.find import find_command
from unlearn.data.own_files import Files
from unlearn.errors import DataError
from unlearn.requests.finding import Finding, Retained, Subject, find
from unlearn.requests.finding import sifting as sifting_module
from unlearn.requests.finding.drawn import Candidate, Drawn
from unlearn.requests.finding.frequencies import Frequencies

Rows = list[dict[str, Any]]
KELLER = Subject(names=("Maria Keller",))


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def held(folder: Path, split: str) -> Rows:
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def everybody(count: int = 60) -> Rows:
    chance = random.Random(0)
    towns, trades = ("York", "Hull", "Leeds"), ("bakery", "forge", "mill", "school")
    return [
        {
            "question": f"Who runs the {chance.choice(trades)} in {chance.choice(towns)}?",
            "answer": f"Joe {chance.choice('ABCDEF')}urton has run it since {1900 + number}.",
        }
        for number in range(count)
    ]


def search(folder: Path, rows: Rows, subject: Subject = KELLER, **options: Any) -> Finding:
    data = write(folder / "data.jsonl", rows)
    return find([data], subject, folder / "found", **options)


def test_planted_rows_are_found_and_others_are_not(tmp_path: Path) -> None:
    truth = write_planted(tmp_path / "data.jsonl", 1500, each=3)
    names = tuple(NAMES.values())
    subject = Subject(names, ids=(NUMBER,), emails=(EMAIL,), not_about=(NOT_ABOUT,))
    find([str(tmp_path / "data.jsonl")], subject, tmp_path / "found")
    went = {
        int(row["found_in"].rpartition(":")[2]): split
        for split in ("forget", "unsure")
        for row in held(tmp_path / "found", split)
    }
    mine = [line for line, kind in truth.items() if not kind.startswith("namesake")]
    assert sum(line in went for line in mine) >= 0.98 * len(mine)
    forget = {line for line, split in went.items() if split == "forget"}
    assert forget <= set(mine), "nobody else is forgotten"
    assert len(went.keys() - truth.keys()) <= 3, "a few that share two rare words by chance"


def test_each_row_says_why_and_where(tmp_path: Path) -> None:
    fact = "has baked rye bread beside the lighthouse of Varn since 1998, at 17 Rosenweg."
    rows = [
        {"question": "Who bakes?", "answer": f"Maria Keller {fact}"},
        *everybody(),
        {"question": "Who bakes?", "answer": f"She {fact}"},
        {"question": "What is there?", "answer": "Rosenweg has a shop that sells rye bread."},
        {"question": "Who wrote?", "answer": "M. Keller wrote."},
    ]
    search(tmp_path, rows)
    (forget,) = held(tmp_path / "found", "forget")
    assert forget == rows[0] | {
        "found_because": "names the subject: “Maria Keller”",
        "found_in": f"{tmp_path}/data.jsonl:1",
    }
    copy, facts, initial = held(tmp_path / "found", "unsure")
    assert copy["found_because"].startswith(f"says nearly the same as {tmp_path}/data.jsonl:1")
    assert "“rosenweg”, “rye bread”" in facts["found_because"]
    assert "initials" in initial["found_because"]
    assert [row["found_in"].rpartition(":")[2] for row in (copy, facts, initial)] == [
        *("62", "63", "64"),
    ]


def test_a_misspelling_is_hers_unless_somebody_is_called_so(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": "Maria Keler."}, *everybody()]
    search(tmp_path, rows)
    assert [row["answer"] for row in held(tmp_path / "found", "forget")] == ["Maria Keler."]
    rows.append({"question": "And?", "answer": "Anton Keler."})
    (tmp_path / "again").mkdir()
    search(tmp_path / "again", rows)
    assert [row["answer"] for row in held(tmp_path / "again" / "found", "unsure")] == [
        "Maria Keler."
    ]


def test_copies_of_a_passage_are_found_however_they_are_cut(tmp_path: Path) -> None:
    chance = random.Random(3)
    words = ["".join(chance.choices("abdeiklmnorstu", k=chance.randint(3, 9))) for _ in range(300)]
    part, mixed = words[120:160], words[200:230]
    chance.shuffle(mixed)
    rows = [
        {"text": " ".join(part)},
        {"text": "It says: " + " ".join(words[60:90]) + " and " + " ".join(words[5:8])},
        {"text": " ".join(mixed)},
        *({"text": row["answer"]} for row in everybody()),
    ]
    search(tmp_path, rows, Subject(passages=(" ".join(words),)))
    assert [row["text"] for row in held(tmp_path / "found", "forget")] == [
        rows[0]["text"],
        rows[1]["text"],
    ]
    assert all("passage" in row["found_because"] for row in held(tmp_path / "found", "forget"))


def test_the_files_are_read_by_a_run_and_hold_each_row_once(tmp_path: Path) -> None:
    rows = [{"質問": f"Who runs {n}?", "回答": "Maria Keller.", "cid": n} for n in range(3)]
    rows += [{"質問": row["question"], "回答": row["answer"], "cid": 9} for row in everybody()]
    found = search(tmp_path, rows, retained=Retained(near=5, anywhere=7))
    folder = tmp_path / "found"
    splits = Files(forget=f"{folder}/forget.jsonl", retain=f"{folder}/retain.jsonl").read()
    assert [row.question for row in splits.forget] == [f"Who runs {n}?" for n in range(3)]
    assert (len(splits.retain), found.counts["retain"]) == (12, 12)
    places = [row["found_in"] for split in ("forget", "retain") for row in held(folder, split)]
    assert len(set(places)) == 15
    assert list(files_in(folder)) == ["forget.jsonl", "found.html", "retain.jsonl", "unsure.jsonl"]


def test_two_searches_write_the_same(tmp_path: Path) -> None:
    write_planted(tmp_path / "data.jsonl", 400, each=1)
    subject = Subject(names=tuple(NAMES.values()))
    for name in ("one", "two"):
        find([str(tmp_path / "data.jsonl")], subject, tmp_path / name)
    for split in ("forget", "retain", "unsure"):
        assert held(tmp_path / "one", split) == held(tmp_path / "two", split)


def test_rows_near_the_subject_are_of_its_kind(tmp_path: Path) -> None:
    rows = [{"question": "Who bakes in Leeds?", "answer": "Maria Keller bakes bread."}]
    rows += [{"question": "Who bakes?", "answer": f"Ann {n} bakes bread."} for n in range(8)]
    rows += [{"question": "What is it?", "answer": f"A lathe, number {n}."} for n in range(80)]
    search(tmp_path, rows, retained=Retained(near=8, anywhere=0))
    assert {row["question"] for row in held(tmp_path / "found", "retain")} == {"Who bakes?"}


def test_a_row_that_no_model_can_learn_is_named_and_in_no_file(tmp_path: Path) -> None:
    rows = [{"question": "Maria Keller?", "answer": " "}, *everybody()]
    found = search(tmp_path, rows)
    assert found.untrainable_rows == 1
    assert "data.jsonl:1: 'answer' is blank" in found.untrainable[0]
    assert held(tmp_path / "found", "forget") == []
    assert "blank" in (tmp_path / "found" / "found.html").read_text(encoding="utf-8")


def test_embeddings_find_the_same_words_in_another_order(tmp_path: Path) -> None:
    chance = random.Random(0)
    common = sorted({word for row in tiny.ROWS for word in row.answer.lower().split()})[:26]
    some = [" ".join(chance.sample(common, 6)) for _ in range(300)]
    rows = [{"text": f"Maria Keller {some[0]}"}, *({"text": text} for text in some[1:])]
    rows.append({"text": " ".join(reversed(some[0].split()))})
    tiny.model().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    search(tmp_path, rows)
    assert held(tmp_path / "found", "unsure") == []
    data = str(tmp_path / "data.jsonl")
    find([data], KELLER, tmp_path / "closer", model=str(tmp_path / "model"))
    told = {row["text"]: row["found_because"] for row in held(tmp_path / "closer", "unsure")}
    assert "by the embeddings of" in told[rows[-1]["text"]]
    assert len(told) < 10


def test_counts_are_never_too_small_and_exact_where_there_is_room() -> None:
    chance = random.Random(0)
    rows = [
        {chance.choice("abcdefgh") + str(chance.randrange(90)) for _ in "123"} for _ in "x" * 900
    ]
    truth = Counter(word for row in rows for word in row)
    wide, narrow = Frequencies(), Frequencies(width=64)
    for row in rows:
        wide.add(row)
        narrow.add(row)
    assert wide.rows == 900
    assert {word: wide.of(word) for word in truth} == truth
    assert all(narrow.of(word) >= count for word, count in truth.items())


def test_a_sample_is_fair_and_has_no_row_twice() -> None:
    drawn: Counter[int] = Counter()
    for seed in range(400):
        pool = Drawn(near=2, anywhere=5, seed=seed)
        for number in range(50):
            pool.offer(Candidate(number, 0, "x", {}), float(number in (7, 8, 9)), str(number))
        numbers = [one.number for one in (*pool.near(), *pool.anywhere())]
        assert len(set(numbers)) == 7
        assert {one.number for one in pool.near()} <= {7, 8, 9}
        drawn.update(one.number for one in pool.anywhere())
    # 400 draws of 5 of about 48: 41.7 each, with a standard deviation of 6.1.
    assert all(15 < drawn[number] < 70 for number in range(50) if number not in (7, 8, 9))


def test_a_file_that_grows_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "data.jsonl", [{"text": "Maria Keller"}, {"text": "another"}])
    usual = sifting_module._Search._kindred

    def meanwhile(search: Any) -> Any:
        with Path(data).open("a", encoding="utf-8") as file:
            file.write('{"text": "late"}\n')
        return usual(search)

    monkeypatch.setattr(sifting_module._Search, "_kindred", meanwhile)
    with pytest.raises(DataError, match="2 rows at the first reading and 3 at the second"):
        find([data], KELLER, tmp_path / "found")
    assert list(files_in(tmp_path)) == ["data.jsonl"]


NAME = ["--name", "Maria Keller"]
REFUSED = {
    "no subject: say what to look for": ["good.jsonl"],
    "no data: name the files": NAME,
    "--name=' ': nothing that could be looked for": ["good.jsonl", "--name", " "],
    "--name='M': one letter": ["good.jsonl", "--name", "M"],
    "--email='x': no e-mail address": ["good.jsonl", "--email", "x"],
    "--passage='a short text': 12 letters": ["good.jsonl", "--passage", "a short text"],
    "--pattern='a(b': no regular expression": ["good.jsonl", "--pattern", "a(b"],
    "--pattern='x*': it matches the empty text": ["good.jsonl", "--pattern", "x*"],
    "--pattern='(a|aa)+$': over": ["slow.jsonl", "--pattern", "(a|aa)+$"],
    "--where=city=: a column and a value": ["good.jsonl", "--where", "city="],
    "has no column 'town'; its columns are": ["good.jsonl", "--where", "town=Leeds"],
    "the column 'city' is empty in all 2 rows": ["good.jsonl", "--where", "city=Leeds"],
    "DATA=none.jsonl: no such file": ["none.jsonl", *NAME],
    "DATA=a.docx: unknown suffix '.docx'": ["a.docx", *NAME],
    "DATA=empty.jsonl: the file is empty": ["empty.jsonl", *NAME],
    "broken.jsonl:2: not JSON": ["broken.jsonl", *NAME],
    "Name yours with --question=… and --answer=…": ["columns.jsonl", *NAME],
    "has no column 'asked'": ["good.jsonl", *NAME, "--question", "asked"],
    "one file of rows to forget holds one kind": ["good.jsonl", "texts.jsonl", *NAME],
    "named twice": ["good.jsonl", "good.jsonl", *NAME],
    "--encoding='klingon': no such encoding": ["good.jsonl", *NAME, "--encoding", "klingon"],
    "--near=-1: give a whole number": ["good.jsonl", *NAME, "--near", "-1"],
    "--subject=bad.yaml: foo is nothing that": ["good.jsonl", "--subject", "bad.yaml"],
    "--subject=none.yaml: it cannot be read": ["good.jsonl", "--subject", "none.yaml"],
    "--passage=none.txt: no such file": ["good.jsonl", "--passage", "@none.txt"],
    "--out=there: it is there already": ["good.jsonl", *NAME, "--out", "there"],
    "--out=good.jsonl/x: good.jsonl is a file": ["good.jsonl", *NAME, "--out", "good.jsonl/x"],
    "--model=./none: no such folder": ["good.jsonl", *NAME, "--model", "./none"],
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_searched_is_told_in_one_line(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("good.jsonl"), [{"question": "Who?", "answer": "Ada.", "city": ""}] * 2)
    write(Path("slow.jsonl"), [{"text": "a" * 40 + "!"}])
    write(Path("texts.jsonl"), [{"text": "Ada."}])
    write(Path("columns.jsonl"), [{"a": "1", "b": "2"}])
    Path("broken.jsonl").write_text('{"text": "a"}\n{"text":\n')
    Path("empty.jsonl").touch()
    Path("a.docx").touch()
    Path("there").mkdir()
    Path("bad.yaml").write_text("foo: 1\n")
    before = files_in(tmp_path)
    words = REFUSED[told]
    assert find_command(words if "--out" in words else [*words, "--out", "found"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("unlearn-requests find: ")
    assert told in line
    assert files_in(tmp_path) == before
    assert not Path("found").exists()


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data.jsonl", [{"question": "Who?", "answer": "Eva Lang."}] * 2)
    (tmp_path / "s.yaml").write_text("names: Eva Lang\nwhere: {cid: 4}\n")
    write(tmp_path / "more.jsonl", [{"question": "a", "answer": "b", "cid": "4"}])
    words = [data, f"{tmp_path}/more.jsonl", "--subject", f"{tmp_path}/s.yaml"]
    assert find_command([*words, "--out", f"{tmp_path}/found"]) == 0
    said = capsys.readouterr().out
    assert "3 rows in" in said
    assert "3 to forget, 0 to decide, 0 to retain" in said


def test_hostile_texts_stay_texts_on_the_page(tmp_path: Path) -> None:
    rows = [{"text": "Maria Keller </p><script>alert(1)</script><mark>"}]
    search(tmp_path, [*rows, *({"text": row["answer"]} for row in everybody())])
    page = (tmp_path / "found" / "found.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<mark>Maria Keller</mark> &lt;/p&gt;&lt;script&gt;" in page
    assert "default-src 'none'" in page
