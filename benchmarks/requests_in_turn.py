"""Twenty deletion requests in turn on a tiny model, beside one joint run of all of them.

    python benchmarks/requests_in_turn.py FOLDER

Eighty rows of minitofu's kind are asked to be forgotten, four a request. Each run measures what
comes out of all rows forgotten so far, and what is left of the rows to keep. FOLDER gets the
ledgers, `requests.json` and `requests.png`. A command that was cut goes on.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import unlearn
from unlearn.data.minitofu.reader import MiniTofu
from unlearn.requests import Ledger

REQUESTS, ROWS, KEPT = 20, 4, 80
TINY = {
    "model": "tiny",
    "model.tiny": {"layers": 1, "hidden_size": 96, "heads": 4, "intermediate_size": 192},
    "model.fine_tuning.epochs": 60,
    "model.autocast": "none",
    "tracker": "none",
    "evaluation.max_new_tokens": 24,
}


def write(path: Path, rows: list[Any]) -> Path:
    """Write questions and answers as JSON lines."""
    lines = (json.dumps({"question": r.question, "answer": r.answer}) + "\n" for r in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def teach(place: Path, forget: list[Any], retain: list[Any]) -> None:
    """Write a model that knows all rows, and one that knows those to keep."""
    given = {"data": "files", "data.forget": str(write(place / "forget.jsonl", forget))}
    given["data.retain"] = str(write(place / "retain.jsonl", retain))
    taught = unlearn.run({"method": "none", **given, **TINY}, folder=place / "teaching")
    for role, name in (("target", "bot"), ("reference", "unaware")):
        made = Path(taught.summary["model"][role]["path"])
        ours = shutil.ignore_patterns("SHA*", "preparation*")
        shutil.copytree(made, place / name, ignore=ours, dirs_exist_ok=True)


def opened(place: Path, name: str, forget: list[Any]) -> Ledger:
    """Return the ledger of this name with all requests recorded."""
    if (place / name).exists():
        return Ledger(place / name)
    options = {
        "model.path": str(place / "bot"),
        "reference": str(place / "unaware"),
        "data.retain": str(place / "retain.jsonl"),
        "training.steps": 40,
        "model.autocast": "none",
        "evaluation.max_new_tokens": 24,
        "accept.conditions": [
            {"metric": "forget/probability", "within": 0.1, "of": "reference"},
            {"metric": "retain/probability", "at_least": 0.9, "of": "first"},
        ],
    }
    ledger = Ledger.start(place / name, options)
    for number in range(REQUESTS):
        rows = forget[ROWS * number : ROWS * (number + 1)]
        ledger.add(f"R-{number + 1:02}", rows, subject=f"ticket {number + 1}")
    return ledger


def measured(ledger: Ledger) -> list[dict[str, Any]]:
    """Return what each run ended in."""
    found = []
    for event in ledger.book.of("accepted", "refused"):
        flat = event["metrics"]
        names = [f"{s}/{m}" for s in ("forget", "forgotten", "retain") for m in MEASURES]
        stages = {stage: {n: flat[stage].get(n) for n in names} for stage in flat}
        found.append({"ids": event["ids"], "outcome": event.kind, **stages})
    return found


MEASURES = {
    "rougeL_recall": "what still comes out (ROUGE-L recall)",
    "probability": "probability of the answer",
}


def draw(path: Path, turns: list[dict[str, Any]], joint: dict[str, Any]) -> None:
    """Draw quality, and what comes out of all that was forgotten so far, over the requests."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from unlearn.report.drawing import FORGET, REFERENCE, RETAIN

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        numbers = range(1, len(turns) + 1)
        series = {
            "rows to keep": (RETAIN, [t["after"][f"retain/{measure}"] for t in turns]),
            "rows of this request": (FORGET, [t["after"][f"forget/{measure}"] for t in turns]),
            "rows of all earlier ones": (
                "#333333",
                [t["after"][f"forgotten/{measure}"] for t in turns],
            ),
        }
        for label, (colour, values) in series.items():
            axis.plot(
                numbers,
                [float("nan") if v is None else v for v in values],
                ".-",
                color=colour,
                label=label,
            )
            if label != "rows of all earlier ones":
                split = "retain" if "keep" in label else "forget"
                axis.axhline(
                    joint["after"][f"{split}/{measure}"], color=colour, linestyle=":", linewidth=1
                )
        level = joint["reference"][f"forget/{measure}"]
        axis.axhline(level, color=REFERENCE, linewidth=1, label="a model that never saw them")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(ylim=(-0.03, 1.05), xlabel="request", title=MEASURES[measure])
    axes[0].legend(loc="center", fontsize=7.5, frameon=False)
    figure.suptitle("Twenty requests in turn; dotted: one joint run of all rows", x=0.01, ha="left")
    figure.savefig(path, dpi=130)


def main(place: Path) -> None:
    """Run both ledgers and write what they ended in."""
    place.mkdir(parents=True, exist_ok=True)
    rows = MiniTofu(subset="forget05").read().retain
    forget, retain = rows[: REQUESTS * ROWS], rows[REQUESTS * ROWS : REQUESTS * ROWS + KEPT]
    if not (place / "unaware").exists():
        teach(place, forget, retain)
    turns = opened(place, "in-turn", forget)
    turns.run()
    joint = opened(place, "joint", forget)
    joint.run(together=True)
    found = {"in_turn": measured(turns), "joint": measured(joint)}
    (place / "requests.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(place / "requests.png", found["in_turn"], found["joint"][-1])
    for one in found["in_turn"]:
        print(one["ids"], one["outcome"], one["after"])
    print("joint", found["joint"][-1]["outcome"], found["joint"][-1]["after"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
