"""What the files of a run hold, value by value: the one place where records of others are checked.

A shape is a function that raises :class:`Wrong` for a value of another kind. Fields that no reader
asks for may hold anything, and what is not there is not checked: earlier versions recorded less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Shape = Callable[[Any], None]

LARGEST_NUMBER = 1e100
"""Of a measured number; float32 ends at 3e38, and the squares of deviations are floats as well."""
LARGEST_WHOLE = 2**63
LONGEST_TEXT = 100_000
"""Letters of a text in a summary; the longest is the message of an error."""
MOST_METRICS = 2_000
"""Metrics of one stage; a run with all measures and attacks has some 150."""
SHOWN = 60
"""Letters of a name in a message."""


class Wrong(ValueError):
    """A value of the wrong kind; says at which place within the file it stands."""

    def __init__(self, told: str, place: str = "") -> None:
        super().__init__(f"{place}: {told}" if place else told)
        self.told, self.place = told, place

    def within(self, key: Any) -> Wrong:
        """Return the same error as seen from the mapping or list around it."""
        if isinstance(key, int) and not isinstance(key, bool):
            name = f"[{key}]"
        elif isinstance(key, str) and key.isprintable() and len(key) <= SHOWN:
            name = key
        else:  # a key of somebody else's may break a line, or fill a screen
            name = ascii(key)[:SHOWN]
        dot = "." if self.place and not self.place.startswith("[") else ""
        return Wrong(self.told, name + dot + self.place)


def require(shape: Shape, value: Any, name: str) -> None:
    """Raise ValueError, with file and field, where what the file `name` holds has another shape."""
    try:
        shape(value)
    except Wrong as error:
        raise ValueError(f"{name}: {error}") from None


def number(value: Any) -> None:
    """Require a finite number; true and false are none."""
    # The comparison is false for NaN, and exact for an integer that no float can hold.
    if type(value) not in (int, float) or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise wrong(value, "a finite number")


def whole(value: Any) -> None:
    """Require a whole number, such as a step or a seed."""
    if type(value) is not int or not -LARGEST_WHOLE < value < LARGEST_WHOLE:
        raise wrong(value, "a whole number of at most 64 bits")


def text(value: Any) -> None:
    """Require a text of a sane length."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise wrong(value, f"a text of at most {LONGEST_TEXT:,} letters")


def words(value: Any) -> None:
    """Require a text of any length: questions and answers may be as long as a line."""
    if not isinstance(value, str):
        raise wrong(value, "a text")


def flag(value: Any) -> None:
    """Require true or false."""
    if not isinstance(value, bool):
        raise wrong(value, "true or false")


def mapping(value: Any) -> None:
    """Require a mapping, whatever it holds."""
    if not isinstance(value, Mapping):
        raise wrong(value, "a mapping")


