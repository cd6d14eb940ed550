"""The worked example: its data go together, and its notebook runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import save_model, undrawn
from support.pages import ROOT

from unlearn.data.own_files import rows_from
from unlearn.data.request_rows import row_hash

EXAMPLE = ROOT / "examples" / "requests"


def test_requests_are_of_the_training_data_and_of_one_of_them_only() -> None:
    files = {path.stem: rows_from(str(path), path.stem) for path in EXAMPLE.glob("data/*.jsonl")}
    training = {row_hash(row, "") for row in files.pop("training")}
    assert files.keys() == {"person", "price", "licensed"}
    hashes = [row_hash(row, "") for rows in files.values() for row in rows]
    assert len(hashes) == len(set(hashes))
    assert set(hashes) < training


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With models that know nothing, and two steps: what it shows is another matter."""
    save_model(tmp_path / "my-example" / "bot", 0)
    save_model(tmp_path / "my-example" / "unaware", 1)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLE / "notebook.ipynb").read_text(encoding="utf-8"))
    known: dict[str, Any] = {}
    with undrawn():
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == []
                source = "".join(cell["source"])
                smaller = source.replace('"training.steps": 60', '"training.steps": 2')
                exec(smaller.replace("max_new_tokens=20", "max_new_tokens=2"), known)
    assert known["ledger"].verify() == []
    assert known["outcomes"][0].verdict["conditions"]


def test_the_readme_speaks_of_files_and_requests_that_are_there() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"examples/requests/[\w./-]+", text):
        assert (ROOT / name).exists(), name
