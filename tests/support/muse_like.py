"""A small folder in MUSE's layout, all of it made up: the gazette of an island that does not exist.

Sizes are a few texts a split; names, columns and nesting are those of the hub's data set.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path

Record = dict[str, str]

WORDS = {
    "place": "Varn Ostrel Quill Merrow Tansy Holm Pellan Drosk Ivery Sount Calder Yarrow",
    "name": "Odile Emil Runa Tavi Brigit Anselm Corin Maud Ferro Ilse Jonas Petra Lise Oskar",
    "thing": "ferry lighthouse bakery bridge orchard school harbour mill theatre well",
    "deed": "closed reopened burned flooded painted sold moved doubled rented surveyed",
}
PLACES, NAMES, THINGS, DEEDS = (words.split() for words in WORDS.values())
REQUEST = 3
"""Texts of one request."""
SIZES = {"retain1": 5, "retain2": 4, "holdout": 3}
QUESTIONS = 4
SHOTS = 3


def article(number: int) -> str:
    """Text `number`, always the same, of about sixty words."""
    draw = random.Random(number)
    place, (who, other) = PLACES[number % len(PLACES)], draw.sample(NAMES, 2)
    thing, deed = draw.choice(THINGS), draw.choice(DEEDS)
    days, cost, year = draw.randint(2, 90), draw.randint(100, 999), draw.randint(1801, 1999)
    return (
        f"The {thing} of {place} was {deed} on day {days} of the year {year}, said {who}, who "
        f"keeps its books. The work cost {cost} crowns, and {other} paid for most of it.\n\n"
        f"Nobody in {place} had asked for it. {other} told the gazette, number {number}, that the "
        f"{draw.choice(THINGS)} comes next, in {draw.randint(3, 40)} weeks, if {who} agrees."
    )


def excerpt(number: int) -> Record:
    """A passage and how it goes on: the two halves of a text."""
    text = article(number)
    middle = text.index(" ", len(text) // 2)
    return {"prompt": text[:middle], "gt": text[middle:]}


def question(number: int) -> Record:
    """A question about text `number`."""
    sentence = article(number).split(", said ")[0]
    thing_and_place = sentence.split(" was ")[0].removeprefix("The ")
    return {
        "question": f"In gazette {number}, when did it happen to the {thing_and_place}?",
        "answer": sentence.split(" on ")[1],
    }


def parts(corpus: str = "news") -> dict[str, list[Record]]:
    """The records of every configuration and split that the corpus has."""
    requests = [range(n * REQUEST, (n + 1) * REQUEST) for n in range(4 if corpus == "news" else 1)]
    numbers = {"forget": requests[0]}
    first = 100
    for name, size in SIZES.items():
        numbers[name] = range(first, first + size)
        first += size

    def texts(chosen: range) -> list[Record]:
        return [{"text": article(number)} for number in chosen]

    def asked(chosen: range, count: int, start: int = 0) -> list[Record]:
        return [question(chosen[(start + n) % len(chosen)]) for n in range(count)]

    made = {f"raw/{name}": texts(chosen) for name, chosen in numbers.items()}
    for name, source in (("forget", "forget"), ("retain", "retain2"), ("holdout", "holdout")):
        halves = [excerpt(number)["gt"].strip() for number in numbers[source]]
        made[f"privleak/{name}"] = [{"text": half} for half in halves]
    made["verbmem/forget"] = [excerpt(number) for number in numbers["forget"]]
    for name, source in (("forget", "forget"), ("retain", "retain2")):
        made[f"knowmem/{name}_qa"] = asked(numbers[source], QUESTIONS)
        made[f"knowmem/{name}_qa_icl"] = asked(numbers[source], SHOTS, start=1)
    if corpus == "news":
        for n, request in enumerate(requests, start=1):
            made[f"sust/forget_{n}"] = texts(request)
            made[f"scal/forget_{n}"] = texts(range(n * REQUEST))
    return made


def write_muse(folder: Path, corpus: str = "news", suffix: str = ".json") -> Path:
    """Write the corpus, as the hub lays it out (.parquet) or as lists of objects (.json)."""
    for name, records in parts(corpus).items():
        write_part(folder, name, records, suffix)
    return folder


def write_part(
    folder: Path, name: str, records: list[Mapping[str, object]] | list[Record], suffix: str
) -> Path:
    """Write one split."""
    if suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        path = folder / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
        return path
    path = folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records), encoding="utf-8")
    return path
