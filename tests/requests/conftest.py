"""One ledger serves all of these tests, which leave it as it is or take a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ledgers import ASKED, LATER, NONE, SOON, options, undrawn, write

from unlearn.data.splits import Row
from unlearn.requests import Ledger


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A ledger of four requests: two done, of which the second was refused first, two open."""
    folder = tmp_path_factory.mktemp("requests")
    ledger = Ledger.start(folder / "ledger", options(folder))
    ledger.add("A", write(folder / "a.jsonl", ASKED[:2]), subject="ticket 1", due=LATER)
    near = write(folder / "near.jsonl", [("Where is Zoe?", "Zoe is in Rome.")])
    ledger.add("B", write(folder / "b.jsonl", ASKED[2:4]), near, reason="price")
    with undrawn():
        ledger.run(["A"])
        ledger.run(["B"], options={"accept.conditions": list(NONE)})
        ledger.run(["B"])
    ledger.add("C", [Row(*ASKED[4])], due=SOON)
    ledger.add("D", [Row(*ASKED[5])], due=LATER)
    yield folder


@pytest.fixture
def ledger(made: Path) -> Ledger:
    """The ledger of all tests, which leave it as it is."""
    return Ledger(made / "ledger")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Ledger:
    """One of a test's own."""
    shutil.copytree(made / "ledger", tmp_path / "ledger")
    return Ledger(tmp_path / "ledger")
