"""The book of a ledger: whoever changes a byte of it is found out, wherever it stands."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest

from unlearn.errors import ConfigurationError
from unlearn.requests.book import BOOK, Book, writing_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    book = Book(tmp_path / BOOK)
    with writing_in(tmp_path):
        book.append("started", {"model": {"path": "bot", "sha256": "ab"}, "salt": "s"})
        book.append("added", {"id": "R-1", "reason": "削除 “please”", "hashes": ["1", "2"]})
        book.append("accepted", {"ids": ["R-1"], "share": 0.5, "none": None})
    return tmp_path


def test_what_was_written_is_read(folder: Path) -> None:
    book = Book.read(folder)
    assert [event.kind for event in book.events] == ["started", "added", "accepted"]
    assert book.events[1]["reason"] == "削除 “please”"
    assert [event.number for event in book.of("added", "accepted")] == [2, 3]


def test_a_line_holds_the_sha256_of_the_line_before(folder: Path) -> None:
    lines = (folder / BOOK).read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        body = before[: before.rindex(', "sha256": ')]
        assert json.loads(line)["before"] == hashlib.sha256(body.encode()).hexdigest()


def test_every_flipped_byte_is_found_in_its_line(folder: Path) -> None:
    good = (folder / BOOK).read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= (0x01, 0x20, 0x80)[place % 3]
        (folder / BOOK).write_bytes(bad)
        with pytest.raises(ConfigurationError) as error:
            Book.read(folder)
        line = good[:place].count(b"\n") + 1
        assert f"{BOOK}:{line}: " in str(error.value), place


@pytest.mark.parametrize("lines", [[0, 2], [1, 0, 2], [0, 1, 1, 2], [1, 2]], ids=str)
def test_lines_that_are_missing_doubled_or_elsewhere_are_found(
    folder: Path, lines: list[int]
) -> None:
    there = (folder / BOOK).read_bytes().splitlines(keepends=True)
    (folder / BOOK).write_bytes(b"".join(there[n] for n in lines))
    with pytest.raises(ConfigurationError, match="does not follow the line before it"):
        Book.read(folder)


@pytest.mark.parametrize("tail", [b"\n", b"{}\n", b"x", b'{"number": 4}\n'])
def test_what_stands_behind_the_last_line_is_found(folder: Path, tail: bytes) -> None:
    with (folder / BOOK).open("ab") as file:
        file.write(tail)
    with pytest.raises(ConfigurationError, match=":4: it is not as it was written"):
        Book.read(folder)


def test_without_its_last_bytes_it_is_broken(folder: Path) -> None:
    good = (folder / BOOK).read_bytes()
    last = good.rindex(b"\n", 0, -1) + 1
    for end in range(last + 1, len(good)):
        (folder / BOOK).write_bytes(good[:end])
        with pytest.raises(ConfigurationError, match=":3: it is not as it was written"):
            Book.read(folder)


def test_a_line_that_could_not_be_written_leaves_the_book_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (folder / BOOK).read_bytes()

    def full(self: Path, _: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=BOOK):
        Book.read(folder).append("added", {})
    assert (folder / BOOK).read_bytes() == good
    assert [path.name for path in folder.iterdir()] == [BOOK]
