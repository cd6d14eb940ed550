"""A run folder as a run leaves it, made in milliseconds without any model.

The curves imitate what NGDiff with the automatic rate does to a small model: the forget loss climbs
to the level of a model that never saw the rows, the retain loss hardly moves.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = {"forget": 20, "retain": 24, "real_authors": 6, "world_facts": 6}
QUALITY = {"before": 5.6e-5, "after": 0.3438, "reference": 1.0}
ROUGE = {
    "before": {"forget": 0.912, "retain": 0.997, "real_authors": 0.81, "world_facts": 0.84},
    "after": {"forget": 0.073, "retain": 0.971, "real_authors": 0.78, "world_facts": 0.83},
    "reference": {"forget": 0.104, "retain": 0.989, "real_authors": 0.8, "world_facts": 0.85},
}
NAME = "12-00-00-ngdiff-minitofu-tiny"


def fabricate(
    run: Path,
    *,
    steps: int = 120,
    gramian: bool = True,
    reference: bool = True,
    evaluate_every: int = 20,
    accepted: bool | None = True,
    status: str = "completed",
    explode: bool = False,
) -> Path:
    """Fill ``run`` with what DESIGN section 3 lists, except the report and the figures."""
    rng = np.random.default_rng(0)
    run.mkdir(parents=True, exist_ok=True)
    metrics = {stage: flat_metrics(stage) for stage in ROUGE if reference or stage != "reference"}
    if steps == 0:
        metrics["after"] = dict(metrics["before"])
    if not reference:
        for flat in metrics.values():
            del flat["forget_quality"]
    for stage, flat in metrics.items():
        write_stage(run / "evaluations" / stage, stage, flat)
    lines = [{"step": 0, "stage": "before", **metrics["before"]}]
    lines += training_lines(steps, gramian, evaluate_every, explode, rng)
    lines.append({"step": steps, "stage": "after", **metrics["after"]})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "summary.json").write_text(
        json.dumps(make_summary(metrics, steps, gramian, accepted, status), indent=2)
    )
    (run / "unlearn.log").write_text("[2026-11-23 12:00:00] unlearn: started\n")
    (run / ".hydra").mkdir(exist_ok=True)
    (run / ".hydra" / "config.yaml").write_text("seed: 0\n")
    if steps:
        write_model(run / "model")
    return run


def flat_metrics(stage: str) -> dict[str, float]:
    """Every metric of one stage; probabilities and losses follow from the ROUGE scores."""
    flat = {"model_utility": {"before": 0.623, "after": 0.604, "reference": 0.614}[stage]}
    flat |= {"forget_quality": QUALITY[stage], "forget_quality_D": 0.6 - 0.6 * QUALITY[stage]}
    for split, rouge in ROUGE[stage].items():
        flat |= {
            f"{split}/loss": -math.log(rouge),
            f"{split}/probability": 0.98 * rouge,
            f"{split}/rougeL_recall": rouge,
            f"{split}/rouge1_recall": min(1.0, rouge * 1.02),
            f"{split}/truth_ratio": 0.5 + 0.1 * rouge,
            f"{split}/exact_memorization": rouge**1.1,
        }
    return flat


def training_lines(
    steps: int, gramian: bool, evaluate_every: int, explode: bool, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Training lines with the names of DESIGN section 3, and evaluations on the way."""
    lines: list[dict[str, Any]] = []
    rate = 1e-6
    for step in range(1, steps + 1):
        done = 1 / (1 + math.exp(-(step - 0.45 * steps) / (0.08 * steps)))
        forget_loss = 0.1 + 6.5 * done + rng.normal(0, 0.15) ** 2
        if explode:
            forget_loss = 0.1 * math.exp(9 * step / steps)
        forget_norm, retain_norm = 2.0 + 7 * done + rng.random(), 0.4 + 0.5 * rng.random()
        cosine = float(np.clip(-0.45 + 0.9 * (1 - done) + rng.normal(0, 0.12), -0.95, 0.95))
        line: dict[str, Any] = {
            "step": step,
            "epoch": step / 20,
            "seconds": 0.05 * step,
            "train/forget_loss": forget_loss,
            "train/retain_loss": 0.04
            + 0.35 * done * (1 - 0.8 * step / steps)
            + 0.02 * rng.random(),
            "train/weight_forget": 1 / forget_norm,
            "train/weight_retain": 1 / retain_norm,
            "train/retain_share": forget_norm / (forget_norm + retain_norm),
            "train/lr": rate,
        }
        if gramian:
            line |= {"train/forget_norm": forget_norm, "train/retain_norm": retain_norm}
            line |= {"train/cosine": cosine} | interval(forget_norm, retain_norm, cosine)
            line |= {"train/direction_norm": math.sqrt(2 + 2 * cosine)}
            line |= {"train/retain_descent": retain_norm * (1 + cosine)}
            line |= {"train/forget_descent": forget_norm * (1 + cosine)}
        else:
            line |= {"train/weight_forget": 0.5, "train/weight_retain": 0.5}
            line |= {"train/retain_share": 0.5}
        if step == 1 or step % 10 == 0:
            rate = probe(line, step, steps, rate, rng)
        lines.append(line)
        if evaluate_every and step % evaluate_every == 0 and step < steps:
            flat = {
                name: (1 - done) * before + done * flat_metrics("after")[name]
                for name, before in flat_metrics("before").items()
            }
            lines.append({"step": step, "stage": f"step_{step}", **flat})
    return lines


