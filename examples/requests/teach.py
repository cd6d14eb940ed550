"""Make the two models of this example: a support bot, and one that never saw the requested rows.

    python examples/requests/teach.py my-example

The bot learns everything in `data/`; the other one, in real life the model that a bot was
fine-tuned from, learns `keep.jsonl` alone and says how little of the rest is normal to come out.
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


def teach(place: Path) -> None:
    """Write the folders `bot` and `unaware` below a folder."""
    place.mkdir(parents=True, exist_ok=True)
    asked = place / "requested.jsonl"
    asked.write_text(
        "".join((DATA / f"{name}.jsonl").read_text("utf-8") for name in REQUESTED), "utf-8"
    )
    taught = unlearn.run(
        {
            "method": "none",
            "data": "files",
            "data.forget": str(asked),
            "data.retain": str(DATA / "keep.jsonl"),
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
