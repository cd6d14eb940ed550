"""``report.md``: one page for a person who was not there, made from the run folder alone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unlearn.metrics.catalogue import BABBLES
from unlearn.record.layout import ERASED, RunFolder, read_run
from unlearn.report.advice import advice
from unlearn.report.attacks import attacks_section
from unlearn.report.figures import draw_figures
from unlearn.report.gradient_facts import gradients_section
from unlearn.report.markdown import cell, code, fence, table, words
from unlearn.report.samples import samples_section, side_by_side
from unlearn.report.wording import (
    GROUP_TITLES,
    MISSING,
    bound_words,
    duration,
    grouped,
    number,
    size,
    way_words,
)
from unlearn.storage.files import plain, write_text_atomic

STORY = {
    "forget/rougeL_recall": "recall on the forget rows",
    "retain/rougeL_recall": "recall on the retain rows",
    "forget/verbmem": "F1 of the forget passages' continuations",
    "forget/knowmem": "F1 of the answers to forget questions",
    "retain/knowmem": "F1 of the answers to retain questions",
}
"""What is told in words, where it was measured."""


def write_report(
    run: Path, summary: Mapping[str, Any] | None = None, figures: Sequence[Path] | None = None
) -> Path:
    """Write ``report.md`` into the run folder.

    Args:
        run: The run folder.
        summary: What ``summary.json`` will hold, for a run that writes it last of all; null reads
            the file.
        figures: The figures of the run; null draws them.

    Returns:
        The path of the page.
    """
    record = read_run(run, summary)
    rows = side_by_side(run)
    sections = [
        f"# {words(record.name)}",
        f"**{words(verdict_line(record))}**",
        _story(record),
        _conditions(record),
        attacks_section(record),
        _metrics(record),
        _notes(record),
        samples_section(rows),
        _texts(record) if rows or ERASED in record.summary else "",
        gradients_section(record),
        _figures(draw_figures(run, summary) if figures is None else figures, run),
        _configuration(record),
        _cost(record),
        _provenance(record),
    ]
    page = run / "report.md"
    write_text_atomic(page, "\n\n".join(section for section in sections if section) + "\n")
    return page


def verdict_line(record: RunFolder) -> str:
    """Say in one sentence how the run ended and whether it met its conditions."""
    status = record.summary.get("status", "unfinished")
    if status != "completed":
        return f"No verdict: the run is {status}; unlearn.log tells more."
    verdict = record.summary.get("verdict") or {}
    conditions = verdict.get("conditions") or []
    met = sum(bool(condition.get("met")) for condition in conditions)
    if not conditions:
        return "No verdict: no acceptance conditions were given (accept.conditions)."
    if verdict.get("accepted") is None:
        return f"No verdict: {met} of {len(conditions)} conditions met, the rest not measured."
    word = "Accepted" if verdict["accepted"] else "Not accepted"
    return f"{word}: {met} of {len(conditions)} conditions met."


def _story(record: RunFolder) -> str:
    steps = (record.summary.get("cost") or {}).get("steps")
    named = (record.part(part) for part in ("method", "data", "model"))
    method, data, model = (f"**{words(name)}**" for name in named)
    if steps:
        seconds = duration(record.summary["cost"].get("train_s"))
        opening = (
            f"{method} trained {model} for {steps} steps ({seconds}) to unlearn rows of {data}."
        )
    else:
        opening = f"{model} was evaluated on {data}; nothing was trained."
    sentences = [opening, *_of_the_target(record)]
    stages = record.metrics
    for metric, told in STORY.items():
        before, after = (stages.get(stage, {}).get(metric) for stage in ("before", "after"))
        if before is None or after is None:
            continue
        reference = stages.get("reference", {}).get(metric)
        compared = _compared(record, metric, after, reference)
        moved = f"went from {number(before)} to {number(after)}" if steps else f"is {number(after)}"
        sentences.append(f"ROUGE-L {told} {moved}{compared}.")
    if safety := record.summary.get("safety"):
        sentences.append(f"On the way: {way_words(safety)}.")
    repeated = stages.get("after", {}).get("forget/repetition")
    if repeated is not None and repeated > BABBLES:
        sentences.append(
            f"It babbles: {repeated:.0%} of the 4-grams of its answers to forget questions stood "
            "in the same answer before."
        )
    if better := advice(record):
        sentences.append(f"To try next: {better}.")
    quality = stages.get("after", {}).get("forget_quality")
    if quality is not None:
        sentences.append(
            "Forget quality, the p-value of a Kolmogorov-Smirnov test between the truth ratios of "
            f"this model and the reference's, is {number(quality, 'forget_quality')}; a small "
            "value means that the two can be told apart."
        )
    if "reference" in stages:
        sentences.append("The reference is a model that learned the retain rows only.")
    elif stages:
        sentences.append("There is no reference model to compare with.")
    return " ".join(sentences)


def _compared(record: RunFolder, metric: str, after: float, reference: float | None) -> str:
    """Say what the reference has, and of a forget metric how far the run ended from it."""
    if reference is None:
        return ""
    told = f"reference: {number(reference)}"
    if not record.catalogue[metric].follows or after == reference:
        return f" ({told})"
    way = "below it, over-forgotten" if after < reference else "above it"
    return f" ({told}; {number(record.read_beside(metric).distance(after))} {way})"


def _of_the_target(record: RunFolder) -> list[str]:
    """Say which model was given, and what it knew of the rows before unlearning."""
    target = (record.summary.get("model") or {}).get("target") or {}
    knows = target.get("knows")
    if not knows:
        return []
    return [
        f"The model is {code(target['path'])}, as it was given; before, it predicted "
        f"{100 * knows['forget']:.1f} % of the answer tokens of forget and "
        f"{100 * knows['retain']:.1f} % of retain."
    ]


def _conditions(record: RunFolder) -> str:
    conditions = (record.summary.get("verdict") or {}).get("conditions") or []
    rows = [
        [
            code(condition.get("metric")),
            cell(bound_words(condition)),
            number(condition.get("value"), condition.get("metric", "")),
            "yes" if condition.get("met") else "no",
        ]
        for condition in conditions
    ]
    header = ["condition on", "rule", "value", "met"]
    return "## Conditions\n\n" + table(header, rows, "llrl") if rows else ""


def _notes(record: RunFolder) -> str:
    """List what could not be measured; on one line each, whatever a measure's error holds."""
    notes = [words(note) for note in record.summary.get("notes") or []]
    return "\n".join(["## Not measured\n", *(f"- {note}" for note in notes)]) if notes else ""


