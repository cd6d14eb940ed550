"""Our stemmer is NLTK's and our ROUGE rouge-score's: on all of TOFU, and on words of chance."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import pytest
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from unlearn.data.minitofu import MiniTofu
from unlearn.metrics.porter import IRREGULAR, STEP_2, STEP_3, STEP_4, stem
from unlearn.metrics.text import longest_common, rouge_1, rouge_l, tokens_of

ENDS = (
    *("s", "ies", "sses", "ied", "eed", "ed", "ing", "ating", "bled", "izing", "y", "ion", "sion"),
    *("logi", "e", "ll", "lle", *(suffix for suffix, _ in (*STEP_2, *STEP_3, *STEP_4))),
)
"""Every suffix of which a rule speaks."""


@cache
def theirs() -> PorterStemmer:
    return PorterStemmer()


def differing(words: set[str]) -> dict[str, tuple[str, str]]:
    pairs = {word: (stem(word), theirs().stem(word)) for word in words}
    return {word: pair for word, pair in pairs.items() if pair[0] != pair[1]}


def test_every_suffix_behind_every_short_stem() -> None:
    """Stems of up to four letters of a kind each: vowel, y, consonants that double or do not."""
    stems = ["".join(letters) for n in range(5) for letters in product("aytslw", repeat=n)]
    assert differing({root + end for root in stems for end in ENDS} | set(IRREGULAR)) == {}


def test_words_of_chance() -> None:
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzaeiouyy0"
    words = {"".join(draw.choices(letters, k=draw.randrange(1, 9))) for _ in range(20_000)}
    doubled = {word + word[-1] + draw.choice(ENDS) + draw.choice(ENDS) for word in words}
    assert differing(words | doubled) == {}


@pytest.mark.slow
def test_all_words_of_tofu(tofu_path: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(tofu_path.glob("*.json"))]
    words = {word for text in texts for word in re.findall("[a-z0-9]+", text.lower())}
    assert len(words) > 10_000
    assert differing(words) == {}


def same(truth: str, answer: str, stemmer: bool) -> bool:
    """Whether both ROUGE of two texts are those of rouge-score to the bit."""
    found = RougeScorer(["rouge1", "rougeL"], use_stemmer=stemmer).score(truth, answer)
    ours = [tokens_of(text, "tofu", stemmer) for text in (truth, answer)]
    return all(
        (score.precision, score.recall, score.f1)
        == (found[kind].precision, found[kind].recall, found[kind].fmeasure)
        for kind, score in (("rouge1", rouge_1(*ours)), ("rougeL", rouge_l(*ours)))
    )


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_is_that_of_rouge_score(stemmer: bool) -> None:
    draw = random.Random(1)
    rows = [row for rows in MiniTofu().read().evaluated.values() for row in rows]
    answers = [row.answer for row in rows]
    pairs = [tuple(draw.sample(answers, 2)) for _ in range(100)]
    pairs += [(text, " ".join(draw.sample(text.split(), 3))) for text in answers[:50]]
    pairs += [("", ""), ("one", ""), ("", "one"), ("ÄÖ?!", "one"), ("İstanbul K", "istanbul k")]
    assert [pair for pair in pairs if not same(*pair, stemmer)] == []


@pytest.mark.slow
def test_rouge_of_tofu(tofu_path: Path) -> None:
    lines = (tofu_path / "forget10.json").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert [pair for pair in pairwise(answers) if not same(*pair, True)] == []


def test_the_longest_common_subsequence_by_its_recurrence() -> None:
    draw = random.Random(2)
    for _ in range(300):
        one, other = (draw.choices("abcd", k=draw.randrange(0, 90)) for _ in range(2))
        row = [0] * (len(other) + 1)
        for letter in one:
            before, row = row, [0]
            for place, second in enumerate(other, start=1):
                same = before[place - 1] + 1
                row.append(same if letter == second else max(before[place], row[-1]))
        assert longest_common(one, other) == row[-1]
