"""A streamed file has the rows and the places that the reader of the whole file finds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from unlearn.data import streams
from unlearn.data.own_sources import read_source
from unlearn.errors import DataError

ROWS = [
    {"question": "Wer?", "answer": "Jürgen,\nder „Bäcker“; sagt\u2028man"},
    {"question": "誰?", "answer": "渡邊\ttaro"},
    {"question": 'A "quoted" one', "answer": "x" * 200},
]


def lines(rows: list[dict[str, str]]) -> bytes:
    return "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode() + b"\n"


def delimited(divider: str, end: str = "\n") -> bytes:
    cells = [[cell.replace('"', '""') for cell in row.values()] for row in ROWS]
    body = end.join(divider.join(f'"{cell}"' for cell in row) for row in cells)
    return f"question{divider}answer{end}{body}{end}".encode()


STREAMED = {
    "a.jsonl": lines(ROWS),
    "bom.jsonl": b"\xef\xbb\xbf" + lines(ROWS),
    "lines.json": lines(ROWS),
    "data.jsonl": lines([{"text": "x", "data": ["y"]}, {"text": "z", "data": ["u"]}]),  # type: ignore[dict-item]
    "a.csv": delimited(","),
    "windows.csv": delimited(",", "\r\n"),
    "semicolons.csv": delimited(";"),
    "told.csv": b"sep=;\n" + delimited(";"),
    "a.tsv": delimited("\t"),
    "a.txt": "eins\nzwei\n\n\ndrei \u2028 vier\r\n\r\nfünf".encode(),
    "packed.jsonl.gz": gzip.compress(lines(ROWS)),
    "packed.csv.gz": gzip.compress(delimited(",")),
}
WHOLE = {
    "array.json": json.dumps(ROWS).encode(),
    "wrapped.json": json.dumps({"data": ROWS}).encode(),
    "wrapped_lines.json": json.dumps({"data": ROWS}, indent=1).encode(),
    "japan.csv": "質問,回答\n誰ですか,田中さんです\nいつですか,三月です\n".encode("cp932"),
    "wide.csv": delimited(",").decode().encode("utf-16"),
}


@pytest.mark.parametrize("name", [*STREAMED, *WHOLE])
def test_a_stream_has_what_the_whole_file_has(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((STREAMED | WHOLE)[name])
    stream, table = streams.open_stream(str(path), "DATA"), read_source(str(path), "DATA")
    for _ in range(2):  # it begins anew
        found = list(stream.records())
        assert [record for _, record in found] == table.records
        assert [place for place, _ in found] == table.places
    assert stream.peeked().columns == table.columns


def test_parquet_is_streamed_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(ROWS), path)
    found = list(streams.open_stream(str(path), "DATA").records())
    table = read_source(str(path), "DATA")
    assert found == list(zip(table.places, table.records, strict=True))


@pytest.mark.parametrize("name", STREAMED)
def test_what_is_streamed_is_never_read_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(STREAMED[name])
    monkeypatch.setattr(streams, "read_source", lambda *_: pytest.fail("read whole"))
    assert list(streams.open_stream(str(tmp_path / name), "DATA").records())


def test_an_encoding_that_is_named_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("frage,antwort\nWer?,Jürgen\n".encode("cp1252"))
    (found,) = streams.open_stream(str(path), "DATA", "cp1252").records()
    assert found == (f"{path}:2", {"frage": "Wer?", "antwort": "Jürgen"})


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", lines(ROWS) + b"{broken\n", "a.jsonl:6: not JSON"),
        ("a.jsonl", b"", "is empty"),
        ("a.csv", delimited(",") + b"one cell\n", "1 cells under a header of 2"),
        ("a.jsonl.gz", gzip.compress(lines(ROWS * 90_000))[:-9], "not a readable gzip file"),
        ("a.parquet", b"PAR1 nothing", "not a readable Parquet file"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git-LFS"),
    ],
)
def test_a_broken_file_is_told_in_one_line(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        list(streams.open_stream(str(path), "DATA").records())
    assert told in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_text_that_is_no_utf_8_after_its_beginning_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(ROWS) * 5000 + b'{"question": "\xff", "answer": "x"}\n')
    assert path.stat().st_size > streams.SAMPLE
    with pytest.raises(DataError, match="although its beginning is"):
        list(streams.open_stream(str(path), "DATA").records())
