"""What every reader returns: rows to forget, rows to retain, and what is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from unlearn.metrics.catalogue import ROLES, Role, WordRule


class Turn(NamedTuple):
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True)
class Row:
    """One question with its answer; plain text is an answer without a question."""

    question: str
    answer: str
    paraphrased_answer: str | None = None
    perturbed_answers: tuple[str, ...] = ()
    paraphrased_question: str | None = None
    before: tuple[Turn, ...] = ()
    """What stands ahead of the question: a system turn, earlier questions and their answers."""


def as_record(value: Any) -> dict[str, Any]:
    """Return a dataclass with its rows as a dictionary to hash or to write down.

    A row that nothing stands before is what it was before rows had such a field, and a quiz of
    MUSE's kind what it was before there were others.
    """

    def said(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: item for name, item in items if _LATER.get(name, ...) != item}

    return asdict(value, dict_factory=said)


QuizScore = Literal["rougeL_f1", "rougeL_recall", "exact_match", "answer_match"]
"""How the text after a prompt is held against the truth (metrics/quiz_scores.py)."""


@dataclass(frozen=True)
class Quiz:
    """Prompts of a benchmark's own form; the score is that of the greedy text after each.

    With `shots` a row's question comes after those questions and their answers, and what follows is
    cut where the next question would begin. With `templated` it is asked as in training, through
    the model's template. Else it is a passage that goes on with the answer, of which the first
    `new_tokens` tokens count.
    """

    rows: list[Row]
    new_tokens: int
    """Most tokens that are generated after a prompt."""
    shots: list[Row] | None = None
    """Examples that stand ahead of every question; null: none."""
    templated: bool = False
    """Whether questions are asked through the model's template; the whole answer then counts."""
    score: QuizScore = "rougeL_f1"
    """What of the text is the score."""
    line: bool = False
    """Whether a text ends with its first line."""
    also: tuple[tuple[str, ...], ...] = ()
    """Other answers that are right, a tuple for each row; only `answer_match` reads them."""


_LATER = {"before": (), "templated": False, "score": "rougeL_f1", "line": False, "also": ()}
"""Fields of rows and quizzes that a record leaves out at these values."""


@dataclass(frozen=True)
class Judged:
    """How the rows of a split are judged, and so which way is good.

    | form              | asked for an answer | probability             | besides             |
    |-------------------|---------------------|-------------------------|---------------------|
    | `free`            | yes, unless unseen  | of the true answer      | extraction strength |
    | `choices`         | yes, unless unseen  | among the wrong answers |                     |
    | `multiple_choice` | no                  | among the wrong answers | accuracy            |
    | `continuation`    | no                  | among the wrong answers | accuracy            |
    | `text`            | no                  | of the first window     | extraction strength |

    `continuation` is multiple choice as lm-evaluation-harness asks it: the question is the whole
    prompt, outside any template, and an answer goes on behind a space, without an end token.
    Questions after examples, or passages to go on with, are quizzes of :class:`Splits`.
    """

    role: Role | None = None
    """`forget`: to be forgotten; `keep`: to be kept; `unseen`: no model has seen the rows. None:
    nobody said, so no metric of the split has a better way, and nothing is recited."""
    form: Literal["free", "choices", "multiple_choice", "continuation", "text"] = "free"

    @property
    def asked(self) -> bool:
        """Whether an answer is generated: not to what was never learnt, and not to a text."""
        return self.form in ("free", "choices") and self.role != "unseen"

    @property
    def among_choices(self) -> bool:
        """Whether wrong answers are choices to the question, and count in the probability."""
        return self.form in ("choices", "multiple_choice", "continuation")

    @property
    def chosen(self) -> bool:
        """Whether the accuracy is measured: the true answer is to be the likeliest."""
        return self.form in ("multiple_choice", "continuation")

    @property
    def recited(self) -> bool:
        """Whether the extraction strength is measured."""
        return self.role is not None and not self.among_choices


USUAL = {
    name: Judged(role, "choices" if name in ("real_authors", "world_facts") else "free")
    for name, role in ROLES.items()
}
"""How a split is judged of which its reader says nothing; any other one as `Judged()`."""


def judgement(split: str, judged: Mapping[str, Judged] | None = None) -> Judged:
    """Return how a split is judged: as its reader says in `judged`, else as usual."""
    return (judged or {}).get(split) or USUAL.get(split, Judged())


def unseen_of(splits: Iterable[str], judged: Mapping[str, Judged] | None = None) -> str | None:
    """Return the first of these splits that no model has seen; None without one."""
    return next((name for name in splits if judgement(name, judged).role == "unseen"), None)


@dataclass(frozen=True)
class Splits:
    """One forget request: what must go, what must stay, and what is measured."""

    name: str
    forget: list[Row]
    retain: list[Row]
    evaluated: dict[str, list[Row]]
    """Scored rows by split name, such as forget, retain, holdout."""
    general: list[Row] = field(default_factory=list)
    """What a base model is expected to know already. A base without pretraining (`model=tiny`)
    learns these rows along with the rest, in target and reference alike."""
    background: list[Row] = field(default_factory=list)
    """What target and reference have both learnt and no method is given, whatever the base: it
    shows what becomes of knowledge that nobody looks after."""
    vocabulary: list[Row] = field(default_factory=list)
    """More rows whose words the tokenizer of a base without pretraining is to know: where they are
    the same for every request, all requests of a data set share one tokenizer, and so a target."""
    quizzes: dict[str, Quiz] = field(default_factory=dict)
    """Measured besides `evaluated`; the key, such as forget/verbmem, is the name of the score."""
    judged: dict[str, Judged] = field(default_factory=dict)
    """How each split of `evaluated` and `quizzes` is judged, where not as :data:`USUAL` says."""
    words: WordRule = "unicode"
    """What ROUGE takes for a word, where `evaluation.words` is `auto`."""
    benchmark: bool = False
    """Whether the rows are a benchmark's, made to be learnt and forgotten: a given model that does
    not know them is taught them first (`target=auto`). Rows of one's own are never taught."""

    @property
    def unseen(self) -> str | None:
        """The split of rows that no model has seen; None without one."""
        return unseen_of([name for name, rows in self.evaluated.items() if rows], self.judged)

    @property
    def sha256(self) -> str:
        """Hash of every row in order, so that a cached model or a score names its data."""
        # These say how rows are measured, spelled and what they are for, not what they are.
        how = ("judged", "words", "benchmark", "vocabulary")
        rows = {name: value for name, value in as_record(self).items() if name not in how}
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
