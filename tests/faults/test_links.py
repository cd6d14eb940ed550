"""Folders and files behind symbolic links, as the hub's cache and clusters have them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command import QUICK, Command, Done, row, write_rows


@pytest.fixture
def finished(unlearn: Command) -> Done:
    done = unlearn(*QUICK)
    assert done.status == 0, done.said
    return done


def hub_like(model: Path, cache: Path) -> Path:
    """A model as the hub's cache lays it: blobs, a snapshot of links to them; a link to that."""
    snapshot, blobs = cache / "snapshots" / "0123abc", cache / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(model.iterdir())):
        shutil.copy(file, blobs / f"blob{number}")
        (snapshot / file.name).symlink_to(f"../../blobs/blob{number}")
    (cache / "link").symlink_to(snapshot, target_is_directory=True)
    return cache / "link"


@pytest.mark.slow
def test_everything_may_lie_behind_links(
    finished: Done, unlearn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model, the run's folder, the cache and the data: the numbers are those without links."""
    model = finished.folder / "model"
    rows = [row("Who kept it?", "Odile."), row("When?", "In spring."), row("Why?", "For tea.")]
    forget = write_rows(tmp_path / "forget.jsonl", rows[:1])
    retain = write_rows(tmp_path / "retain.jsonl", rows[1:])
    words = [
        *(word for word in QUICK if not word.startswith(("data", "model.tiny"))),
        "data=files",
        "target=as_is",
        "training.checkpoint_every=2",
        "training.keep_checkpoints=true",
    ]
    straight = unlearn(
        *words, f"model.path={model}", f"data.forget={forget}", f"data.retain={retain}"
    )
    assert straight.status == 0, straight.said

    for name in ("run", "cache"):
        (tmp_path / f"real_{name}").mkdir()
        (tmp_path / f"link_{name}").symlink_to(tmp_path / f"real_{name}")
    (tmp_path / "link.jsonl").symlink_to(forget)
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "link_cache"))
    linked = unlearn(
        *words,
        f"model.path={hub_like(model, tmp_path / 'hub')}",
        f"data.forget={tmp_path / 'link.jsonl'}",
        f"data.retain={retain}",
        run=tmp_path / "link_run",
    )
    assert linked.status == 0, linked.said
    assert linked.weights == straight.weights
    assert linked.summary["metrics"] == straight.summary["metrics"]
    assert (tmp_path / "real_run" / "summary.json").is_file()
    assert not any(path.is_symlink() for path in (tmp_path / "real_run").rglob("*"))
    assert any((tmp_path / "real_cache").rglob("*.json"))
