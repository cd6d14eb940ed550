"""The command `unlearn-requests`: exit statuses, and one line for what cannot be."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from support.command import files_in
from support.ledgers import ASKED, NONE, undrawn, write

from unlearn.commands import requests


class Said:
    """What a command printed, and its exit status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["unlearn-requests", *words])
            patch.setattr("unlearn.commands.requests_actions._log", lambda: None)
            with pytest.raises(SystemExit) as end:
                requests.main()
        self.status = end.value.code or 0
        self.out, self.err = capsys.readouterr()


def test_status_and_verify_tell_where_everything_stands(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = str(made / "ledger")
    listed = Said(capsys, "status", ledger)
    assert listed.status == 0
    assert [line.split()[1] for line in listed.out.splitlines()[1:5]] == [
        *("done", "done"),
        *("due", "open"),
    ]
    assert "requests/B/run-2/model" in listed.out
    assert "all is as it was written" in Said(capsys, "verify", ledger).out


def test_verify_names_what_was_changed(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "ledger", tmp_path / "ledger")
    book = tmp_path / "ledger" / "ledger.jsonl"
    book.write_bytes(book.read_bytes().replace(b'"price", "legal', b'"prize", "legal'))
    found = Said(capsys, "verify", str(tmp_path / "ledger"))
    assert found.status == 1
    assert "ledger.jsonl:3: it is not as it was written" in found.out
    refused = Said(capsys, "status", str(tmp_path / "ledger"))
    assert refused.status == 2
    assert refused.err.count("\n") == 1


def test_a_request_from_a_file_is_run_refused_and_reported(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "ledger", tmp_path / "ledger")
    ledger, rows = str(tmp_path / "ledger"), write(tmp_path / "rows.jsonl", ASKED[6:8])
    added = Said(
        capsys, "add", ledger, "E", str(rows), "--subject", "ticket 9", "--due", "2999-01-01"
    )
    assert (added.status, added.out) == (0, "E: 2 rows recorded, due 2999-01-01\n")
    condition = f"accept.conditions=[{{metric: {NONE[0]['metric']}, at_least: 2}}]"
    with undrawn():
        ran = Said(capsys, "run", ledger, "E", condition)
    assert ran.status == 3
    assert "E: not accepted" in ran.out
    assert "retain/probability: 0.00" in ran.out
    assert "asked for: at least 2" in ran.out
    assert (tmp_path / "ledger" / "requests" / "E" / "decision.html").is_file()
    told = Said(capsys, "report", ledger, "E", "report.language=ja")
    assert told.out.count("written: ") == 3
    page = (tmp_path / "ledger" / "requests" / "E" / "decision.html").read_text(encoding="utf-8")
    assert "いいえ" in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("status", "nowhere"), "'nowhere' is no ledger"),
        (("verify", "nowhere"), "'nowhere' is no ledger"),
        (("run", "LEDGER", "Z"), "no request 'Z' is recorded here"),
        (("add", "LEDGER", "Z"), "add: give LEDGER ID ROWS"),
        (("add", "LEDGER", "Z", "ROWS", "seed=1"), "allowed here: columns"),
        (("add", "LEDGER", "Z", "ROWS", "--due", "1999-01-01"), "due: 1999-01-01 is past"),
        (("report", "LEDGER", "D"), "'D' was not run yet"),
        (("report", "LEDGER", "A", "report.language=xx"), "report.language: xx; allowed: en, ja"),
        (("forget-texts", "LEDGER"), "name the requests"),
        (("start", "LEDGER"), "model.path"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(
    made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    before = files_in(made)
    places = {"LEDGER": str(made / "ledger"), "ROWS": str(made / "retain.jsonl")}
    if words[0] == "start":
        places["LEDGER"] = str(made / "new")
    found = Said(capsys, *(places.get(word, word) for word in words))
    assert found.status == 2
    assert told in found.err
    assert found.err.startswith("unlearn-requests: ")
    assert "Traceback" not in found.err
    assert files_in(made) == before