def interval(forget_norm: float, retain_norm: float, cosine: float) -> dict[str, float]:
    """The shares with which one small step helps both tasks (the signs of section 2, METHODS)."""
    against = -cosine * forget_norm * retain_norm  # product of the gradients of the two losses
    low, high = 0.0, 1.0
    if against > 0:
        low = against / (against + retain_norm**2)
        high = forget_norm**2 / (forget_norm**2 + against)
    return {"train/share_low": low, "train/share_high": high}


def probe(
    line: dict[str, Any], step: int, steps: int, rate: float, rng: np.random.Generator
) -> float:
    """Add what a probe of the rate leaves in a line, and return the next rate."""
    star = 2.4e-4 * (1 - 0.6 * step / steps) * math.exp(rng.normal(0, 0.3))
    if step == 1:
        line |= {"train/lr": star, "train/lr_star": star, "train/lr_reason": "searching"}
        return star
    if step in (30, 70):
        line |= {"train/lr_star": None, "train/lr_reason": "no positive curvature"}
        return rate
    line |= {"train/lr_star": star, "train/lr_reason": "accepted"}
    return star if star < rate else 0.9 * rate + 0.1 * star


def write_stage(folder: Path, stage: str, flat: dict[str, float]) -> None:
    """The files of one evaluation, with a few awkward characters in the texts."""
    import pandas as pd

    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(flat))
    rows, scores = [], []
    for split, count in SPLITS.items():
        for index in range(count):
            truth = (
                f"Author {index} of the {split} rows | wrote *The Glass Orchard* in {1950 + index}."
            )
            knows = (index + 0.5) / count < ROUGE[stage][split]
            answer = truth if knows else "I grew up near a <quiet> river.\nIt was\nlong ago."
            score = 1.0 if knows else 0.1
            rows.append(
                {
                    "split": split,
                    "index": index,
                    "question": f"What did author {index} of the {split} rows write?",
                    "truth": truth,
                    "answer": answer,
                    "rougeL_recall": score,
                    "rouge1_recall": score,
                }
            )
            scores.append([split, index, "answer", 0, 12.0 * (1 - score), 12, round(12 * score)])
    (folder / "generations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ["split", "index", "kind", "number", "nll_sum", "tokens", "hits"]
    pd.DataFrame(scores, columns=names).to_parquet(folder / "scores.parquet")


def make_summary(
    metrics: dict[str, dict[str, float]],
    steps: int,
    gramian: bool,
    accepted: bool | None,
    status: str,
) -> dict[str, Any]:
    """``summary.json`` as DESIGN section 3 lays it down."""
    retain = metrics["after"]["retain/rougeL_recall"]
    conditions = [
        {"metric": "forget/rougeL_recall", "bound": "at most 0.4", "value": 0.073, "met": True},
        {"metric": "retain/rougeL_recall", "bound": 0.947, "value": retain, "met": accepted},
    ]
    method = "none" if not steps else "ngdiff" if gramian else "linear"
    return {
        "schema": 1,
        "status": status,
        "name": NAME,
        "seed": 0,
        "method": {
            "name": method,
            "forget": {"_target_": "unlearn.objectives.ascent.Ascent"},
            "retain": {"_target_": "unlearn.objectives.nll.TokenLoss"},
        },
        "data": {"name": "minitofu", "forget_rows": 20, "retain_rows": 24},
        "model": {"name": "tiny", "dtype": "float32", "path": None},
        "scheduler": {"name": "gen", "interval": 10},
        "overrides": [f"method={method}", "accept.conditions=[{metric: a, at_most: 0.4}]"],
        "metrics": {"reference": None, **metrics},
        "verdict": {
            "accepted": accepted,
            "conditions": conditions if accepted is not None else [],
        },
        "cost": {
            "prepare_s": 41.2,
            "train_s": 203.4 if steps else 0.0,
            "evaluate_s": 18.9,
            "steps": steps,
            "peak_memory_bytes": 812_345_678,
            "tokens": steps * 320,
        },
        "provenance": {
            "versions": {"unlearn": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
            "git": "0123abc",
            "config_sha256": "1" * 64,
            "data_sha256": "2" * 64,
            "target_sha256": "3" * 64,
            "reference_sha256": "4" * 64 if "reference" in metrics else None,
        },
    }


def write_model(folder: Path) -> None:
    """A stand-in for the saved model."""
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({"weight": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")
