"""`unlearn-requests run`, killed at moments drawn by a seed, goes on to the same head."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command import AUTOCAST
from support.forked import Forked
from support.killing import Draw, Kind, cut_after, require_nothing_left, tally
from support.ledgers import ASKED, options, undrawn

from unlearn.data.splits import Row
from unlearn.requests import Ledger, Status

COMMAND = "unlearn.commands.requests"


@pytest.mark.slow
@pytest.mark.parametrize(
    "cuts", [pytest.param(2, id="two"), pytest.param(10, id="ten", marks=pytest.mark.faults)]
)
def test_a_run_killed_anywhere_goes_on_to_the_same_head(tmp_path: Path, cuts: int) -> None:
    begun = Ledger.start(tmp_path / "begun", options(tmp_path) | {"training": {"steps": 6}})
    requests = 1 if cuts == 2 else 2  # the first ones of all are for every test run
    for number in range(requests):
        begun.add(f"R{number}", [Row(*ASKED[number])])
    shutil.copytree(begun.folder, tmp_path / "uncut")
    with undrawn():
        Ledger(tmp_path / "uncut").run()
    uncut, draw, done = Ledger(tmp_path / "uncut"), Draw(cuts), 0
    words = ("run", str(begun.folder))
    while Status.open in begun.status().values():
        process = Forked(*words, cwd=tmp_path, said=tmp_path / "said", command=COMMAND)
        if done < cuts:
            cut = cut_after(draw.randint(1, 60), process, [begun.folder], Kind.kill)
            done += cut
            tally["requests, SIGKILL"] += cut
        else:
            ended = process.finish(begun.folder)
            assert ended.status == 0, ended.err
    assert done
    assert begun.verify() == []
    assert begun.head.sha256 == uncut.head.sha256, AUTOCAST
    assert [event.kind for event in begun.book.of("accepted", "failed")] == ["accepted"] * requests
    require_nothing_left(begun.folder)
