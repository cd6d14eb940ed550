"""Bad options and arguments: one line, exit status 2, before any model loads, and nothing written.

The options come from the generator of tests/support/bad_options.py; each goes through the command
itself, which is stopped where a model would load. docs/faults.md says what is promised.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from support.bad_options import (
    CLEAN,
    COMPARE,
    EVALUATE,
    MEANT,
    UNREAD,
    WHOLE,
    Bad,
    generated,
)
from support.command import Command, Done, entries_in, files_in, row, write_rows
from support.doors import door
from support.hostile import whole_record
from support.refusals import TRACES

from unlearn.errors import UnlearnError
from unlearn.experiment.run import Run

NEXT = "every option was accepted, and models would be loaded next"
SECONDS = 20
"""No answer takes longer."""
QUICK = 30
"""So many of the generated cases are tried in every run of the tests; `make faults` tries all."""


class ReachedError(UnlearnError):
    """A run that would load models."""


@pytest.fixture
def unlearn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a folder with rows; it ends where models would be loaded."""

    def stop(self: Run) -> None:
        raise ReachedError(NEXT)

    monkeypatch.setattr(Run, "execute", stop)
    lay_out(tmp_path)
    return Command(tmp_path)


def lay_out(folder: Path) -> None:
    """Write rows, good and bad ones, and a folder that looks like a model's."""
    write_rows(folder / "f.jsonl", [row("Who?", "Ada."), row("When?", "In spring.")])
    write_rows(folder / "r.jsonl", [row("Where?", "At sea."), row("Why?", "For tea.")])
    (folder / "twice.jsonl").write_text('{"question": "A?", "answer": "b", "answer": "c"}\n')
    (folder / "array.json").write_text('[{"answer": "b", "answer": "c"}]')
    (folder / "wrapped.json").write_text('{"data": [], "data": [{"question": "A?"}]}')
    write_rows(folder / "zero.jsonl", [row("A?", "\u200b\u2060\u3164")])
    (folder / "m").mkdir()
    shape = {"model_type": "llama", "num_hidden_layers": 2}
    (folder / "m" / "config.json").write_text(json.dumps(shape))


def in_one_line(status: int, said: str, *fragments: str) -> None:
    """Assert a refusal in one line, or one for each of two files, after argparse's usage."""
    assert status == 2, said
    assert "Traceback" not in said and not set("\x00\x1b\u202e") & set(said)
    lines = [line for line in said.splitlines() if line.strip()]
    if lines[0].startswith("usage: "):
        lines = lines[-1:]
    assert len(lines) == 1 or (len(lines) == 2 and "f.jsonl" in lines[0]), said
    assert all(fragment in said for fragment in fragments), said
    assert len(max(lines, key=len)) < 1_500


def answered(done: Done, named: str | None) -> None:
    """Assert a refusal that names the option, or where it means something, that models are next."""
    if named is None:
        assert done.status == 1 and done.said.count(NEXT) == 1, done.said
        return
    in_one_line(done.status, done.said, named.rpartition(".")[2])


def bad_options() -> list[Any]:
    cases = {case.name: case for case in generated(each=3)}
    quick = set(random.Random(0).sample(sorted(cases), QUICK))
    marks = [pytest.mark.faults, pytest.mark.slow]
    return [
        pytest.param(case, id=name, marks=[] if name in quick else marks)
        for name, case in cases.items()
    ]


def sent(unlearn: Command, words: tuple[str, ...], cache: Path) -> Done:
    """Run a command and assert that it changed nothing but its own folder, where it left traces."""
    before, kept = files_in(unlearn.folder), entries_in(cache)
    quiet = [] if any(word.startswith("tracker") for word in words) else ["tracker=none"]
    done = unlearn(*words, *quiet)
    own = f"{done.folder.name}/"
    files = files_in(unlearn.folder)
    assert {name: files[name] for name in files if not name.startswith(own)} == before
    assert entries_in(cache) == kept
    if done.status == 2 and done.folder.exists():
        assert {path.name for path in done.folder.iterdir()} <= TRACES
    return done


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("case", bad_options())
def test_an_option_is_answered_in_one_line(case: Bad, unlearn: Command, empty_cache: Path) -> None:
    answered(sent(unlearn, case.words, empty_cache), case.named)


def some(cases: Any, each: int = 4) -> list[Any]:
    """Return the cases, of which one in `each` is tried in every run of the tests."""
    marks = [pytest.mark.faults, pytest.mark.slow]
    return [
        pytest.param(case, marks=marks if number % each else [])
        for number, case in enumerate(cases)
    ]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("told", some(WHOLE))
def test_a_command_is_answered_in_one_line(told: str, unlearn: Command, empty_cache: Path) -> None:
    done = sent(unlearn, WHOLE[told], empty_cache)
    in_one_line(done.status, done.said, told)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("told", some(UNREAD))
def test_what_nothing_reads_is_named_in_one_line(
    told: str, unlearn: Command, empty_cache: Path
) -> None:
    done = sent(unlearn, UNREAD[told], empty_cache)
    assert done.status == 1 and NEXT in done.said, done.said
    (line,) = (line for line in done.said.splitlines() if "read by nothing here" in line)
    assert " WARNING " in line and told in line


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("words", some(MEANT))
def test_what_is_read_is_not_spoken_of(
    words: tuple[str, ...], unlearn: Command, empty_cache: Path
) -> None:
    done = sent(unlearn, words, empty_cache)
    assert done.status == 1 and NEXT in done.said, done.said
    assert "read by nothing here" not in done.said


def test_the_jobs_of_a_sweep_are_not_warned(unlearn: Command) -> None:
    """They all get the same options, of which not each job has a use."""
    done = unlearn("-m", "method=none", "training.steps=5", "tracker=none")
    (line,) = (line for line in done.said.splitlines() if "read by nothing here" in line)
    assert " INFO " in line and "training.steps" in line


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, which no command here may change."""
    folder = tmp_path_factory.mktemp("runs")
    whole_record(folder / "run")
    lay_out(folder)
    return folder


def refused_at(module: str, runs: Path, words: tuple[str, ...], told: str) -> None:
    before = files_in(runs)
    status, said = door(module, runs, *words)
    in_one_line(status, said, told)
    assert files_in(runs) == before


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("told", some(COMPARE))
def test_a_comparison_is_refused_in_one_line(told: str, runs: Path) -> None:
    refused_at("compare", runs, COMPARE[told], told)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("told", some(EVALUATE))
def test_an_evaluation_is_refused_in_one_line(told: str, runs: Path) -> None:
    refused_at("evaluate", runs, EVALUATE[told], told)


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("told", CLEAN)
def test_nothing_is_erased_where_a_folder_is_no_runs(told: str, runs: Path) -> None:
    refused_at("run", runs, ("--clean", *CLEAN[told]), told)


def test_there_are_enough_of_them() -> None:
    options = [case for case in generated(each=3) if case.named] + list(WHOLE)
    assert len(options) + len(COMPARE) + len(EVALUATE) + len(CLEAN) >= 400
