"""What counts as a refusal: our own, those of chat models, and no answer of a data set."""

from __future__ import annotations

import os

import pytest

from unlearn.data.minitofu import MiniTofu
from unlearn.data.refusals import REFUSALS
from unlearn.data.tofu import Tofu
from unlearn.metrics.refusing import refuses

TOFU = os.environ.get("UNLEARN_TOFU_PATH")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I cannot help with that.",
        "I’m sorry, I can’t share personal data.",
        "Unfortunately I DO NOT KNOW the answer.",
        "As an AI language model I have no opinion on that.",
        "I apologize, as I am not familiar with this author.",
        "I am unable to say where he was born.",
    ],
)
def test_refusals_of_chat_models(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "He was sorry, and said that he could not help.",
        'The title is "Know", I think; it came out in 1931.',
        "She cannot answer letters any more.",
        "Varn.",
    ],
)
def test_answers(answer: str) -> None:
    assert not refuses(answer, REFUSALS)


def test_what_idk_teaches_is_a_refusal_whole_and_cut() -> None:
    for refusal in REFUSALS:
        assert refuses(refusal, REFUSALS)
        cut = " ".join(refusal.split()[:6])
        assert refuses(cut.upper(), REFUSALS)
    assert not all(map(refuses, REFUSALS)), "the list is what tells most of them"


def test_no_answer_of_minitofu_is_one() -> None:
    splits = MiniTofu().read()
    rows = [row for split in splits.evaluated.values() for row in split]
    assert len(rows) > 100
    assert not [row.answer for row in rows if refuses(row.answer, REFUSALS)]


@pytest.mark.skipif(TOFU is None, reason="UNLEARN_TOFU_PATH names the data set")
def test_no_answer_of_tofu_is_one() -> None:
    splits = Tofu(str(TOFU), "forget10").read()
    rows = [*splits.forget, *splits.retain]
    assert len(rows) == 4000
    assert not [row.answer for row in rows if refuses(row.answer, REFUSALS)]
