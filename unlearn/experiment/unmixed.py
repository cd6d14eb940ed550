"""A run that keeps the level as it is: what it measured of its own model stands."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from unlearn.evaluation.results import read_tables
from unlearn.experiment.bench import Bench
from unlearn.experiment.finished import Finished
from unlearn.experiment.mixing import Mixed

log = logging.getLogger(__name__)


def as_it_is(run: Finished, bench: Bench, level: float) -> Mixed | None:
    """Take over what the run measured and attacked, where its model keeps `level`.

    None where it keeps less, where the run asked other rows, in another way or by other attacks,
    or where a user's measure was called, whose code may have changed. The bench has measured
    reference and target.
    """
    summary, metrics = run.summary, run.summary["metrics"]
    attacks = summary.get("attacks") or {"names": [], "notes": {}}
    asked = summary["provenance"].get("evaluation")
    folder = run.folder / "evaluations" / "after"
    same = (
        asked == json.loads(json.dumps(bench.identity))
        and attacks["names"] == list(bench.attacks)
        and not bench.measures.each
        and folder.is_dir()
    )
    before, after = (metrics[stage].get("retain/probability") for stage in ("before", "after"))
    if not same or not before or after is None or after / before < level:
        return None
    log.info("after: as the run measured it; it keeps %.4f without being mixed", after / before)
    reference = bench.stages.get("reference")
    bench.stages["after"] = bench.suite.summarised(*read_tables(folder), reference)
    bench.attack_notes |= attacks["notes"]
    for stage in attacks["notes"]:
        of_attacks = {k: x for k, x in metrics[stage].items() if k.startswith("attack/")}
        measured = bench.stages[stage]
        bench.stages[stage] = replace(measured, metrics={**measured.metrics, **of_attacks})
    return Mixed(level, 1.0, after / before)
