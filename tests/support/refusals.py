"""What a refused command leaves: one message, exit status 2, and nothing else."""

from __future__ import annotations

from pathlib import Path

from support.command import Done, entries_in

TRACES = {".hydra", "unlearn.log", "summary.json"}
"""All that a refused run may leave in its folder."""


def refused(done: Done, cache: Path, before: dict[str, int], *fragments: str) -> None:
    """Assert one message with all fragments, status 2, and nothing but traces of a run."""
    assert done.status == 2, done.said
    for fragment in fragments:
        assert done.said.count(fragment) == 1, f"{fragment!r} not once in:\n{done.said}"
    told = [line for line in done.said.splitlines() if " ERROR " in line or "unlearn: " in line]
    assert len(told) == 1, f"more than one message:\n{done.said}"
    assert "Traceback" not in done.said + done.log
    if done.folder.exists():
        assert {path.name for path in done.folder.iterdir()} <= TRACES
    if (done.folder / "summary.json").exists():
        assert done.summary["status"] == "failed"
        assert all(fragment in done.summary["error"] for fragment in fragments)
        assert all(fragment in done.log for fragment in fragments)
    assert entries_in(cache) == before, "a refused run filled the cache"


def files(retain: str) -> list[str]:
    """Choose rows in files: good ones to forget, and these to retain."""
    return ["data=files", "data.forget=good.jsonl", f"data.retain={retain}"]
