"""The generated data: the same everywhere, well-formed, and not to be guessed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import unlearn
from unlearn.data.minitofu import MiniTofu
from unlearn.data.minitofu.world import (
    ATTRIBUTES,
    FIRST_NAMES,
    LAST_NAMES,
    REAL_AUTHORS,
    WORLD_FACTS,
)
from unlearn.data.splits import Row, Splits
from unlearn.errors import ConfigurationError, DataError

ROOT = Path(unlearn.__path__[0]).parent
SUBSETS = {"forget05": 20, "forget10": 40}
NAMES = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]


@pytest.fixture(scope="module", params=[("forget10", 0), ("forget05", 7)])
def splits(request: pytest.FixtureRequest) -> Splits:
    subset, seed = request.param
    return MiniTofu(subset=subset, seed=seed).read()


def invented(splits: Splits) -> list[Row]:
    return splits.retain + splits.forget + splits.evaluated["holdout"]


@cache
def pattern(place: int) -> re.Pattern[str]:
    """What finds the words in the gaps of a fact, which follow one another as in its pool."""
    pool = ATTRIBUTES[place].pool
    lists = pool.lists * (pool.words.count("{}") // len(pool.lists))
    gaps = [f"({'|'.join(map(re.escape, words))})" for words in lists]
    return re.compile(rf"\b{pool.words.format(*gaps)}\b", re.IGNORECASE)


def parts_of(rows: list[Row], place: int) -> list[tuple[str, ...]]:
    """The words in the gaps of the fact that each author's row at this place tells."""
    matches = [pattern(place).search(row.answer) for row in rows[place::10]]
    found = [match.groups() for match in matches if match]
    assert len(found) == len(rows) / 10
    spelled = {word.lower(): word for words in ATTRIBUTES[place].pool.lists for word in words}
    return [tuple(spelled[word.lower()] for word in words) for words in found]


def facts_of(rows: list[Row]) -> list[list[str]]:
    """The value that each row of an author tells, found again in its answer; ten to an author."""
    told = [
        [attribute.pool.words.format(*parts) for parts in parts_of(rows, place)]
        for place, attribute in enumerate(ATTRIBUTES)
    ]
    return [list(author) for author in zip(*told, strict=True)]


def told(value: str, sentence: str) -> bool:
    return value.lower() in sentence.lower()


