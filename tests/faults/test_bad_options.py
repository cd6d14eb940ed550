"""Bad options and arguments: one line, exit status 2, before any model loads, and nothing written.

The options come from the generator of tests/support/bad_options.py; each goes through the command
itself, which is stopped where a model would load. docs/faults.md says what is promised.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.bad_options import Bad, generated
from support.command import Command, Done, entries_in, files_in, row, write_rows
from support.refusals import TRACES

from unlearn.errors import UnlearnError
from unlearn.experiment.run import Run

NEXT = "every option was accepted, and models would be loaded next"
SECONDS = 20
"""No answer takes longer."""
QUICK = 50
"""So many of the generated cases are tried in every run of the tests; `make faults` tries all."""


class ReachedError(UnlearnError):
    """A run that would load models."""


@pytest.fixture
def unlearn(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a folder with rows; it ends where models would be loaded."""

    def stop(self: Run) -> None:
        raise ReachedError(NEXT)

    monkeypatch.setattr(Run, "execute", stop)
    write_rows(tmp_path / "f.jsonl", [row("Who?", "Ada."), row("When?", "In spring.")])
    write_rows(tmp_path / "r.jsonl", [row("Where?", "At sea."), row("Why?", "For tea.")])
    return Command(tmp_path)


def answered(done: Done, named: str | None) -> None:
    """Assert one line, or one for each of two files, that names the option and can be read."""
    assert "Traceback" not in done.said + done.log
    if named is None:
        assert done.status == 1 and done.said.count(NEXT) == 1, done.said
        return
    assert done.status == 2, done.said
    lines = [line for line in done.said.splitlines() if line.strip()]
    assert len(lines) == 1 or (len(lines) == 2 and "f.jsonl" in lines[0]), done.said
    assert named.rpartition(".")[2] in done.said
    assert len(max(lines, key=len)) < 1_500 and not set("\x00\x1b\u202e") & set(done.said)


def bad_options() -> list[Any]:
    cases = {case.name: case for case in generated(each=3)}
    quick = set(random.Random(0).sample(sorted(cases), QUICK))
    marks = [pytest.mark.faults, pytest.mark.slow]
    return [
        pytest.param(case, id=name, marks=[] if name in quick else marks)
        for name, case in cases.items()
    ]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("case", bad_options())
def test_an_option_is_answered_in_one_line(case: Bad, unlearn: Command, shared_cache: Any) -> None:
    before, kept = files_in(unlearn.folder), entries_in(shared_cache)
    tracker = [] if any(word.startswith("tracker") for word in case.words) else ["tracker=none"]
    done = unlearn(*case.words, *tracker)
    answered(done, case.named)
    left = done.folder.iterdir() if done.folder.exists() else ()
    if case.named:
        assert {path.name for path in left} <= TRACES
    outside = {
        name: content
        for name, content in files_in(unlearn.folder).items()
        if not name.startswith(f"{done.folder.name}/")
    }
    assert outside == before and entries_in(shared_cache) == kept
