"""What a run believes when it begins or goes on, and the ways in which each file of it is damaged.

A :class:`State` is a cache and a run folder, of a run that was cut or of one that is complete.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.command import Done, files_in
from support.damage import cut, flip, remove, rewrite

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class State:
    """A cache and the folder of a run that uses it."""

    cache: Path
    run: Path

    def copy(self, to: Path) -> State:
        """Return a copy of both: what a run writes must not reach the original."""
        return State(
            Path(shutil.copytree(self.cache, to / "cache")),
            Path(shutil.copytree(self.run, to / "run")),
        )

    def entries(self, kind: str) -> list[Path]:
        """Return the entries of the cache of one kind, in the order of their names."""
        return sorted(path for path in (self.cache / kind).iterdir() if path.is_dir())

    def prepared(self, role: str) -> Path:
        """Return the entry of target or reference; the target has learnt more rows."""
        rows = {
            len(json.loads((entry / "preparation.json").read_text())["rows"]): entry
            for entry in self.entries("prepared")
        }
        return rows[max(rows) if role == "target" else min(rows)]

    @property
    def checkpoint(self) -> Path:
        return max((self.run / "checkpoints").glob("step_*"), key=lambda path: path.name)

    @property
    def best(self) -> Path:
        (found,) = (self.run / "checkpoints").glob("best_*")
        return found


@dataclass(frozen=True)
class Harm:
    """One damage, and a word that the line which tells of it must have."""

    do: Callable[[State], Any]
    named: str


def outcome(done: Done) -> dict[str, Any]:
    """What must be the same whether or not a file was damaged: all but times and hashes of them."""
    summary = done.summary
    return {
        "weights": done.weights,
        "metrics": summary["metrics"],
        "verdict": summary["verdict"],
        "training": summary["training"],
        "hashes": [summary["provenance"][f"{role}_sha256"] for role in ("target", "reference")],
        "lines": [{k: v for k, v in line.items() if k != "seconds"} for line in done.lines],
        "tables": {
            name: content
            for name, content in files_in(done.folder / "evaluations").items()
            if not name.endswith(".parquet")
        },
    }


def number(file: Path) -> None:
    """Change the last digit of the last number that is not alone: what nobody sees."""
    text = file.read_text(encoding="utf-8")
    found = list(re.finditer(r"\d(?=[,\s}\]])", text))[-1]
    digit = str((int(found[0]) + 1) % 10)
    rewrite(file.parent, file.name, text[: found.start()] + digit + text[found.end() :])


def swap(one: Path, other: Path) -> None:
    """Let two files or folders change places."""
    aside = one.with_name(f"{one.name}.aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def in_json(file: Path, **values: Any) -> None:
    """Set values of a JSON file, as a person edits it."""
    rewrite(file.parent, file.name, json.dumps({**json.loads(file.read_text()), **values}))


def of_sealed(
    title: str, folder: Callable[[State], Path], names: tuple[str, ...]
) -> Iterator[tuple[str, Harm]]:
    """Yield for each file a flipped bit, its half, nothing in it, and its absence."""
    for name in names:
        for what, do in (
            ("bit", flip),
            ("cut", lambda file: cut(file.parent, file.name, 1)),
            ("empty", lambda file: rewrite(file.parent, file.name, b"")),
            ("missing", remove),
        ):
            # Nothing left of a file is a kind of half of it. A list with another hash names the
            # file that has not this hash.
            if what != "empty" or name in (SUMS, "state.pt"):
                told = "is broken (" if (name, what) == (SUMS, "bit") else name
                yield (
                    f"{title}: {name} {what}",
                    Harm(lambda s, do=do, name=name: do(folder(s) / name), told),
                )
    yield f"{title}: one more", Harm(lambda s: (folder(s) / "added.json").touch(), "added.json")


def of_cache() -> Iterator[tuple[str, Harm]]:
    """Target, reference, their tables, and sums under the target."""
    model = ("config.json", "model.safetensors", "tokenizer.json", "preparation.json", SUMS)
    yield from of_sealed("target", lambda s: s.prepared("target"), model)
    yield from of_sealed("reference", lambda s: s.prepared("reference"), ("config.json",))
    tables = ("scores.parquet", "generations.jsonl", "metrics.json")
    yield from of_sealed("tables", lambda s: s.entries("evaluations")[0], tables)
    yield from of_sealed("sums", lambda s: s.entries("sums")[0], ("sums.json",))

    def both(s: State, name: str = "") -> tuple[Path, Path]:
        return s.prepared("target") / name, s.prepared("reference") / name

    yield from {
        "target: another rms_norm_eps": Harm(
            lambda s: in_json(both(s)[0] / "config.json", rms_norm_eps=0.1), "config.json"
        ),
        "target: a template": Harm(
            lambda s: (both(s)[0] / "chat_template.jinja").write_text("{{ messages }}"),
            "chat_template.jinja",
        ),
        "weights of target and reference": Harm(
            lambda s: swap(*both(s, "model.safetensors")), "model.safetensors"
        ),
        "target and reference": Harm(lambda s: swap(*both(s)), SUMS),
        "tables: a digit": Harm(
            lambda s: number(s.entries("evaluations")[0] / "generations.jsonl"), "generations.jsonl"
        ),
        "tables of another model": Harm(
            lambda s: swap(*(e / "generations.jsonl" for e in s.entries("evaluations")[:2])),
            "generations.jsonl",
        ),
        "sums: a digit": Harm(lambda s: number(s.entries("sums")[0] / "sums.json"), "sums.json"),
        "a file instead of the target": Harm(
            lambda s: rewrite(s.cache, f"prepared/{both(s)[0].name}", b""), "target: the cached one"
        ),
    }.items()


def of_checkpoints() -> Iterator[tuple[str, Harm]]:
    """The state to go on from, the best state, and what the run noted as it began."""
    files = ("model.safetensors", "state.pt", "progress.json", "config.json", SUMS)
    yield from of_sealed("checkpoint", lambda s: s.checkpoint, files)
    yield from of_sealed("best", lambda s: s.best, ("model.safetensors",))
    yield from {
        "checkpoint: a digit": Harm(lambda s: number(s.checkpoint / "progress.json"), "progress"),
        "checkpoint: another step": Harm(
            lambda s: s.checkpoint.rename(s.checkpoint.with_name("step_6")), "step_4"
        ),
        "checkpoint gone": Harm(lambda s: remove(s.checkpoint), "no checkpoint"),
        "best gone": Harm(lambda s: remove(s.best), "best_3, is missing"),
        "weights of the best state": Harm(
            lambda s: swap(s.best / "model.safetensors", s.checkpoint / "model.safetensors"),
            "model.safetensors",
        ),
        "beginning: cut": Harm(lambda s: cut(s.run, "checkpoints/run.json", 1), "run.json"),
        "beginning: a digit": Harm(
            lambda s: in_json(s.run / "checkpoints" / "run.json", data_sha256="0" * 64), "data: "
        ),
        "beginning: gone": Harm(
            lambda s: remove(s.run / "checkpoints" / "run.json"), "left no state to go on from"
        ),
        "beginning: no seed": Harm(
            lambda s: in_json(s.run / "checkpoints" / "run.json", config={}), "seed"
        ),
    }.items()


def of_record(named: str = "metrics.jsonl") -> Iterator[tuple[str, Harm]]:
    """The lines that a run has written."""

    def change(edit: Callable[[list[str]], list[str]]) -> Callable[[State], None]:
        def do(s: State) -> None:
            lines = (s.run / "metrics.jsonl").read_text().splitlines(keepends=True)
            rewrite(s.run, "metrics.jsonl", "".join(edit(lines)))

        return do

    for what, edit in {
        "half": lambda lines: lines[: len(lines) // 2],
        "a line less": lambda lines: lines[:1] + lines[2:],
        "a line twice": lambda lines: lines[:1] + lines,
        "two lines changed": lambda lines: [lines[1], lines[0], *lines[2:]],
        "nothing": lambda lines: [],
    }.items():
        yield f"lines: {what}", Harm(change(edit), named)
    yield "lines: bit", Harm(lambda s: flip(s.run / "metrics.jsonl", 0.1), named)
    yield "lines: gone", Harm(lambda s: remove(s.run / "metrics.jsonl"), named)


def of_finished() -> Iterator[tuple[str, Harm]]:
    """The record of a complete run: its summary, its lines, what its models answered."""
    yield from of_record()
    answers = "evaluations/after/generations.jsonl"
    yield from {
        "summary: a digit": Harm(lambda s: number(s.run / "summary.json"), "summary.json"),
        "summary: bit": Harm(lambda s: flip(s.run / "summary.json"), "summary.json"),
        "summary: cut": Harm(lambda s: cut(s.run, "summary.json", 1), "summary.json"),
        "answers: a digit": Harm(lambda s: number(s.run / answers), answers),
        "answers: cut": Harm(lambda s: cut(s.run, answers, 1), answers),
        "answers: of another stage": Harm(
            lambda s: swap(s.run / answers, s.run / answers.replace("after", "before")),
            "generations.jsonl",
        ),
        "answers: gone": Harm(lambda s: remove(s.run / answers), answers),
    }.items()
