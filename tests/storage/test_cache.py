"""An entry of the cache is made once, however many ask for it, and made anew where it is broken."""

from __future__ import annotations

import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.command import files_in

from unlearn.errors import ConfigurationError
from unlearn.storage import cache
from unlearn.storage.cache import entry_of, lock_of, once
from unlearn.storage.sealed import sealed_folder


def make(entry: Path) -> str:
    with sealed_folder(entry) as unfinished:
        (unfinished / "value").write_text("value")
    return "value"


def read(entry: Path) -> str:
    return (entry / "value").read_text()


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole entry of a cache."""
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    entry = entry_of("kind", "it")
    assert once(entry, "it", read, make) == "value"
    return entry


@pytest.fixture
def read_only(entry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same where this user may not write, as who runs the tests may be the superuser."""
    access, room = os.access, entry.parents[1]

    def asked(path: Path, mode: int) -> bool:
        return not (mode & os.W_OK and room in (path, *path.parents)) and access(path, mode)

    monkeypatch.setattr(os, "access", asked)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(room.parent))
    return entry


def test_an_entry_is_made_once_however_many_ask_at_a_time(tmp_path: Path) -> None:
    made = []

    def slowly(entry: Path) -> str:
        made.append(entry)
        time.sleep(0.1)  # long enough for the others to arrive
        return make(entry)

    def ask(_: int) -> str:
        return once(tmp_path / "kind" / "entry", "it", read, slowly)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["value"] * 4
    assert made == [tmp_path / "kind" / "entry"]


def test_an_entry_that_cannot_be_understood_is_made_anew(
    entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def other(_: Path) -> str:
        raise ValueError("half")

    with caplog.at_level(logging.WARNING):
        assert once(entry, "it", other, make) == "value"
    told = f"it: the cached one, {entry}, is broken (half) and is made anew"
    assert caplog.messages == [told]


@pytest.mark.parametrize("kind", ["a file", "a link", "an empty folder"])
def test_what_is_no_entry_gives_way_to_one(
    kind: str, entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry.rename(entry.with_name("elsewhere"))
    if kind == "a file":
        entry.touch()
    elif kind == "a link":
        entry.symlink_to("nowhere")
    else:
        entry.mkdir()
    assert once(entry, "it", read, make) == "value"
    assert "is broken (its SHA256SUMS" in caplog.text
    caplog.clear()
    assert once(entry, "it", read, lambda _: pytest.fail("made twice")) == "value"
    assert not caplog.messages
    assert entry.with_name("elsewhere").is_dir()


def test_an_entry_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    # printf '[3, "a"]' | sha256sum
    assert entry_of("sums", '[3, "a"]') == tmp_path / "sums" / "9c14eb8030f83e736314a8e5"


def test_a_read_only_cache_is_read_and_nothing_is_written(read_only: Path, tmp_path: Path) -> None:
    room = read_only.parents[1]
    before = files_in(room)
    assert once(read_only, "it", read, lambda _: pytest.fail("made")) == "value"
    missing = entry_of("kind", "another")
    assert once(missing, "it", read, make, unkept=lambda: "in memory") == "in memory"
    with pytest.raises(ConfigurationError, match="it: not in the cache; UNLEARN_CACHE: "):
        once(missing, "it", read, make)
    assert files_in(room) == before


def test_a_damaged_entry_of_a_read_only_cache_is_not_believed(
    read_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (read_only / "value").write_text("other")
    assert once(read_only, "it", read, make, unkept=lambda: "in memory") == "in memory"
    assert "its value is not as it was written) and is made anew" in caplog.text
    with pytest.raises(ConfigurationError, match="UNLEARN_CACHE"):
        once(read_only, "it", read, make)
    assert "its value is not as it was written) and is not used" in caplog.text
    assert read(read_only) == "other"


def test_locks_lie_elsewhere_where_the_cache_is_read_only(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lock_of("runs", "name")
    assert place == tmp_path / f"unlearn-{os.getuid()}" / "runs" / "name.lock"
    assert place.parent.is_dir()
    shutil.rmtree(place.parents[1])
    place.parents[1].mkdir()
    os.chmod(place.parents[1], 0o755)
    monkeypatch.setattr(os, "getuid", lambda: -2)  # somebody else's folder
    place.parents[1].rename(tmp_path / "unlearn--2")
    with pytest.raises(ConfigurationError, match="UNLEARN_CACHE"):
        lock_of("runs", "name")


def test_without_any_cache_folder_the_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="UNLEARN_CACHE: the cache folder"):
        lock_of("runs", "name")
