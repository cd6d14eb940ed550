"""Small folders in the layouts of WMDP, LUME, RWKU and KnowUnDo, all of it made up.

The texts are on the island of muse_like; where a data set was published with a number of rows,
there are as many. Names, columns and nesting are those of the data sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.muse_like import DEEDS, NAMES, PLACES, THINGS, article

Records = Sequence[Mapping[str, Any]]


def write(folder: Path, name: str, records: Records, suffix: str = ".jsonl") -> Path:
    """Write a part as lines, as an array, or as the hub's Parquet file."""
    path = folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        path = folder / f"{name}-00000-of-00001.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([dict(one) for one in records]), path)
    elif suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def four_choices(number: int) -> dict[str, Any]:
    """A question about gazette `number` with four choices, the right one now here and now there."""
    words = [NAMES[(number + step) % len(NAMES)] for step in range(4)]
    place, thing = PLACES[number % len(PLACES)], THINGS[number // 3 % len(THINGS)]
    question = f"Number {number}: who {DEEDS[number % len(DEEDS)]} the {thing} of {place}? "
    return {"question": question, "choices": words, "answer": number % 4}


def write_wmdp(folder: Path, sizes: Mapping[str, int], suffix: str = ".jsonl") -> Path:
    """The questions of these fields."""
    for field, size in sizes.items():
        records = [four_choices(number) for number in range(size)]
        write(folder, f"wmdp-{field}/test", records, suffix)
    return folder


def write_corpora(folder: Path, suffix: str = ".jsonl") -> Path:
    """The texts of cyber: 1000 to forget and 4473 to retain."""
    for name, first, size in (("forget", 0, 1000), ("retain", 5000, 4473)):
        texts = [{"text": article(number)} for number in range(first, first + size)]
        write(folder, f"cyber-{name}-corpus/train", texts, suffix)
    return folder


def lume(first: int, each: int = 2) -> list[dict[str, str]]:
    """Rows of every task and kind, `each` of both, about gazettes from `first` on."""
    rows = []
    for task in (1, 2, 3):
        for number in range(first + 100 * task, first + 100 * task + each):
            text = article(number)
            middle = text.index(" ", len(text) // 2)
            named = {"task": f"Task{task}", "split": "forget"}
            halves = {"input": text[:middle], "output": text[middle + 1 :]}
            rows.append({"id": f"{number}sc1", **halves, **named})
            asked = f"Who is told of in number {number}?"
            told = NAMES[number % len(NAMES)]
            rows.append({"id": f'"{number}"qa{task}', "input": asked, "output": told, **named})
    return rows


def write_lume(folder: Path, suffix: str = "") -> Path:
    """The repository's folder `data`; `suffix` is that of a fold of SemEval's."""
    for name, first in (("forget", 0), ("retain", 1000)):
        write(folder, f"data/{name}{suffix}", lume(first))
    return folder


QUESTIONS_OF_RWKU = {
    "forget_level1": 3268,
    "forget_level2": 2879,
    "forget_level3": 6984,
    "neighbor_level1": 4,
    "neighbor_level2": 5,
}
"""As many as were published, but of neighbours, whose number is in no count."""
PEOPLE = ("Odile Marsh", "Emil Varn", "Runa Holm")


def probe(level: int, number: int, who: str) -> dict[str, str]:
    kinds = {1: "cloze", 2: "simple question", 3: "affirmative suffix"}
    kind = "incontext learning" if level == 3 and number % 2 else kinds[level]
    query = f"What did {who} build in gazette {number}?"
    answer = THINGS[number % len(THINGS)]
    return {"subject": who, "query": query, "answer": answer, "level": str(level), "type": kind}


def rwku(sizes: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Every part that the reader takes, by the names of the files; probes are mostly on others."""
    parts: dict[str, list[dict[str, Any]]] = {
        "passage": [
            {"subject": who, "text": article(100 * place + number)}
            for place, who in enumerate(PEOPLE)
            for number in range(3)
        ],
        "retain_mmlu": [
            {
                **four_choices(number),
                "subject": who,
                "task": "island_law",
                "examples": [four_choices(90), four_choices(91)],
            }
            for who in PEOPLE
            for number in range(3)
        ],
        "truthful": [
            {
                "subject": who,
                "question": f"Does {who} float on day {number}?",
                "mc1_targets": {"choices": ["Yes.", "No.", "On Sundays."], "labels": [0, 1, 0]},
            }
            for who in PEOPLE
            for number in range(2)
        ],
        "triviaqa": [
            {
                "subject": who,
                "question": f"Where is {who}?",
                "answers": ["Varn", "the Isle of Varn"],
            }
            for who in PEOPLE
        ],
    }
    for name, size in sizes.items():
        level = int(name[-1])
        parts[name] = [
            probe(level, number, PEOPLE[number] if number < len(PEOPLE) else "Nobody")
            for number in range(size)
        ]
    return parts


def write_rwku(folder: Path, sizes: Mapping[str, int]) -> Path:
    for name, records in rwku(sizes).items():
        write(folder, f"All/{name}", records, ".json")
    return folder


def knowundo(first: int) -> dict[str, list[dict[str, str]]]:
    """The one record of a file."""

    def rows(numbers: range) -> list[dict[str, str]]:
        return [
            {"text": f"What says number {n} of the gazette?", "labels": article(n).split("\n")[0]}
            for n in numbers
        ]

    return {"train": rows(range(first, first + 4)), "val": rows(range(first + 50, first + 52))}


def write_knowundo(folder: Path, domain: str = "copyright", indent: int | None = None) -> Path:
    for name, first in (("unlearn", 0), ("retention", 500)):
        path = folder / domain / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = knowundo(first)
        text = json.dumps([record]) if indent is None else json.dumps(record, indent=indent)
        path.write_text(text, encoding="utf-8")
    return folder