def way(value: Any) -> None:
    """Require what may say which way is good: of texts the catalogue takes those that it knows."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number(value)


def maybe(shape: Shape) -> Shape:
    """Return the shape of what may also be null."""

    def check(value: Any) -> None:
        if value is not None:
            shape(value)

    return check


def list_of(shape: Shape) -> Shape:
    """Return the shape of a list."""

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise wrong(value, "a list")
        for index, one in enumerate(value):
            try:
                shape(one)
            except Wrong as error:
                raise error.within(index) from None

    return check


def mapping_of(shape: Shape, most: int = MOST_METRICS) -> Shape:
    """Return the shape of a mapping from names to values of one kind."""

    def check(value: Any) -> None:
        mapping(value)
        if len(value) > most:
            raise Wrong(f"{len(value):,} entries; allowed: {most:,}")
        for key, one in value.items():
            try:
                text(key)
                shape(one)
            except Wrong as error:
                raise error.within(key) from None

    return check


def fields(known: Mapping[str, Shape], needed: tuple[str, ...] = ()) -> Shape:
    """Return the shape of a mapping of which these fields are read, where it has them."""

    def check(value: Any) -> None:
        mapping(value)
        for key in needed:
            if key not in value:
                raise Wrong(f"it has no {key}")
        for key, shape in known.items():
            if key in value:
                try:
                    shape(value[key])
                except Wrong as error:
                    raise error.within(key) from None

    return check


def settings(value: Any) -> None:
    """Require what a configuration is made of: mappings and lists of texts, numbers and flags."""
    if isinstance(value, (Mapping, list)):
        for key, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            if not isinstance(key, (str, int, float)):
                raise wrong(key, "a text as a name")
            try:
                settings(one)
                settings(key)
            except Wrong as error:
                raise error.within(key) from None
    elif isinstance(value, int):
        if not -LARGEST_WHOLE < value < LARGEST_WHOLE:
            raise wrong(value, "a whole number of at most 64 bits")
    elif value is not None and not isinstance(value, (str, float)):
        raise wrong(value, "a text, a number or a flag")


def configuration(value: Any) -> None:
    """Require the configuration of a run."""
    mapping(value)
    settings(value)


def wrong(value: Any, wanted: str) -> Wrong:
    """Return the error, in one line: what was found is shown where it is short."""
    if isinstance(value, Mapping):
        found = "a mapping"
    elif isinstance(value, list):
        found = "a list"
    elif isinstance(value, str):
        found = ascii(value[:SHOWN]) + (f" … ({len(value):,} letters)" if value[SHOWN:] else "")
    elif isinstance(value, bool) or value is None:
        found = {True: "true", False: "false", None: "null"}[value]
    elif isinstance(value, int) and value.bit_length() > 128:
        found = f"one of {value.bit_length():,} bits"
    else:
        found = ascii(value)[:SHOWN]
    return Wrong(f"{wanted} was expected, found {found}")


MEASURED = maybe(number)
"""Null where it was not finite."""
FLAT = maybe(mapping_of(MEASURED))
NAMED = maybe(fields({"name": maybe(text)}))
PREPARED = maybe(
    fields({"path": maybe(text), "accuracy": MEASURED, "knows": maybe(mapping_of(number))})
)
HASHES = ("data_sha256", "target_sha256", "reference_sha256")

SAFETY = {
    **dict.fromkeys(("first", "largest", "bound"), MEASURED),
    **dict.fromkeys(("step", "beyond"), whole),
}
SUMMARY = fields(
    {
        "schema": maybe(whole),
        "status": text,
        "error": maybe(text),
        "name": maybe(text),
        "seed": whole,
        **dict.fromkeys(("method", "data", "scheduler"), NAMED),
        "model": maybe(
            fields(
                {
                    **dict.fromkeys(("name", "path"), maybe(text)),
                    **dict.fromkeys(("target", "reference"), PREPARED),
                }
            )
        ),
        "overrides": list_of(text),
        "metrics": fields(dict.fromkeys(("before", "after", "reference"), FLAT)),
        "verdict": maybe(
            fields(
                {
                    "accepted": maybe(flag),
                    "conditions": maybe(
                        list_of(
                            fields(
                                {
                                    "metric": text,
                                    "rule": maybe(text),
                                    "value": MEASURED,
                                    "met": maybe(flag),
                                }
                            )
                        )
                    ),
                }
            )
        ),
        "cost": maybe(mapping_of(MEASURED)),
        "safety": maybe(fields(SAFETY, needed=tuple(SAFETY))),
        "provenance": maybe(
            fields(
                {
                    "versions": maybe(mapping),
                    "evaluation": maybe(mapping),
                    "files": maybe(mapping_of(text)),
                    **dict.fromkeys(("config_sha256", "options_sha256", *HASHES), maybe(text)),
                }
            )
        ),
        "notes": maybe(list_of(text)),
        "better": maybe(mapping_of(way)),
        "attacks": maybe(fields({"names": maybe(list_of(text)), "notes": maybe(mapping)})),
        "training": maybe(fields({"best": maybe(fields({"step": maybe(whole)}))})),
    },
    needed=("status", "overrides", "metrics"),
)
"""Of a run and of a rescoring, as experiment/summary.py writes it."""

FINISHED = fields(
    {
        "method": mapping,
        "data": mapping,
        "model": mapping,
        "provenance": fields({}, needed=HASHES),
    },
    needed=("name", "seed", "method", "data", "model", "scheduler", "provenance"),
)
"""Of a run that is to be measured again, beside that of :data:`SUMMARY`."""

_LINE = fields(
    {
        "step": whole,
        "stage": text,
        "train/lr_reason": maybe(text),
        **dict.fromkeys(
            (
                *("epoch", "seconds", "train/lr", "train/lr_star", "train/cosine"),
                *("train/forget_loss", "train/retain_loss", "train/retain_share"),
                *("train/forget_norm", "train/retain_norm", "train/share_low", "train/share_high"),
                *("train/forget_descent", "train/retain_descent"),
            ),
            MEASURED,
        ),
    },
    needed=("step",),
)
_EVALUATED = mapping_of(MEASURED)


def line(value: Any) -> None:
    """Require a line of ``metrics.jsonl``: what is drawn of a step, or the metrics of a stage."""
    _LINE(value)
    if "stage" in value:
        _EVALUATED({name: one for name, one in value.items() if name not in ("step", "stage")})


ANSWERED = fields(
    {
        "split": text,
        "index": whole,
        "quiz": text,
        **dict.fromkeys(("question", "truth", "answer"), maybe(words)),
        **dict.fromkeys(("rougeL_recall", "rougeL_f1"), MEASURED),
        **dict.fromkeys(("exact_match", "answer_match"), MEASURED),
    },
    needed=("split", "index"),
)
"""Of a line of ``generations.jsonl``."""

BEGUN = fields({"config": mapping, "data_sha256": text}, needed=("config", "data_sha256"))
"""Of what a run notes as it begins."""

OVERRIDES = list_of(text)
HYDRA = fields({"hydra": maybe(fields({"runtime": maybe(fields({"cwd": maybe(text)}))}))})
"""Of what is read of ``hydra.yaml``."""
