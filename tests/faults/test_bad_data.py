"""Bad files of rows are refused in one line with status 2, before anything is trained or hangs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.bad_data import bad_data, lay_out
from support.command import AUTOCAST
from support.ended import SECONDS, beside, ended, require_one_line

from unlearn.data.muse import Muse
from unlearn.data.own_files import Files
from unlearn.data.tofu import Tofu
from unlearn.errors import ConfigurationError, DataError

CASES = bad_data()
LARGE = {
    *("parquet that unfolds", "gzip that unfolds", "rows.jsonl sparse and smaller"),
    "a data set of a pipe",
}
"""What takes a second or so to be told."""


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 120


@pytest.mark.parametrize("name", [name for name in CASES if name not in LARGE])
def test_bad_rows_are_one_line_each(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, case = lay_out(tmp_path / "data"), CASES[name]
    monkeypatch.chdir(folder)
    forget = case.make(folder)
    options = dict(option.split("=", 1) for option in case.options)
    begun = time.monotonic()
    with pytest.raises(ConfigurationError) as refused:
        Files(forget=forget, retain="retain.jsonl", **options).read()
    assert time.monotonic() - begun < SECONDS
    problems = refused.value.problems
    assert len(problems) < 25
    for problem in problems:
        assert "\n" not in problem and len(problem) < 1_500, problem
    assert case.told in str(refused.value)


@pytest.mark.parametrize("name", ["x" * 5_000, "/" + "x" * 300, "./a\0b", "y/" * 3_000])
def test_a_folder_of_a_benchmark_under_a_name_that_none_has(name: str) -> None:
    for reader in (Tofu(name), Muse(name)):
        with pytest.raises(DataError, match=r"^data\.path=.*(zero byte|names of up to)"):
            reader.read()


def test_files_of_a_benchmark_are_looked_at_as_well(tmp_path: Path) -> None:
    make = CASES["rows.json.gz a pipe"].make
    made = tmp_path / make(tmp_path)
    made.rename(tmp_path / "forget10.json")
    with pytest.raises(DataError, match=r"lacks forget10\.json"):
        Tofu(str(tmp_path)).read()


@pytest.mark.faults
@pytest.mark.parametrize("name", CASES)
def test_the_command_ends_in_one_line(name: str, tmp_path: Path) -> None:
    folder, case = lay_out(tmp_path / "data"), CASES[name]
    forget = case.make(folder)
    odd = [path for path in folder.rglob("*") if not (path.is_file() or path.is_dir())]
    before = {} if odd or "sparse" in name else beside(folder)
    words = ("data=files", f'data.forget="{forget}"', "data.retain=retain.jsonl", "tracker=none")
    options = (f"data.{option}" for option in case.options)
    done = ended(*words, AUTOCAST, *options, cwd=folder)
    require_one_line(done)
    assert case.told in done.said
    assert not before or beside(folder) == before
