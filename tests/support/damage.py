"""Ways in which a run folder is damaged, by a copy that went wrong or by somebody's hand.

The same ones each time: what is drawn by chance has a fixed seed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.hostile import BOMB, DEEP

Damage = Callable[[Path], Any]
"""Damages the run in a folder."""

WRONG: dict[str, str] = {
    "a text": '"zzz"',
    "a number": "7",
    "a negative fraction": "-0.5",
    "true": "true",
    "null": "null",
    "an empty list": "[]",
    "a list": '[1, "a", null, {"b": []}]',
    "an empty mapping": "{}",
    "a mapping": '{"a": {"b": [1]}, "name": 3}',
    "NaN": "NaN",
    "minus infinity": "-Infinity",
    "more than a float": "1e999",
    "a number at the edge": "-1e99",
    "an integer beyond floats": "9" * 400,
    "an integer of a million digits": "9" * 1_000_000,
    "half a letter": r'"\ud800"',
    "a long text": '"' + "x" * 200_000 + '"',
    "deep nesting": "[" * 100 + "]" * 100,
    "nesting without end": "[" * DEEP,
}
"""What may stand where something else should, as JSON; not all of it is strict JSON."""
ONCE = (
    *("an integer of a million digits", "a long text", "deep nesting", "nesting without end"),
    *("minus infinity", "an empty list", "a negative fraction"),
)
"""Of these the place matters little, and many cost time: they stand at the top alone."""
HOLE = "\x00hole\x00"


def places_in(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every field, nested ones too, as keys and indices; of many alike some."""
    found = list(value.items() if isinstance(value, dict) else enumerate(value))
    if len(found) > 7 and here:  # the metrics of a stage, the identity of an evaluation
        drawn = ("forget/rougeL_recall", "retain/rougeL_recall")
        found = [one for place, one in enumerate(found) if one[0] in drawn or place % 8 == 0]
    for key, inner in found:
        yield (*here, key)
        if isinstance(inner, (dict, list)):
            yield from places_in(inner, (*here, key))


def put(text: str, place: tuple[Any, ...], raw: str) -> str:
    """Return a JSON text with the value at a place replaced by raw text."""
    whole = json.loads(text)
    node = whole
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = HOLE
    return json.dumps(whole).replace(json.dumps(HOLE), raw)


def without(text: str, place: tuple[Any, ...]) -> str:
    """Return a JSON text without the value at a place."""
    whole = json.loads(text)
    node = whole
    for key in place[:-1]:
        node = node[key]
    del node[place[-1]]
    return json.dumps(whole)


def rewrite(run: Path, name: str, text: str | bytes) -> None:
    """Give a file other content; never through a link, as copies of a run share their files."""
    remove(run / name)
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(text.encode() if isinstance(text, str) else text)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def of_summary(summary: dict[str, Any]) -> Iterator[tuple[str, Damage]]:
    """Every field of the summary: gone, and of every wrong kind."""
    text = json.dumps(summary)
    for place in places_in(summary):
        name = ".".join(map(str, place))
        yield (
            f"{name} gone",
            lambda run, place=place: rewrite(run, "summary.json", without(text, place)),
        )
        for what, raw in WRONG.items():
            yield (
                f"{name} {what}",
                lambda run, place=place, raw=raw: rewrite(
                    run, "summary.json", put(text, place, raw)
                ),
            )


def of_lines(name: str, numbers: tuple[int, ...]) -> Iterator[tuple[str, Damage]]:
    """Every field of some lines: gone, and of every wrong kind."""

    def change(run: Path, number: int, change: Callable[[str], str]) -> None:
        lines = (run / name).read_text().splitlines()
        lines[number] = change(lines[number])
        rewrite(run, name, "".join(line + "\n" for line in lines))

    def damage(number: int, key: str, raw: str) -> Damage:
        return lambda run: change(run, number, lambda line: put(line, (key,), raw))

    keys = ("step", "stage", "train/lr", "train/lr_reason", "train/forget_loss", "train/cosine")
    keys = keys if name == "metrics.jsonl" else ("split", "index", "answer", "rougeL_recall")
    for number in numbers:
        for key in keys:
            for what, raw in WRONG.items():
                if what not in ONCE:
                    yield f"{name}:{number + 1}: {key} {what}", damage(number, key, raw)
        for what, raw in WRONG.items():
            yield (
                f"{name}:{number + 1} {what}",
                lambda run, number=number, raw=raw: change(run, number, lambda line: raw),
            )


