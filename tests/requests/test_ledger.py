"""A ledger from the first request to the erased texts; one of them serves most tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from support.command import files_in
from support.ledgers import ASKED, LATER, save_model, undrawn

from unlearn.data.request_rows import read_rows
from unlearn.data.splits import Row
from unlearn.errors import ConfigurationError
from unlearn.requests import Ledger, Status
from unlearn.requests.conditions import not_coming_back
from unlearn.storage.cache import lock_of
from unlearn.storage.weights import hash_weights

NEW = [Row("Who is Ida Berg?", "A cook.")]


def test_requests_are_open_due_overdue_done_or_failed(ledger: Ledger) -> None:
    known = ledger.status()
    assert known == {"A": Status.done, "B": Status.done, "C": Status.due, "D": Status.open}
    assert ledger.status(LATER + timedelta(days=1))["D"] is Status.overdue
    assert ledger.status(LATER + timedelta(days=1))["A"] is Status.done


def test_the_head_is_the_newest_accepted_model(ledger: Ledger) -> None:
    accepted = ledger.requests["B"].accepted
    assert accepted["run"] == "requests/B/run-2", "the refused one left the head where it was"
    assert ledger.head.path == (ledger.folder / "requests/B/run-2/model").absolute()
    assert ledger.head.sha256 == hash_weights(ledger.head.path) == accepted["model"]["sha256"]
    refused = next(ledger.book.of("refused"))
    assert refused["head"] == accepted["head"] == ledger.requests["A"].accepted["model"]["sha256"]


def test_rows_of_earlier_requests_are_measured_in_every_stage_and_may_not_come_back(
    ledger: Ledger,
) -> None:
    accepted = ledger.requests["B"].accepted
    for stage in ("before", "after", "reference"):
        assert "forgotten/probability" in accepted["metrics"][stage]
    known = {one["metric"]: one for one in accepted["verdict"]["conditions"]}
    then = ledger.requests["A"].accepted["metrics"]["after"]
    for name in ("probability", "rougeL_recall"):
        bound = known[f"forgotten/{name}"]["bound"]
        assert bound == pytest.approx(then[f"forget/{name}"] + 0.1, abs=1e-4)
    assert "forgotten/probability" not in ledger.requests["A"].accepted["metrics"]["after"]


def test_nothing_that_anybody_asked_to_forget_is_kept(ledger: Ledger) -> None:
    """The training data hold all rows but A's; beside them stands what came with the request."""
    run = ledger.folder / ledger.requests["B"].accepted["run"]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    measured = summary["provenance"]["evaluation"]["rows"]
    assert measured == {"forget": 2, "retain": len(ASKED[4:]) + 1, "forgotten": 2}


def test_what_came_out_earlier_is_a_mean_over_rows(ledger: Ledger) -> None:
    one, two = ledger.requests["A"], ledger.requests["B"]
    values = [r.accepted["metrics"]["after"]["forget/probability"] for r in (one, two)]
    (bound,) = [c for c in not_coming_back([one, two]) if c["metric"] == "forgotten/probability"]
    assert bound["at_most"] == pytest.approx(sum(values) / 2 + 0.1, abs=1e-4)
    assert not_coming_back([]) == []


def test_everything_is_as_it_was_written(ledger: Ledger) -> None:
    assert ledger.verify() == []


def test_a_flipped_byte_in_any_file_is_found(copy: Ledger) -> None:
    """One byte of each file, in its middle; the book has a test of its own for every byte."""
    names = list(files_in(copy.folder))
    assert len(names) > 60
    for name in names:
        path = copy.folder / name
        if path.is_dir() or not (good := path.read_bytes()):
            continue
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 0x01
        path.write_bytes(bad)
        found = copy.verify()
        assert found, name
        assert any(Path(name).name in told or "ledger.jsonl" in told for told in found), (
            name,
            found,
        )
        path.write_bytes(good)
    assert copy.verify() == []