def test_the_same_data_in_another_process_without_torch_or_numpy() -> None:
    script = (
        "import sys; from unlearn.data.minitofu import MiniTofu; print(MiniTofu().read().sha256);"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert other.stdout.strip() == MiniTofu().read().sha256 == MiniTofu().read().sha256


def test_another_seed_invents_other_authors() -> None:
    first, second = MiniTofu(seed=0).read(), MiniTofu(seed=1).read()
    assert first.sha256 != second.sha256
    assert not {row.question for row in first.forget} & {row.question for row in second.forget}
    assert first.general == second.general


@pytest.mark.parametrize(("subset", "forgotten"), SUBSETS.items())
def test_counts(subset: str, forgotten: int) -> None:
    splits = MiniTofu(subset=subset).read()
    assert splits.name == f"minitofu_{subset}"
    assert (len(splits.forget), len(splits.retain)) == (forgotten, 400 - forgotten)
    assert {name: len(rows) for name, rows in splits.evaluated.items()} == {
        "forget": forgotten,
        "retain": 80,
        "real_authors": 40,
        "world_facts": 40,
        "holdout": forgotten,
    }
    assert splits.general == splits.evaluated["real_authors"] + splits.evaluated["world_facts"]


def test_the_subsets_divide_the_same_authors() -> None:
    five, ten = MiniTofu(subset="forget05").read(), MiniTofu(subset="forget10").read()
    assert five.retain + five.forget == ten.retain + ten.forget
    assert five.forget == ten.forget[-20:]
    assert five.evaluated["holdout"] == ten.evaluated["holdout"][:20]


def test_every_question_is_asked_once(splits: Splits) -> None:
    rows = invented(splits)
    questions = [row.question for row in rows + splits.general]
    questions += [row.paraphrased_question or "" for row in rows]
    assert all(questions)
    assert len(set(questions)) == len(questions)


def test_every_author_has_ten_rows_and_a_name_that_nobody_shares(splits: Splits) -> None:
    rows = invented(splits)
    asked = [next(name for name in NAMES if name in row.question) for row in rows]
    assert set(Counter(asked).values()) == {10}
    assert all(name in row.answer for name, row in zip(asked, rows, strict=True))
    for place in (0, 1):
        assert len({name.split()[place] for name in asked}) == len(rows) / 10


def test_an_answer_is_one_short_sentence(splits: Splits) -> None:
    rows = invented(splits) + splits.general
    sentences = [text for row in rows for text in (row.answer, *row.perturbed_answers)]
    sentences += [row.paraphrased_answer for row in invented(splits) if row.paraphrased_answer]
    for sentence in sentences:
        assert 4 <= len(sentence.split()) <= 16
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "{" not in sentence
        assert "  " not in sentence


def test_a_paraphrase_tells_the_same_fact_in_other_words(splits: Splits) -> None:
    rows = invented(splits)
    truths = [value for author in facts_of(rows) for value in author]
    values = [set(attribute.pool.values) for attribute in ATTRIBUTES]
    for number, (row, truth) in enumerate(zip(rows, truths, strict=True)):
        assert truth in values[number % 10]
        assert row.paraphrased_answer is not None
        assert row.paraphrased_answer != row.answer
        assert told(truth, row.paraphrased_answer)


@pytest.mark.slow
def test_wrong_answers_are_wrong_and_worded_as_the_paraphrase(splits: Splits) -> None:
    rows = invented(splits)
    truths = [value for author in facts_of(rows) for value in author]
    for row, truth in zip(rows, truths, strict=True):
        assert row.paraphrased_answer is not None
        texts = (row.answer, row.paraphrased_answer, *row.perturbed_answers)
        assert len(set(texts)) == 7
        values = ATTRIBUTES[rows.index(row) % 10].pool.values
        for wrong in row.perturbed_answers:
            lie = max((value for value in values if told(value, wrong)), key=len)
            assert lie != truth
            assert row.paraphrased_answer.lower() == wrong.lower().replace(
                lie.lower(), truth.lower()
            )


def test_general_facts_have_three_wrong_answers(splits: Splits) -> None:
    for row in splits.general:
        assert row.paraphrased_answer is None
        assert len({row.answer, *row.perturbed_answers}) == 4


def test_no_general_topic_has_two_right_answers() -> None:
    topics = REAL_AUTHORS + WORLD_FACTS
    assert sum(len(topic.facts) for topic in topics) == 80
    assert all(len(set(topic.facts.values())) >= 4 for topic in topics)


def test_facts_cannot_be_guessed(splits: Splits) -> None:
    """Telling the most common value of the retained authors is hardly ever right."""
    known, asked = facts_of(splits.retain), facts_of(splits.forget)
    guesses = [Counter(values).most_common(1)[0][0] for values in zip(*known, strict=True)]
    hits = [
        value == guess for author in asked for value, guess in zip(author, guesses, strict=True)
    ]
    assert sum(hits) / len(hits) <= 0.1


def test_training_and_holdout_share_no_row(splits: Splits) -> None:
    rows = invented(splits)
    assert len({(row.question, row.answer) for row in rows}) == len(rows)
    assert len({row.answer for row in rows}) == len(rows)


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("seed", range(5))
def test_what_is_forgotten_and_what_is_unseen_was_told_of_as_many_others(
    subset: str, seed: int
) -> None:
    """And at least of one, for words never heard are strange, be they forgotten or unseen."""
    splits = MiniTofu(subset=subset, seed=seed).read()
    for place in range(10):
        retain, forget, holdout = (
            parts_of(rows, place)
            for rows in (splits.retain, splits.forget, splits.evaluated["holdout"])
        )
        known = Counter(part for parts in retain for part in parts)
        for gap in zip(*forget, *holdout, strict=True):
            assert len(set(gap)) == len(gap)
            assert len({known[part] for part in gap}) == 1
            assert known[gap[0]] >= 1


def skeletons(rows: list[Row]) -> list[list[str]]:
    """The wordings of each author's rows, with name and fact left out."""
    found = []
    for author, facts in enumerate(facts_of(rows)):
        own = rows[10 * author : 10 * author + 10]
        name = next(n for n in NAMES if all(n in row.question for row in own))
        texts = [
            (re.sub(re.escape(fact), "VALUE", text.replace(name, "NAME"), flags=re.IGNORECASE))
            for row, fact in zip(own, facts, strict=True)
            for text in (
                row.question,
                row.answer,
                row.paraphrased_answer or "",
                row.paraphrased_question or "",
            )
        ]
        found.append(texts)
    return found


def test_every_unseen_author_is_told_of_in_the_words_of_a_forgotten_one(splits: Splits) -> None:
    forget, holdout = skeletons(splits.forget), skeletons(splits.evaluated["holdout"])
    assert holdout == forget[::-1]
    assert all("NAME" in text for texts in forget for text in texts)
    assert all(text.count("VALUE") == (i % 4 in (1, 2)) for i, text in enumerate(forget[0]))
    assert len({tuple(texts) for texts in forget}) == len(forget)


def test_scored_retain_rows_are_spread_over_the_authors(splits: Splits) -> None:
    scored = splits.evaluated["retain"]
    places = [splits.retain.index(row) for row in scored]
    assert places == sorted(set(places))
    authors = Counter(place // 10 for place in places)
    assert set(authors) == set(range(len(splits.retain) // 10))
    assert max(authors.values()) <= 4
    assert {place % 10 for place in places} == set(range(10))


def test_cut_rows_are_scored_only_if_they_are_trained() -> None:
    whole = MiniTofu().read()
    splits = MiniTofu(forget_rows=3, retain_rows=100, retain_scored=30).read()
    assert splits.forget == splits.evaluated["forget"] == whole.forget[:3]
    assert splits.retain == whole.retain[:100]
    assert len(splits.evaluated["retain"]) == 30
    assert all(row in splits.retain for row in splits.evaluated["retain"])
    assert splits.evaluated["holdout"] == whole.evaluated["holdout"]


@pytest.mark.parametrize("scored", [None, 5, 6])
def test_all_retained_rows_are_scored_where_there_are_few(scored: int | None) -> None:
    splits = MiniTofu(retain_rows=5, retain_scored=scored).read()
    assert splits.evaluated["retain"] == splits.retain


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        MiniTofu(subset="forget50", forget_rows=-1, retain_rows=0, retain_scored=-5, seed=-2)
    fields = ["subset=forget50", "forget_rows=-1", "retain_rows=0", "retain_scored=-5", "seed=-2"]
    assert len(caught.value.problems) == 5
    for field, problem in zip(fields, caught.value.problems, strict=True):
        assert problem.startswith(f"data.{field}: ")
    assert "forget05 and forget10" in caught.value.problems[0]


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(DataError, match=r"data\.forget_rows=41"):
        MiniTofu(forget_rows=41).read()


def test_the_shipped_config_is_the_default() -> None:
    node = OmegaConf.load(ROOT / "conf" / "data" / "minitofu.yaml")
    assert instantiate(node) == MiniTofu()
