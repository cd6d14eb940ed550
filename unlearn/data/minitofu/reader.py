"""A small generated benchmark in the spirit of TOFU: authors who never lived, ten questions each.

It needs no download, and no model can have met its authors, so what a model knows of them is what
it was taught here. The idea is that of "TOFU: A Task of Fictitious Unlearning for LLMs" (Maini et
al., 2024, arXiv 2401.06121); all names, facts and sentences are our own. Answers are short, for
models small enough to be trained without an accelerator.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import chain

from unlearn.data.minitofu.world import (
    ATTRIBUTES,
    FIRST_NAMES,
    LAST_NAMES,
    REAL_AUTHORS,
    WORLD_FACTS,
    Attribute,
    Topic,
)
from unlearn.data.row_checks import checked, count_problems, cut_both
from unlearn.data.splits import Row, Splits
from unlearn.errors import ConfigurationError

AUTHORS = 40
FORGOTTEN_AUTHORS = {"forget05": 2, "forget10": 4}
"""Authors to forget by subset: the last ones, as in TOFU. As many more make the holdout."""


@dataclass
class MiniTofu:
    """Forty fictitious authors with ten questions each; the last of them are to be forgotten.

    The facts of an author are dealt independently of each other, so only memory can tell them.
    Every row of an author carries a paraphrase and five wrong answers in the wording of the
    paraphrase. A model that has learnt the retained rows alone meets holdout rows as it meets
    forget rows: they are worded alike, and what they tell was told of as many retained authors.

    Raises ConfigurationError for a value that is not allowed and DataError for more rows than the
    data has.
    """

    subset: str = "forget10"
    """What is forgotten: `forget05` (2 authors, 20 rows) or `forget10` (4 authors, 40 rows)."""
    forget_rows: int | None = None
    """Forget only the first so many rows; null for all."""
    retain_rows: int | None = None
    """Retain only the first so many rows; null for all (380 or 360)."""
    retain_scored: int | None = 80
    """Retained rows that are scored, a fixed sample spread over the authors (at most all of them);
    null for all. Training uses every retained row."""
    seed: int = 0
    """Seed of names, facts and wordings, at least 0; the same seed gives the same data."""

    def __post_init__(self) -> None:
        problems = []
        if self.subset not in FORGOTTEN_AUTHORS:
            allowed = " and ".join(FORGOTTEN_AUTHORS)
            problems.append(f"data.subset={self.subset}: minitofu has {allowed}.")
        for field in ("forget_rows", "retain_rows", "retain_scored"):
            problems += count_problems(f"data.{field}", getattr(self, field))
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            problems.append(f"data.seed={self.seed}: give a whole number from 0 up to 2^63 - 1.")
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Generate the authors and divide them into forget, retain and holdout."""
        rng = random.Random(self.seed)
        forgotten = FORGOTTEN_AUTHORS[self.subset]
        # All authors are generated whatever the subset, so that a subset changes nobody's life.
        most = AUTHORS + max(FORGOTTEN_AUTHORS.values())
        pairs = zip(rng.sample(FIRST_NAMES, most), rng.sample(LAST_NAMES, most), strict=True)
        names = [" ".join(pair) for pair in pairs]
        # Facts are told of the k-th author not seen in the words of the k-th last one forgotten.
        worded = [*range(AUTHORS), *reversed(range(2 * AUTHORS - most, AUTHORS))]
        told = [_told(names, worded, attribute, rng) for attribute in ATTRIBUTES]
        authors = [list(rows) for rows in zip(*told, strict=True)]

        kept = AUTHORS - forgotten
        forget, retain = _joined(authors[kept:AUTHORS]), _joined(authors[:kept])
        forget, retain = cut_both(forget, retain, self.forget_rows, self.retain_rows)
        real_authors, world_facts = _facts(REAL_AUTHORS), _facts(WORLD_FACTS)
        return checked(
            Splits(
                name=f"minitofu_{self.subset}",
                forget=forget,
                retain=retain,
                evaluated={
                    "forget": forget,
                    "retain": _spread(retain, self.retain_scored, random.Random(self.seed)),
                    "real_authors": real_authors,
                    "world_facts": world_facts,
                    "holdout": _joined(authors[AUTHORS : AUTHORS + forgotten]),
                },
                general=real_authors + world_facts,
                vocabulary=_joined(authors[AUTHORS:]),
                words="tofu",
                benchmark=True,
            )
        )


def _told(
    names: list[str], worded: list[int], attribute: Attribute, rng: random.Random
) -> list[Row]:
    """Tell one thing of every author; `worded` is whose wordings an author's row has."""
    truths = attribute.pool.deal(len(names), rng)
    wordings = {
        author: (rng.sample(attribute.questions, 2), rng.sample(attribute.answers, 2))
        for author in range(AUTHORS)
    }
    return [
        _row(name, truth, *wordings[author], attribute.pool.values, rng)
        for name, truth, author in zip(names, truths, worded, strict=True)
    ]


def _row(
    name: str,
    truth: str,
    questions: list[str],
    answers: list[str],
    values: tuple[str, ...],
    rng: random.Random,
) -> Row:
    """Word one fact twice, to learn and to paraphrase it, and draw five wrong ones."""
    wrong = [value for value in rng.sample(values, 6) if value != truth][:5]
    question, other_question = (words.format(name=name) for words in questions)
    answer, paraphrase = answers
    return Row(
        question=question,
        answer=_sentence(answer, name=name, value=truth),
        paraphrased_answer=_sentence(paraphrase, name=name, value=truth),
        perturbed_answers=tuple(_sentence(paraphrase, name=name, value=value) for value in wrong),
        paraphrased_question=other_question,
    )


def _facts(topics: tuple[Topic, ...]) -> list[Row]:
    """Turn true facts into rows; the next three other values of the topic are the wrong answers."""
    rows = []
    for topic in topics:
        values = list(dict.fromkeys(topic.facts.values()))
        for subject, truth in topic.facts.items():
            place = values.index(truth) + 1
            wrong = (values[place:] + values[:place])[:3]
            rows.append(
                Row(
                    question=topic.question.format(subject=subject),
                    answer=_sentence(topic.answer, subject=subject, value=truth),
                    perturbed_answers=tuple(
                        _sentence(topic.answer, subject=subject, value=value) for value in wrong
                    ),
                )
            )
    return rows


def _sentence(wording: str, **parts: str) -> str:
    """Fill a wording in; a value such as "the poet ..." may come first and needs its capital."""
    text = wording.format(**parts)
    return text[0].upper() + text[1:]


def _spread(rows: list[Row], count: int | None, rng: random.Random) -> list[Row]:
    """Choose one row at random from each of `count` equal stretches: every author has its share."""
    if count is None or count >= len(rows):
        return rows
    edges = [stretch * len(rows) // count for stretch in range(count + 1)]
    return [rows[rng.randrange(edges[i], edges[i + 1])] for i in range(count)]


def _joined(authors: list[list[Row]]) -> list[Row]:
    return list(chain.from_iterable(authors))
