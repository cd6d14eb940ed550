"""The same questions answered before and after unlearning, and by the reference, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from unlearn.metrics.catalogue import GROUPS
from unlearn.metrics.quiz_scores import score_of
from unlearn.record.layout import STAGES, read_answers
from unlearn.report.markdown import cell, table
from unlearn.report.wording import MISSING, number

Item = TypeVar("Item")

SAMPLES = {
    "forget": 8,
    "retain": 4,
    "general": 4,
    "forget/verbmem": 4,
    "forget/knowmem": 6,
    "retain/knowmem": 4,
}
"""Answers shown side by side, by split, or by split and quiz."""


def side_by_side(path: Path) -> list[dict[str, Any]]:
    """Join the generations of the stages: one row a question, null where a stage has no answer.

    A row has split (with its quiz, as in ``forget/knowmem``, where it is of one), index, question,
    truth, then ``<stage>`` (the answer) and ``rougeL_<stage>`` (recall, of a quiz F1) for before,
    after and reference. A row whose texts were erased (`unlearn --clean`) is left out.
    """
    answers = {
        stage: {(_place(row), row["index"]): row for row in read_answers(path, stage)}
        for stage in STAGES
    }
    asked = {key: row for stage in reversed(STAGES) for key, row in answers[stage].items()}
    joined = []
    for key in sorted(asked, key=lambda key: (_split_order(key[0]), key)):
        if asked[key].get("truth") is None:
            continue
        row = {"split": key[0], "index": key[1]}
        row |= {name: asked[key].get(name) for name in ("question", "truth")}
        for stage in STAGES:
            row[stage] = answers[stage].get(key, {}).get("answer")
        for stage in STAGES:
            answer = answers[stage].get(key, {})
            row[f"rougeL_{stage}"] = score_of(answer)
        joined.append(row)
    return joined


def _place(row: Mapping[str, Any]) -> str:
    """Return the split of an answer, with the quiz that it belongs to."""
    return f"{row['split']}/{row['quiz']}" if "quiz" in row else str(row["split"])


def _split_order(place: str) -> int:
    split = place.split("/")[0]
    return GROUPS.index(split) if split in GROUPS else len(GROUPS)


def samples_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page's section of sample answers, from the rows of :func:`side_by_side`."""
    blocks = []
    for split, count in SAMPLES.items():
        answered = [row for row in rows if row["split"] == split]
        if not answered:
            continue
        blocks += [
            f"### {split}: {min(count, len(answered))} of {len(answered)} rows, evenly spaced",
            _strongest(answered) if split.startswith("forget") else "",
            _answers(evenly(answered, count)),
        ]
    return "\n\n".join(["## Sample answers", *filter(None, blocks)]) if blocks else ""


def _strongest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the row that kept most: a mean hides the one answer that is still there."""
    scored = [row for row in rows if row["rougeL_after"] is not None]
    if not scored:
        return ""
    row = max(scored, key=lambda row: row["rougeL_after"])
    measure = "F1" if "/" in row["split"] else "recall"
    return (
        f"The forget row that kept most is number {cell(row['index'])}, with a ROUGE-L {measure} "
        f"of {number(row['rougeL_after'])}."
    )


def _answers(rows: Sequence[Mapping[str, Any]]) -> str:
    stages = [stage for stage in STAGES if any(row[stage] is not None for row in rows)]
    lines = []
    for row in rows:
        cells = [_answer(row, stage) for stage in stages]
        lines.append([cell(str(row["index"])), cell(row["question"]), cell(row["truth"]), *cells])
    header = ["row", "question", "truth", *(f"{stage} (ROUGE-L)" for stage in stages)]
    return table(header, lines, "r" + "l" * (len(header) - 1))


def _answer(row: Mapping[str, Any], stage: str) -> str:
    if row[stage] is None:
        return MISSING
    if row[stage].strip() == str(row["truth"]).strip():
        return "*the truth, word for word*"
    return f"{cell(row[stage]) or '*(empty)*'} *({number(row[f'rougeL_{stage}'])})*"


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items evenly spaced from first to last, or all where there are fewer.

    So nobody chose the samples.
    """
    if len(items) <= count:
        return list(items)
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]