BAD: dict[str, tuple[Callable[[Ledger], Any], str]] = {
    "unknown id": (lambda at: at.run(["nobody"]), "no request 'nobody' is recorded here"),
    "done already": (lambda at: at.run(["A"]), "'A' is forgotten already, since"),
    "name twice": (lambda at: at.add("C", [Row("q", "new")]), "'C' is recorded already"),
    "no name": (lambda at: at.add("../x", [Row("q", "new")]), "id: '../x'; allowed"),
    "due in the past": (
        lambda at: at.add("E", NEW, due="2020-02-02"),
        "due: 2020-02-02 is",
    ),
    "no day": (lambda at: at.add("E", NEW, due="soon"), "due: 'soon' is no day"),
    "not yet here": (lambda at: at.add("E", NEW, received=LATER), "is not here yet"),
    "no rows": (lambda at: at.add("E", []), "forget: [] holds no rows"),
    "no file": (lambda at: at.add("E", "nowhere.jsonl"), "nowhere.jsonl"),
    "forgotten already": (
        lambda at: at.add("E", [Row("WHERE does ana live", ASKED[0][1])]),
        "forget: row 1 is forgotten already, in request 'A'",
    ),
    "asked already": (
        lambda at: at.add("E", [Row(*ASKED[4])]),
        "row 1 is already in the open request 'C'",
    ),
    "kept by an open one": (
        lambda at: at.add("E", NEW, [Row(*ASKED[5])]),
        "retain: row 1 is to be forgotten by the open request 'D'",
    ),
    "kept and forgotten": (
        lambda at: at.add("E", NEW, [Row("WHO is Ida Berg", "a cook")]),
        "1 row stand in both forget and retain",
    ),
    "a name as reference": (
        lambda at: at.add("E", NEW, subject="ida berg"),
        "subject: it stands in the rows",
    ),
    "long reason": (
        lambda at: at.add("E", NEW, reason="x" * 3000),
        "reason: 3,000 letters",
    ),
    "texts needed": (lambda at: at.forget_texts("C"), "'C' is not forgotten yet"),
    "no report yet": (lambda at: at.report("C"), "'C' was not run yet"),
    "no option": (lambda at: at.run(["C"], options=["training.stepz=3"]), "training.stepz"),
    "own data": (
        lambda at: at.run(["C"], options=["data=minitofu"]),
        "the ledger says this itself",
    ),
    "no condition": (lambda at: at.run(["C"], options=["accept.conditions=[]"]), "at least one"),
    "unknown metric": (
        lambda at: at.run(["C"], options={"accept.conditions": [{"metric": "x/y", "at_most": 1}]}),
        "'x/y' is not measured here",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line_and_changes_nothing(ledger: Ledger, name: str) -> None:
    ask, told = BAD[name]
    before = files_in(ledger.folder)
    with pytest.raises(ConfigurationError) as error:
        ask(ledger)
    assert told in str(error.value)
    assert all("\n" not in problem for problem in error.value.problems)
    assert files_in(ledger.folder) == before


def test_a_head_that_is_gone_or_another_is_refused(copy: Ledger) -> None:
    book = copy.book.path.read_bytes()
    model = copy.head.path
    shutil.move(model, model.with_name("elsewhere"))
    with pytest.raises(ConfigurationError, match="the model at the head is gone"):
        copy.run(["C"])
    save_model(model, 7)
    with pytest.raises(ConfigurationError, match="is another one than the ledger's"):
        copy.run(["C"])
    assert copy.book.path.read_bytes() == book


def test_rows_that_were_changed_are_refused(copy: Ledger) -> None:
    (copy.place("C") / "forget.jsonl").write_text('{"question": "", "answer": "x"}\n')
    with pytest.raises(ConfigurationError, match="not as it was recorded"):
        copy.run(["C"])


STARTS = {
    "no model": ({"model.path": "nowhere"}, "model.path: 'nowhere'"),
    "nothing to keep": ({"data.retain": None}, "data.retain: not set"),
    "no file": ({"data.retain": "nowhere.jsonl"}, "no such file or folder"),
    "no level": ({"reference": "none"}, "nothing here says how unlikely a forgotten row is"),
    "no language": ({"report.language": "xx"}, "report.language: xx; allowed: en, ja"),
    "no price": ({"report.price_per_hour": -1}, "report.price_per_hour: -1"),
    "no such report": ({"report.colour": "red"}, "report.colour: no such option"),
    "no such option": ({"model.pathh": "x"}, "model.pathh: no such option"),
    "no condition": ({"accept.conditions": []}, "a ledger needs at least one"),
    "no bound": ({"accept.conditions": [{"metric": "a"}]}, "accept.conditions[0].give exactly one"),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_ledger_that_cannot_be_is_not_begun(made: Path, tmp_path: Path, name: str) -> None:
    given = {
        "model.path": str(made / "bot"),
        "reference": str(made / "base"),
        "data.retain": str(made / "retain.jsonl"),
    }
    change, told = STARTS[name]
    with pytest.raises(ConfigurationError) as error:
        Ledger.start(tmp_path / "ledger", {**given, **change})
    assert told in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_is_not_begun_over_another_or_among_files(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a ledger already"):
        Ledger.start(made / "ledger", {})
    with pytest.raises(ConfigurationError, match="is there and not empty"):
        Ledger.start(made, {})
    with pytest.raises(ConfigurationError, match="is no ledger"):
        Ledger(tmp_path)


def test_while_one_runs_another_is_refused_or_waits(ledger: Ledger) -> None:
    from unlearn.record import claim

    name = claim.hashlib.sha256(str(ledger.folder.resolve()).encode()).hexdigest()[:24]
    with (
        FileLock(lock_of("runs", name)),
        pytest.raises(ConfigurationError, match="another process"),
    ):
        ledger.run(["C"], wait=False)


def test_rows_that_came_back_are_forgotten_again_with_the_new_ones(
    copy: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.requests.stream.rows_that_came_back", lambda run, most: [1])
    monkeypatch.setattr("unlearn.requests.conditions.COMES_BACK", -2.0)
    head = copy.head
    with undrawn():
        (outcome,) = copy.run(["C"])
    begun = [event for event in copy.book.of("begun") if event["ids"] == ["C"]]
    assert [len(event["again"]) for event in begun] == [0, 1]
    assert not outcome.accepted
    assert copy.head == head
    again = read_rows(copy.folder / begun[1]["rows"] / "again.jsonl")
    assert [row.question for row in again] == [ASKED[1][0]]
    assert copy.status()["C"] is Status.failed
    assert copy.run() == [] or copy.requests["D"].runs, "a failed one is tried where it is named"


def test_a_run_that_breaks_off_fails_its_request_and_tells_no_text(
    copy: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(words: list[str], folder: Path) -> None:
        raise RuntimeError(f"no room for {ASKED[4][1]}")

    monkeypatch.setattr("unlearn.requests.stream.run_experiment", broken)
    with pytest.raises(RuntimeError):
        copy.run(["C"])
    assert copy.status(date.today())["C"] is Status.failed
    assert ASKED[4][1] not in copy.book.path.read_text(encoding="utf-8")


def test_texts_go_and_numbers_stay(copy: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.experiment.erasing.erase_evaluations", lambda *_: None)
    numbers = copy.requests["A"].accepted["metrics"]
    erased, left = copy.forget_texts("A")
    holding = [
        name
        for name, content in files_in(copy.folder).items()
        if ASKED[0][1].encode() in content or ASKED[0][0].encode() in content
    ]
    assert holding == []
    assert erased
    assert any("knows its rows" in line and "bot" in line for line in left)
    assert copy.requests["A"].accepted["metrics"] == numbers
    assert copy.requests["A"].erased
    assert copy.verify() == []
    assert copy.rows("A") == []
    assert [row.question for row in copy.rows("B")] == [q for q, _ in ASKED[2:4]]