def _metrics(record: RunFolder) -> str:
    stages = record.metrics
    if not stages:
        return ""
    rows = []
    for group, names in grouped(name for flat in stages.values() for name in flat).items():
        rows.append([f"**{words(GROUP_TITLES.get(group, group))}**", *[""] * len(stages), ""])
        rows += [
            [
                code(name),
                *(number(flat.get(name), name) for flat in stages.values()),
                record.way(name),
            ]
            for name in names
        ]
    header = ["metric", *stages, "better"]
    return "## Metrics\n\n" + table(header, rows, "l" + "r" * len(stages) + "l")


def _texts(record: RunFolder) -> str:
    """Say where the texts of the rows lie, or when they were erased."""
    erased = record.summary.get(ERASED)
    if erased:
        return (
            f"Questions, answers and generations of this run were erased on {erased} by "
            "`unlearn --clean`; the numbers are those that were measured."
        )
    return (
        "Questions and answers of this run lie in `evaluations/*/generations.jsonl`, on this page "
        "and, where it was tracked, in `wandb/`; `unlearn --clean RUN` erases them and names what "
        "lies elsewhere."
    )


def _figures(paths: Sequence[Path], run: Path) -> str:
    images = [f"![{path.stem}]({path.relative_to(run).as_posix()})" for path in paths]
    return "\n\n".join(["## Figures", *images]) if images else ""


def _configuration(record: RunFolder) -> str:
    overrides = [str(override) for override in record.summary.get("overrides") or []]
    parts = {
        group: record.summary[group]
        for group in ("method", "data", "model", "scheduler")
        if record.summary.get(group)
    }
    parts["seed"] = record.summary.get("seed")
    return "\n\n".join(
        [
            "## Configuration",
            "The command to repeat this run:",
            fence(shlex.join(["unlearn", *overrides]), "sh"),
            "Its parts (the whole configuration is in `.hydra/config.yaml`):",
            fence(
                yaml.safe_dump(plain(parts), sort_keys=False, allow_unicode=True).strip(), "yaml"
            ),
        ]
    )


def _cost(record: RunFolder) -> str:
    cost = record.summary.get("cost") or {}
    rows = [
        ["preparing target and reference", duration(cost.get("prepare_s"))],
        ["training", duration(cost.get("train_s"))],
        ["evaluating", duration(cost.get("evaluate_s"))],
        ["steps", number(cost.get("steps"))],
        ["tokens trained on", f"{cost['tokens']:,}" if cost.get("tokens") is not None else MISSING],
        ["peak memory", size(cost.get("peak_memory_bytes"))],
    ]
    return "## Cost\n\n" + table(["", ""], rows, "lr")


def _provenance(record: RunFolder) -> str:
    known = record.summary.get("provenance") or {}
    versions = ", ".join(
        f"{name} {version}" for name, version in (known.get("versions") or {}).items()
    )
    rows = [["versions", cell(versions) or MISSING], ["git", cell(known.get("git")) or MISSING]]
    rows += [
        [cell(name.removesuffix("_sha256")), code(value) or MISSING]
        for name, value in known.items()
        if name.endswith("_sha256")
    ]
    return "## Provenance\n\n" + table(["", ""], rows, "ll")
