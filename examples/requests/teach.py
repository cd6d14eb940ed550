"""Make the two models of this example: a support bot, and one that never saw the requested rows.

    python examples/requests/teach.py my-example

The bot learns `data/training.jsonl`. The other one, in real life the model that a bot was
fine-tuned from, learns the same without the three requests: it says how little of them is normal to
come out.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import unlearn

DATA = Path(__file__).parent / "data"
REQUESTED = ("person", "price", "licensed")
TINY = {
    "model": "tiny",
    "model.tiny": {"layers": 2, "vocabulary": 1024},
    "model.fine_tuning.epochs": 40,
    "model.autocast": "none",
    "evaluation.max_new_tokens": 40,
    "tracker": "none",
}


def lines(name: str) -> list[str]:
    """Return the lines of a file of the example."""
    return (DATA / name).read_text(encoding="utf-8").splitlines(keepends=True)


def teach(place: Path) -> None:
    """Write the folders `bot` and `unaware` below a folder."""
    place.mkdir(parents=True, exist_ok=True)
    asked, kept = place / "requested.jsonl", place / "kept.jsonl"
    requested = [line for name in REQUESTED for line in lines(f"{name}.jsonl")]
    others = [line for line in lines("training.jsonl") if line not in requested]
    asked.write_text("".join(requested), encoding="utf-8")
    kept.write_text("".join(others), encoding="utf-8")
    taught = unlearn.run(
        {
            "method": "none",
            "data": "files",
            "data.forget": str(asked),
            "data.retain": str(kept),
            **TINY,
        },
        folder=place / "teaching",
    )
    for role, name in (("target", "bot"), ("reference", "unaware")):
        made = Path(taught.summary["model"][role]["path"])
        shutil.copytree(made, place / name, ignore=shutil.ignore_patterns("SHA*", "preparation*"))
        print(f"{place / name}: knows {taught.summary['model'][role]['accuracy']:.1%} of its rows")


if __name__ == "__main__":
    teach(Path(sys.argv[1] if len(sys.argv) > 1 else "my-example"))
