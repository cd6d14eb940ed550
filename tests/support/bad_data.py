"""Files of rows with which something is wrong, in every format, and names that no file has.

Each case makes what `data.forget` then names, in a folder that holds good files already.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from support import tiny
from support.bad_models import DEEP, DIGITS, LFS, sparse
from support.command import row, write_rows

GOOD = [row(r.question, r.answer) for r in tiny.ROWS]
LINE = json.dumps(GOOD[0]) + "\n"


@dataclass(frozen=True)
class Bad:
    """A way in which data are bad, and what is said of it."""

    make: Callable[[Path], str]
    """Makes it in a folder; returns the value of `data.forget`."""
    told: str = ""
    options: tuple[str, ...] = ()
    """Further options of `data`, such as `encoding=rot13`."""


def lay_out(folder: Path) -> Path:
    """Write rows to forget and to retain that are as they should be."""
    folder.mkdir()
    write_rows(folder / "good.jsonl", GOOD[:3])
    write_rows(folder / "retain.jsonl", GOOD[4:])
    return folder


def file(name: str, content: str | bytes | Callable[[], bytes]) -> Callable[[Path], str]:
    """Write a file; what takes seconds to make is given as a function, and made where wanted."""

    def make(folder: Path) -> str:
        data = content() if callable(content) else content
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return name

    return make


def placed(name: str, make: Callable[[Path], Any]) -> Callable[[Path], str]:
    """Put something under a name."""

    def made(folder: Path) -> str:
        make(folder / name)
        return name

    return made


def named(name: str) -> Callable[[Path], str]:
    """Name what is not there."""
    return lambda folder: name


def of_names() -> Iterator[tuple[str, Bad]]:
    for what, name in {
        "of 5,000 letters": "x" * 5_000 + ".jsonl",
        "in a folder of 5,000 letters": "x" * 5_000 + "/a.jsonl",
        "of 300 letters": "x" * 300 + ".jsonl",
        "a path of 5,000 letters": "x/" * 2_500 + "a.jsonl",
        "of 300 Japanese letters": "あ" * 300 + ".jsonl",
        "beginning with a slash and long": "/" + "x" * 300,
        "long and of no kind": "y" * 300,
        "in a file": "good.jsonl/rows.jsonl",
        "of nothing": "nowhere.jsonl",
        "of nobody's home": "~nobody_is_called_so/rows.jsonl",
        "that goes up": "../" * 200 + "nowhere.jsonl",
        "of a device": "/dev/zero",
    }.items():
        yield f"a name {what}", Bad(named(name), "data.forget")
    for name in ("rows.jsonl", "rows.csv", "rows.txt", "rows.parquet", "rows.json.gz"):
        yield f"{name} a pipe", Bad(placed(name, os.mkfifo), "no regular file")
        yield f"{name} sparse", Bad(placed(name, sparse), "has 1,073,741,824 bytes")
    for what, make in {
        "a folder": Path.mkdir,
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a link to nothing": lambda path: path.symlink_to("nowhere"),
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "sparse and smaller": lambda path: sparse(path, 300 * 2**20),
    }.items():
        yield f"rows.jsonl {what}", Bad(placed("rows.jsonl", make), "rows.jsonl")

    def of_pipes(folder: Path) -> str:
        (folder / "set").mkdir()
        (folder / "set" / "README.md").write_text("# A set\n")
        os.mkfifo(folder / "set" / "train.jsonl")
        return "set"

    yield "a data set of a pipe", Bad(of_pipes, "no regular file")

    def of_nothing(folder: Path) -> str:
        (folder / "set").mkdir()
        return "set"

    yield "a folder of nothing", Bad(of_nothing, "data.forget=set")

    def of_bad_lines(folder: Path) -> str:
        (folder / "set").mkdir()
        (folder / "set" / "README.md").write_text("---\nconfigs: [*a]\n---\n")
        (folder / "set" / "train.jsonl").write_text("{")
        return "set"

    yield "a data set with a broken card", Bad(of_bad_lines, "data.forget=set")


def of_json() -> Iterator[tuple[str, Bad]]:
    for what, text in {
        "empty": "",
        "of white space": " \n\t\n",
        "no JSON": "question, answer",
        "cut": LINE + LINE[:30],
        "a number a line": "1\n2\n",
        "a text a line": '"a"\n',
        "null": "null\n",
        "lists": "[1]\n[2]\n",
        "deep": '{"question":' * DEEP,
        "deep and whole": '{"question": "a", "answer": ' + "[" * 900 + "]" * 900 + "}\n",
        "a long number": '{"question": "a?", "answer": ' + DIGITS + "}\n",
        "numbers": '{"question": 1, "answer": 2}\n',
        "NaN": '{"question": "a?", "answer": NaN}\n',
        "null cells": '{"question": null, "answer": null}\n',
        "lists of nothing": '{"question": [], "answer": {}}\n',
        "blank": '{"question": "a?", "answer": "  "}\n',
        "half a letter": '{"question": "a?", "answer": "\\ud800 b"}\n',
        "other columns": '{"a": "b", "c": "d"}\n',
        "no column": "{}\n{}\n",
        "ten thousand columns": json.dumps({f"column {n}": "x" for n in range(10_000)}) + "\n",
        "turns of nobody": '{"messages": [{"role": "king", "content": "x"}]}\n',
        "turns that are numbers": '{"messages": [1, 2]}\n',
        "turns without content": '{"messages": [{"role": "user"}]}\n',
        "turns of many roles": "".join(
            json.dumps({"messages": [{"role": f"r{n}", "content": "x"}]}) + "\n"
            for n in range(2_000)
        ),
        "that retain holds": json.dumps(GOOD[5]) + "\n",
        "trailing commas": '{"question": "a?", "answer": "b",}\n',
        "single quotes": "{'question': 'a?', 'answer': 'b'}\n",
        "an answer of no letter": '{"question": "a?", "answer": ""}\n',
        "wrong answers of numbers": '{"question":"a?","answer":"b","perturbed_answer":[1]}\n',
        "wrong answers of nothing": '{"question":"a?","answer":"b","perturbed_answer":[]}\n',
    }.items():
        told = "forget" if what in ("half a letter", "that retain holds") else "rows.jsonl"
        yield f"lines {what}", Bad(file("rows.jsonl", text), told)
    for what, text in {
        "cut": "[" + LINE + ",",
        "empty": "[]",
        "deep": "[" * DEEP,
        "of numbers": "[1, 2]",
        "of a long number": f"[{DIGITS}]",
        "under data, of nothing": '{"data": []}',
        "under data, a number": '{"data": 5}',
        "under data, deep": '{"data": ' + "[" * DEEP,
        "an object of columns": '{"question": ["a"], "answer": ["b"]}',
    }.items():
        yield f"an array {what}", Bad(file("rows.json", text), "rows.json")


def of_cells() -> Iterator[tuple[str, Bad]]:
    for what, text in {
        "empty": "",
        "a header alone": "question,answer\n",
        "of too many cells": "question,answer\na,b,c\n",
        "of too few cells": "question,answer\na\n",
        "a quote without end": 'question,answer\n"a,b\n',
        "a name twice": "question,answer,answer\na,b,c\n",
        "ten thousand columns twice": ",".join(["question"] * 10_000) + "\n",
        "zero bytes": "question,answer\na,b\0\0\0\0c\n",
        "blank cells": "question,answer\na, \n",
        "turns that are broken": "messages\n" + '"[{""role"": "\n',
        "deep turns": "messages\n" + "[" * DEEP + "\n",
        "turns of a long number": f"messages\n[{DIGITS}]\n",
        "no header": "Where is it?,Here.\n",
        "other columns": "a,b\n1,2\n",
    }.items():
        yield f"cells {what}", Bad(file("rows.csv", text), "rows.csv")
    yield "tabs that are commas", Bad(file("rows.tsv", "question,answer\na,b\n"), "rows.tsv")
    yield "a text of nothing", Bad(file("rows.txt", "\n\n \n"), "rows.txt")
    yield "a suffix that nobody knows", Bad(file("rows.xml", "<a/>"), "rows.xml")
    yield "a suffix of YAML", Bad(file("rows.yaml", "- question: a\n"), "rows.yaml")
    yield "a suffix of pickles", Bad(file("rows.pkl", b"\x80\x04N."), "rows.pkl")
    yield "no suffix", Bad(file("rows", LINE), "rows")


def of_bytes() -> Iterator[tuple[str, Bad]]:
    for what, content in {
        "no letter": LINE.encode() + b'{"question": "\xff\xfe\xfd"}\n',
        "binary": bytes(range(256)) * 40,
        "zeros": bytes(100_000),
        "a pointer": LFS.encode(),
        "UTF-16 cut in a letter": b"\xff\xfe" + LINE.encode("utf-16-le")[:-1],
        "UTF-32 that is none": b"\xff\xfe\0\0abcde",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
        "compressed without saying so": gzip.compress(LINE.encode()),
        "a byte order mark alone": b"\xef\xbb\xbf",
    }.items():
        yield f"bytes {what}", Bad(file("rows.jsonl", content), "rows.jsonl")
    for name in ("rot13", "nonsense", "hex", "x" * 5_000, "undefined", "base64", "idna", "ascii"):
        yield (
            f"encoding {name[:20]}",
            Bad(
                file("rows.jsonl", '{"question": "é?", "answer": "ö"}\n'), "", (f"encoding={name}",)
            ),
        )
    whole = gzip.compress(LINE.encode())
    for what, content in {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "none": b"no gzip at all",
        "of another kind inside": gzip.compress(b"\x89PNG\r\n\x1a\n\xff\xfe"),
        "with a broken sum": whole[:-8] + b"\0" * 8,
        "that unfolds": lambda: gzip.compress(bytes(2**20) * 520, 1),
    }.items():
        yield f"gzip {what}", Bad(file("rows.jsonl.gz", content), "rows.jsonl.gz")


def table(**columns: list[Any]) -> bytes:
    """A Parquet file of columns."""
    made = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), made)
    return made.getvalue()


def of_tables() -> Iterator[tuple[str, Bad]]:
    whole = table(question=["a?"], answer=["b"])
    for what, content in {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "none": b"PAR1 nothing PAR1",
        "a pointer": LFS.encode(),
        "of numbers": table(question=[1], answer=[2]),
        "without rows": table(question=[], answer=[]),
        "of nulls": table(question=[None], answer=[None]),
        "of bytes": table(question=[b"\xff"], answer=[b"\xff"]),
        "of other columns": table(a=["a"], b=["b"]),
        "that unfolds": lambda: table(question=["a" * 2**20] * 600, answer=["b"] * 600),
        "with a broken middle": whole[:8] + bytes(40) + whole[48:],
    }.items():
        yield f"parquet {what}", Bad(file("rows.parquet", content), "rows.parquet")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/workbook.xml", "<workbook")
    for what, content in {
        "empty": b"",
        "none": b"no workbook",
        "cut": packed.getvalue()[:60],
        "of broken XML": packed.getvalue(),
    }.items():
        yield f"workbook {what}", Bad(file("rows.xlsx", content), "rows.xlsx")


def bad_data() -> dict[str, Bad]:
    """Every case by its name."""
    return dict([*of_names(), *of_json(), *of_cells(), *of_bytes(), *of_tables()])
