"""An entry of the cache is made once, however many ask for it, and made anew where it is broken."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unlearn.storage.cache import entry_of, once


def test_an_entry_is_made_once_however_many_ask_at_a_time(tmp_path: Path) -> None:
    made = []

    def make(entry: Path) -> str:
        made.append(entry)
        time.sleep(0.1)  # long enough for the others to arrive
        entry.write_text("value")
        return "value"

    def ask(_: int) -> str:
        return once(tmp_path / "kind" / "entry", "it", Path.read_text, make)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["value"] * 4
    assert made == [tmp_path / "kind" / "entry"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_broken_entry_goes_and_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: bool
) -> None:
    entry = tmp_path / "entry"
    if folder:
        entry.mkdir()
        (entry / "half").touch()
    else:
        entry.write_text("half")

    def read(_: Path) -> int:
        raise ValueError("half")

    def make(place: Path) -> int:
        assert not place.exists()
        return 7

    with caplog.at_level(logging.WARNING):
        assert once(entry, "it", read, make) == 7
    assert caplog.messages == ["it: the cached one is broken (half) and is made anew"]


def test_entries_keep_the_names_that_earlier_versions_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    # printf '[3, "a"]' | sha256sum
    name = "9c14eb8030f83e736314a8e5"
    assert entry_of("sums", '[3, "a"]', ".json") == tmp_path / "sums" / f"{name}.json"
