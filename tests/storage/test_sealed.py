"""A sealed folder tells every file that is not as it was written, and the file is read once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn.storage import sealed
from unlearn.storage.sealed import damage_if_sealed, damage_of, file_sha256, sealed_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with sealed_folder(tmp_path / "entry") as unfinished:
        (unfinished / "one.json").write_text('{"value": 1}')
        (unfinished / "below").mkdir()
        (unfinished / "below" / "two").write_bytes(bytes(1000))
    return tmp_path / "entry"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_sha256sum_asks_the_same(folder: Path) -> None:
    assert damage_of(folder) is None
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
    flip(folder / "below" / "two")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: flip(f / "one.json"), "its one.json is not as it was written"),
        (lambda f: os.truncate(f / "below" / "two", 999), "its below/two is not as it was written"),
        (lambda f: (f / "one.json").unlink(), "its one.json is missing"),
        (lambda f: (f / "three").touch(), "three was not written there"),
        (lambda f: (f / "SHA256SUMS").unlink(), "its SHA256SUMS is missing"),
        (lambda f: os.truncate(f / "SHA256SUMS", 0), "its SHA256SUMS is not as it was written"),
        (lambda f: os.truncate(f / "SHA256SUMS", 99), "its SHA256SUMS is not as it was written"),
        (lambda f: (f / "SHA256SUMS").write_bytes(b"\xff"), "its SHA256SUMS cannot be read"),
        (lambda f: f.rename(f.with_name("other")), "its SHA256SUMS is that of 'entry'"),
    ],
)
def test_every_damage_is_told_by_its_file(
    folder: Path, damage: Callable[[Path], Any], told: str
) -> None:
    damage(folder)
    found = damage_of(folder if folder.exists() else folder.with_name("other"))
    assert found is not None
    assert found.startswith(told)


def test_hidden_files_are_of_no_account(folder: Path) -> None:
    (folder / ".nfs000").touch()
    assert damage_of(folder) is None


def test_a_copy_under_another_name_is_sound_where_the_name_is_free(folder: Path) -> None:
    copy = Path(shutil.copytree(folder, folder.with_name("copy")))
    assert damage_if_sealed(copy) is None
    flip(copy / "one.json")
    assert damage_if_sealed(copy) == "its one.json is not as it was written"
    (copy / "SHA256SUMS").write_text("0" * 64 + "  one.json\n")  # somebody else's list
    assert damage_if_sealed(copy) is None


def test_a_file_is_read_once_as_long_as_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    digest = sealed.hashlib.file_digest
    monkeypatch.setattr(
        sealed.hashlib, "file_digest", lambda *told: reads.append(1) or digest(*told)
    )
    file = tmp_path / "file"
    file.write_bytes(bytes(100))
    time.sleep(0.1)  # a change within a tick of the clock has the same times
    first = file_sha256(file)
    assert file_sha256(file) == first
    assert len(reads) == 1
    file.rename(tmp_path / "renamed")
    file_sha256(tmp_path / "renamed")
    flip(tmp_path / "renamed")
    assert file_sha256(tmp_path / "renamed") != first


def test_a_change_right_after_reading_is_seen(tmp_path: Path) -> None:
    for number in range(200):
        file = tmp_path / "file"
        file.write_bytes(bytes(100))
        times = os.stat(file)
        first = file_sha256(file)
        flip(file)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert file_sha256(file) != first, number