FILES = (
    "summary.json",
    "metrics.jsonl",
    "evaluations/after/generations.jsonl",
    ".hydra/config.yaml",
    ".hydra/overrides.yaml",
)


def of_files() -> Iterator[tuple[str, Damage]]:
    """Whole files: cut, spoilt, replaced by what is no file, or by what unfolds without end."""
    for name in FILES:
        for seed in range(4):
            yield f"{name} cut {seed}", lambda run, name=name, seed=seed: cut(run, name, seed)
            yield f"{name} spoilt {seed}", lambda run, name=name, seed=seed: spoil(run, name, seed)
        for what, text in {
            "empty": b"",
            "a byte order mark": b"\xef\xbb\xbf{}\n",
            "binary": bytes(range(256)) * 64 + b"\n",
            "no letter": b'{"a": "\xff"}\n',
            "zeros": bytes(4096),
            "one long line": b'{"a": "' + b"x" * 2**21 + b'"}\n',
            "without end": b"[" * DEEP + b"\n",
            "deep": b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n",
            "a mapping of a list": b'{"a": [1, {}]}\n',
            "a list": b"[1, {}, null]\n",
            "a text": b'"zzz"\n',
            "null": b"null\n",
            "aliases": BOMB.encode(),
            "a number to the base of 60": b"a: 1" + b":59" * 200_000 + b"\n",
            "a long number": b"a: 0x" + b"f" * 100_000 + b"\n",
            "a month 13": b"a: 2020-13-45\n",
            "a day": b"a: 2020-12-24\n",
            "bytes": b"a: !!binary aGFsbG8=\n",
            "a set": b"? a\n? b\n",
            "names that are no text": b"? [1, 2]\n: 3\n1: a\nb: c\n",
            "names of two kinds": b"1: a\nb: c\nnull: d\n",
        }.items():
            yield f"{name} {what}", lambda run, name=name, text=text: rewrite(run, name, text)
        for what, make in {
            "a folder": lambda path: path.mkdir(),
            "a pipe": os.mkfifo,
            "a link to itself": lambda path: path.symlink_to(path.name),
            "a link to nothing": lambda path: path.symlink_to("nowhere"),
            "a link to a device": lambda path: path.symlink_to("/dev/zero"),
            "enormous": lambda path: (path.touch(), os.truncate(path, 2**40)),
        }.items():
            yield (
                f"{name} {what}",
                lambda run, name=name, make=make: (
                    remove(run / name),
                    make(run / name),
                ),
            )
    for name in ("evaluations", "evaluations/after", ".hydra", "unlearn.log"):
        for what, make in {"a file": Path.touch, "a pipe": os.mkfifo}.items():
            yield (
                f"{name} {what}",
                lambda run, name=name, make=make: (
                    remove(run / name),
                    make(run / name),
                ),
            )


def cut(run: Path, name: str, seed: int) -> None:
    """Leave the beginning of a file."""
    content = (run / name).read_bytes()
    rewrite(run, name, content[: random.Random(seed).randrange(1, max(len(content), 2))])


def spoil(run: Path, name: str, seed: int) -> None:
    """Change a few bytes of a file."""
    draw, content = random.Random(seed), bytearray((run / name).read_bytes())
    for _ in range(3):
        content[draw.randrange(len(content))] = draw.randrange(256)
    rewrite(run, name, bytes(content))


def flip(file: Path, at: float = 0.5) -> None:
    """Turn one bit of a file, at a share of its length."""
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 1
    rewrite(file.parent, file.name, bytes(content))


def copy_of(run: Path, to: Path) -> Path:
    """Return a copy of a run whose files are links to those of the run."""
    return Path(shutil.copytree(run, to, copy_function=os.link))
