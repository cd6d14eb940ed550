"""Folders of many runs, made in milliseconds a run from `fabricate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.fabricate import fabricate

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><!-- <script> &lt;"
"""An answer that tries to leave every place that a page may put it in."""

IDENTITY = {
    "rows_sha256": "5" * 64,
    "rows": {"forget": 20, "retain": 24},
    "template": "plain",
    "max_length": 256,
    "max_new_tokens": 80,
    "stemmer": False,
    "words": "tofu",
    "min_k": 0.4,
    "precision": "cpu/float32",
}


def fabricate_job(
    folder: Path,
    *told: str,
    seed: int = 0,
    forget: float = 0.1,
    retain: float = 0.9,
    error: str | None = None,
    identity: dict[str, Any] | None = None,
    extra: dict[str, float] | None = None,
    **provenance: Any,
) -> Path:
    """Fill a run folder; what the run measured after unlearning is `forget` and `retain`."""
    fabricate(folder, steps=30)
    file = folder / "summary.json"
    summary = json.loads(file.read_text())
    after = summary["metrics"]["after"]
    after |= {"forget/rougeL_recall": forget, "retain/rougeL_recall": retain, **(extra or {})}
    summary |= {"seed": seed, "name": folder.name}
    summary["overrides"] = [f"seed={seed}", "tracker=none", *told]
    summary["provenance"] |= {"evaluation": IDENTITY | (identity or {}), **provenance}
    if error:
        summary |= {"status": "failed", "error": error}
    file.write_text(json.dumps(summary))
    (folder / ".hydra" / "config.yaml").write_text(f"seed: {seed}\nscheduler: {{name: gen}}\n")
    return folder


def fabricate_sweep(folder: Path, groups: int = 4, seeds: int = 3) -> Path:
    """Fill a sweep folder: groups that trade forgetting for keeping, and two jobs that failed."""
    for job in range(groups * seeds):
        group, seed = divmod(job, seeds)
        share = (group + 1) / (groups + 1)
        fabricate_job(
            folder / f"{job}-linear-minitofu-tiny",
            "method=linear",
            f"method.weighting.retain_share={share:.3g}",
            seed=seed,
            forget=0.1 + 0.6 * share**2 + 0.01 * seed,
            retain=0.5 + 0.4 * share + 0.01 * seed,
            extra={"attack/relearn_forget_rougeL": 0.5 * share, "kpi/bits_a_second": 1.5},
        )
    failed = folder / f"{groups * seeds}-ga-minitofu-tiny"
    fabricate_job(failed, "method=ga", error="NumericalError: step 3\nsecond line")
    unfinished = folder / f"{groups * seeds + 1}-npo-minitofu-tiny"
    (unfinished / ".hydra").mkdir(parents=True)
    (unfinished / ".hydra" / "overrides.yaml").write_text("- method=npo\n- seed=7\n")
    (unfinished / "unlearn.log").write_text(
        "12:00:00 INFO started\n12:00:01 ERROR method.forget.beta: -1 is out of range\n"
    )
    return folder


def say(run: Path, stage: str, index: int, answer: str) -> None:
    """Let a run answer the forget question `index` of a stage with `answer`."""
    file = run / "evaluations" / stage / "generations.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        if row["split"] == "forget" and row["index"] == index:
            row["answer"] = answer
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
