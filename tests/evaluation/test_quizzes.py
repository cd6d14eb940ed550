"""Quizzes: what stands in a prompt, what is generated after it, and how that is scored."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import pytest
import torch
from support import tiny
from support.muse_like import article
from support.tokenizer_kinds import with_start_token

from unlearn.data.splits import Judged, Quiz, Row
from unlearn.data.tokens import Encoder, Example
from unlearn.evaluation.quizzes import ask
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.suites import Suite
from unlearn.metrics.muse import rouge_f1
from unlearn.models.fine_tune import fine_tune
from unlearn.options.schema import EvaluationConfig, FineTuningConfig

pytestmark = pytest.mark.trains

ROWS = list(tiny.ROWS[:3])
SHOTS = [Row("Who rows?", "Emil."), Row("Who reads?", "Odile."), Row("Who sleeps?", "Nobody.")]
PASSAGES = [Row(article(n)[:60], article(n)[60:180]) for n in (1, 2)]
FEW_SHOT = Quiz(ROWS, 32, SHOTS)
DEFAULTS = EvaluationConfig()


def encoder(max_length: int = 256) -> Encoder:
    return Encoder(tiny.tokenizer(), max_length=max_length)


def read(prompt: list[int]) -> str:
    return tiny.tokenizer().decode(prompt)


# Prompts.


def test_a_question_comes_after_all_examples_in_the_form_of_muse() -> None:
    asked = ask("forget/knowmem", FEW_SHOT, encoder(512), DEFAULTS)
    assert [read(prompt) for prompt in asked.prompts] == [
        "Question: Who rows?\nAnswer: Emil.\n\n"
        "Question: Who reads?\nAnswer: Odile.\n\n"
        "Question: Who sleeps?\nAnswer: Nobody.\n\n"
        f"Question: {row.question}\nAnswer: "
        for row in ROWS
    ]
    assert asked.truths == [row.answer for row in ROWS]
    assert asked.most == 32


def test_a_passage_stands_as_it_is_whatever_the_template() -> None:
    asked = ask("forget/verbmem", Quiz(PASSAGES, 128), encoder(512), DEFAULTS)
    assert [read(prompt) for prompt in asked.prompts] == [row.question for row in PASSAGES]
    assert asked.most == 128
    assert asked.truths == [row.answer for row in PASSAGES]  # shorter than 128 tokens


def test_of_a_long_continuation_only_as_many_tokens_count_as_are_generated() -> None:
    asked = ask("forget/verbmem", Quiz(PASSAGES, 10), encoder(), DEFAULTS)
    for truth, row in zip(asked.truths, PASSAGES, strict=True):
        assert row.answer.startswith(truth)
        assert len(tiny.tokenizer().encode(truth)) == 10


def test_a_start_token_stands_ahead_of_prompts_and_counts_in_the_truth() -> None:
    tokenizer = with_start_token()
    asked = ask("forget/verbmem", Quiz(PASSAGES, 10), Encoder(tokenizer), DEFAULTS)
    for prompt, row in zip(asked.prompts, PASSAGES, strict=True):
        assert prompt == tokenizer.encode(row.question)
        assert prompt[0] == tokenizer.bos_token_id
    for truth in asked.truths:  # as in MUSE's own code
        assert len(tokenizer.encode(truth, add_special_tokens=False)) == 9


def test_examples_that_do_not_fit_are_left_out_the_same_for_every_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = ask("forget/knowmem", FEW_SHOT, encoder(512), DEFAULTS).prompts
    one_less = ask("q", Quiz(ROWS, 32, SHOTS[:2]), encoder(512), DEFAULTS).prompts
    longest = max(map(len, whole))
    assert ask("q", FEW_SHOT, encoder(longest + 32), DEFAULTS).prompts == whole
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        short = ask("forget/knowmem", FEW_SHOT, encoder(longest + 31), DEFAULTS)
    assert short.prompts == one_less
    assert "forget/knowmem: 1 of 3 examples left out, as model.max_length=" in caplog.text


def test_a_prompt_that_does_not_fit_loses_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asked = ask("forget/verbmem", Quiz(PASSAGES, 128), encoder(32), DEFAULTS)
    assert asked.most == 16  # half of it
    for prompt, row in zip(asked.prompts, PASSAGES, strict=True):
        assert prompt == tiny.tokenizer().encode(row.question)[-16:]
    assert "2 of 2 prompts cut at their beginning, as model.max_length=32" in caplog.text


@pytest.mark.parametrize(
    ("new_tokens", "max_new_tokens", "max_length", "most"),
    [(128, 200, 512, 128), (128, 20, 512, 20), (128, 200, 100, 50), (32, 200, 100, 32)],
)
def test_how_long_an_answer_may_be(
    new_tokens: int, max_new_tokens: int, max_length: int, most: int
) -> None:
    config = EvaluationConfig(max_new_tokens=max_new_tokens)
    asked = ask("q", Quiz(PASSAGES, new_tokens), encoder(max_length), config)
    assert asked.most == most
    assert all(len(prompt) + most <= max_length for prompt in asked.prompts)


def test_evaluation_rows_bounds_a_quiz_as_well() -> None:
    asked = ask("q", FEW_SHOT, encoder(), EvaluationConfig(rows=2))
    assert asked.rows == ROWS[:2]
    assert len(asked.prompts) == len(asked.truths) == 2


# Answers.

SPOKEN = "Everybody.\n\nQuestion: Who else?\nAnswer: Me."


@cache
def taught() -> Any:
    """A model that goes on with the passages, and after an answer with a question of its own."""
    plain, end = encoder().plain, tiny.tokenizer().eos_token_id
    questions = ask("q", FEW_SHOT, encoder(), DEFAULTS).prompts
    said = [(prompt, plain(SPOKEN)) for prompt in questions]
    said += [(plain(row.question), [*plain(row.answer), end]) for row in PASSAGES]
    examples = [Example(tuple(prompt), tuple(answer)) for prompt, answer in said]
    model = tiny.model()
    recipe = FineTuningConfig(lr=1e-2, epochs=80, batch_size=4, accuracy=1)
    learned = fine_tune(model, examples, recipe, tiny.COMPUTE, "it")
    assert learned.accuracy == 1
    return model.eval()


TEXTS = {"forget": Judged("forget", "text"), "holdout": Judged("unseen", "text")}


def evaluation(**options: Any) -> Evaluation:
    """A whole evaluation, of texts that are scored and of all three quizzes."""
    rows = [Row(ROWS[0].question, "Everybody."), *ROWS[1:]]
    quizzes = {
        "forget/verbmem": Quiz(PASSAGES, 128),
        "forget/knowmem": Quiz(rows, 32, SHOTS),
        "retain/knowmem": Quiz(rows[:1], 32, SHOTS),
    }
    texts = {"forget": [Row("", article(3))], "holdout": [Row("", article(4))]}
    suite = Suite(texts, encoder(), EvaluationConfig(**options), tiny.COMPUTE, quizzes, TEXTS)
    return suite.evaluate(taught(), "before", None)


@pytest.mark.slow
def test_answers_are_cut_and_passages_are_not() -> None:
    lines = evaluation().generations
    said = {(line["split"], line["quiz"], line["index"]): line["answer"] for line in lines}
    assert said == {
        ("forget", "verbmem", 0): PASSAGES[0].answer.strip(),
        ("forget", "verbmem", 1): PASSAGES[1].answer.strip(),
        **{("forget", "knowmem", index): "Everybody." for index in range(3)},
        ("retain", "knowmem", 0): "Everybody.",
    }
    assert "\n\n" in said["forget", "verbmem", 0]  # what the comparison is for


def test_what_is_generated_is_what_transformers_generates() -> None:
    prompt = torch.tensor([encoder().plain(PASSAGES[0].question)])
    made = taught().generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=12,
        pad_token_id=tiny.tokenizer().pad_token_id,
    )
    expected = tiny.tokenizer().decode(made[0, prompt.shape[1] :]).strip()
    assert evaluation(max_new_tokens=12).generations[0]["answer"] == expected


def test_the_scores_are_means_over_rows() -> None:
    metrics = evaluation().metrics
    assert metrics["forget/verbmem"] == 1
    assert metrics["retain/knowmem"] == 1
    others = [rouge_f1(row.answer, "Everybody.") for row in ROWS[1:]]
    assert metrics["forget/knowmem"] == pytest.approx((1 + sum(others)) / 3)


def test_texts_are_scored_and_not_asked() -> None:
    measured = evaluation()
    assert {line["quiz"] for line in measured.generations} == {"verbmem", "knowmem"}
    assert set(measured.metrics) == {
        "forget/verbmem",
        "forget/knowmem",
        "retain/knowmem",
        *(f"{s}/{m}" for s in ("forget", "holdout") for m in ("loss", "probability")),
        *(f"{split}/exact_memorization" for split in ("forget", "holdout")),
        *(f"{split}/extraction_strength" for split in ("forget", "holdout")),
        *(f"mia_{attack}" for attack in ("loss", "zlib", "min_k", "min_k_plus_plus")),
    }


@pytest.mark.parametrize(("stemmer", "expected"), [(False, 0), (True, 2 / 3)])
def test_the_stemmer_is_an_option(stemmer: bool, expected: float) -> None:
    """The model says "Everybody."; one of the two words, by its stem, is the truth's."""
    quiz = Quiz([Row(ROWS[0].question, "Everybodies ran.")], 32, SHOTS)
    texts = {"forget": [Row("", article(3))]}
    config = EvaluationConfig(stemmer=stemmer)
    suite = Suite(texts, encoder(), config, tiny.COMPUTE, {"forget/knowmem": quiz}, TEXTS)
    measured = suite.evaluate(taught(), "before", None)
    assert measured.metrics["forget/knowmem"] == pytest.approx(expected)


def test_the_name_of_a_cached_evaluation_depends_on_the_quizzes() -> None:
    texts = {"forget": [Row("", article(3))]}

    def fingerprint(quizzes: dict[str, Quiz], **options: Any) -> str:
        config = EvaluationConfig(**options)
        return Suite(texts, encoder(), config, tiny.COMPUTE, quizzes, TEXTS).fingerprint

    quiz = {"forget/knowmem": FEW_SHOT}
    known = fingerprint(quiz)
    assert fingerprint({"forget/knowmem": Quiz(list(ROWS), 32, list(SHOTS))}) == known
    changed = [
        fingerprint({}),
        fingerprint({"retain/knowmem": FEW_SHOT}),
        fingerprint({"forget/knowmem": Quiz(ROWS, 31, SHOTS)}),
        fingerprint({"forget/knowmem": Quiz(ROWS, 32, SHOTS[:2])}),
        fingerprint({"forget/knowmem": Quiz(ROWS[:2], 32, SHOTS)}),
        fingerprint(quiz, stemmer=True),
    ]
    assert len({known, *changed}) == len(changed) + 1
    assert fingerprint(quiz, generate_tokens=100) == known
