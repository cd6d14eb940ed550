"""Scores and answers as a naive loop over rows would give them, and the metrics made of them."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support import tiny
from support.row_alone import generated_by_transformers, score_alone
from support.taught import COLUMNS, half_taught, prompts, scored_answers
from support.tiny import PAD, every_architecture

from unlearn.data.batches import collate
from unlearn.data.minitofu import MiniTofu
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.scoring import answers_to_score, score
from unlearn.evaluation.suites import Suite
from unlearn.evaluation.summarising import summarise
from unlearn.forward.generation import end_tokens, generate, said
from unlearn.forward.steps import left_padded
from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.text import rouge_recall
from unlearn.models.tiny import tiny_tokenizer
from unlearn.options.schema import EvaluationConfig, Words

pytestmark = pytest.mark.trains


# Scores


def test_what_is_scored() -> None:
    row = Row("Where?", "Varn.", "In Varn.", ("Emil.", "Odile.", "No."))
    scored = answers_to_score(Encoder(tiny.tokenizer()), "retain", [row, tiny.ROWS[0]])
    assert [(a.split, a.index, a.kind, a.number) for a in scored] == [
        ("retain", 0, "answer", 0),
        ("retain", 0, "paraphrase", 0),
        ("retain", 0, "perturbed", 0),
        ("retain", 0, "perturbed", 1),
        ("retain", 0, "perturbed", 2),
        ("retain", 1, "answer", 0),
    ]
    decoded = [tiny.tokenizer().decode(a.example.answer[:-1]).strip() for a in scored]
    assert decoded == ["Varn.", "In Varn.", "Emil.", "Odile.", "No.", "Odile."]
    assert len({a.example.prompt for a in scored[:5]}) == 1


@every_architecture
def test_a_score_is_that_of_the_row_alone(architecture: str) -> None:
    model, answers = half_taught(architecture), scored_answers()
    table = score(model, answers, tiny.COMPUTE)
    assert list(table.columns) == COLUMNS
    assert len(table) == len(answers)
    for row, answer in zip(table.to_dict("records"), answers, strict=True):
        nll, hits = score_alone(model, answer)
        assert row == {
            "split": answer.split,
            "index": answer.index,
            "kind": answer.kind,
            "number": answer.number,
            "nll_sum": pytest.approx(nll, rel=1e-5, abs=1e-5),
            "tokens": len(answer.example.answer),
            "hits": hits,
        }
    assert 0 < table["hits"].sum() < table["tokens"].sum()  # a model that could be told from noise


@every_architecture
def test_neither_padding_nor_row_order_nor_budget_changes_a_score(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, answers = half_taught(architecture), scored_answers()
    expected = score(model, answers, tiny.COMPUTE)
    order = list(range(len(answers)))
    random.Random(0).shuffle(order)
    shuffled = [answers[place] for place in order]
    for budget, pad in ((1, PAD), (100, 0), (100, 7), (10**6, PAD)):
        monkeypatch.setattr("unlearn.forward.passes.collate", partial(collate, pad=pad))
        for given, back in ((answers, range(len(answers))), (shuffled, np.argsort(order))):
            table = score(model, given, tiny.compute(score_tokens=budget)).iloc[list(back)]
            named = [name for name in COLUMNS if name != "nll_sum"]
            assert table[named].to_dict("list") == expected[named].to_dict("list")
            np.testing.assert_allclose(table["nll_sum"], expected["nll_sum"], rtol=1e-5, atol=1e-5)


# Answers


@pytest.mark.parametrize("budget", [16384, 100, 1], ids=["together", "in parts", "alone"])
@every_architecture
def test_answers_are_those_of_transformers(architecture: str, budget: int) -> None:
    model, most = half_taught(architecture), 24
    expected = [generated_by_transformers(model, prompt, most) for prompt in prompts()]
    answers = generate(model, tiny.encoder(), prompts(), tiny.compute(generate_tokens=budget), most)
    assert answers == expected
    # What the comparison is for: answers that end at different steps, and some that never end.
    lengths = [len(tiny.tokenizer().encode(answer)) for answer in answers]
    assert len(set(lengths)) >= 4
    assert min(lengths) < most / 2


@every_architecture
def test_untaught_answers_are_those_of_transformers_too(architecture: str) -> None:
    """Random weights ramble on to the last token allowed."""
    model, most = tiny.model(architecture, seed=1), 12
    answers = generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, most)
    assert answers == [generated_by_transformers(model, prompt, most) for prompt in prompts()]


def test_answers_come_in_the_order_of_their_prompts() -> None:
    model = half_taught("llama")
    answers = generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, 24)
    order = [3, 0, 7, 5, 1, 6, 2, 4]
    asked = [prompts()[row] for row in order]
    assert generate(model, tiny.encoder(), asked, tiny.compute(generate_tokens=90), 24) == [
        answers[row] for row in order
    ]


def test_an_answer_has_at_most_so_many_tokens() -> None:
    model = half_taught("llama")
    whole = generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, 24)
    start = generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, 3)
    assert all(long.startswith(short) for long, short in zip(whole, start, strict=True))
    assert any(long != short for long, short in zip(whole, start, strict=True))
    assert generate(model, tiny.encoder(), [], tiny.COMPUTE, 3) == []


def test_prompts_are_padded_to_the_left() -> None:
    ids, mask = left_padded([[5], [6, 7, 8]], pad=0)
    assert ids.tolist() == [[0, 0, 5], [6, 7, 8]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("configured", "expected"), [(None, [0]), (0, [0]), (9, [0, 9]), ([9, 11, 0], [0, 9, 11])]
)
def test_an_answer_ends_at_the_tokens_of_tokenizer_and_model(
    configured: int | list[int] | None, expected: list[int]
) -> None:
    model = tiny.model()
    model.generation_config.eos_token_id = configured
    assert tiny.tokenizer().eos_token_id == 0
    assert sorted(end_tokens(model, tiny.encoder())) == expected


# What evaluation leaves alone


def small_suite(**options: Any) -> Suite:
    evaluated = {"forget": tiny.ROWS[:3], "retain": tiny.ROWS[3:]}
    config = EvaluationConfig(max_new_tokens=6, **options)
    return Suite(evaluated, Encoder(tiny.tokenizer()), config, tiny.COMPUTE)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_generators_the_mode_and_the_weights_alone(training: bool) -> None:
    model = tiny.model("gpt2").train(training)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    small_suite().evaluate(model, "before", None)
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    np.testing.assert_equal(np.random.get_state(legacy=False), before[2])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


# The suite


def test_the_generations_belong_to_their_rows() -> None:
    model = half_taught("llama")
    evaluation = small_suite().evaluate(model, "before", None)
    rows = [("forget", n, row) for n, row in enumerate(tiny.ROWS[:3])]
    rows += [("retain", n, row) for n, row in enumerate(tiny.ROWS[3:])]
    answers = said(model, tiny.encoder(), prompts(), tiny.COMPUTE, 6)
    assert {answer.ended for answer in answers} == {True, False}
    for line, (split, index, row), answer in zip(
        evaluation.generations, rows, answers, strict=True
    ):
        rouge_l, rouge_1 = rouge_recall(row.answer, answer.text)
        assert line == {
            "split": split,
            "index": index,
            "ended": answer.ended,
            "question": row.question,
            "truth": row.answer,
            "answer": answer.text.strip(),
            "rougeL_recall": rouge_l,
            "rouge1_recall": rouge_1,
        }


def test_plain_text_is_measured_without_a_question_or_a_start_token() -> None:
    rows = [Row("", "Odile wrote about tides."), Row("", "Emil painted in blue.")]
    config = EvaluationConfig(max_new_tokens=4)
    suite = Suite({"forget": rows}, Encoder(tiny.tokenizer()), config, tiny.COMPUTE)
    evaluation = suite.evaluate(tiny.model(), "before", None)
    assert math.isfinite(evaluation.metrics["forget/loss"])
    assert len(evaluation.generations) == 2


def test_the_suite_runs_on_an_untaught_model_and_minitofu(tmp_path: Path) -> None:
    splits = MiniTofu(subset="forget05").read()
    rows = [*splits.general, *splits.retain[:20], *splits.forget]
    tokenizer = tiny_tokenizer([t for row in rows for t in (row.question, row.answer)], 400)
    assert len(tokenizer) == len(tiny.tokenizer())  # so that the tiny model fits it
    config = EvaluationConfig(rows=3, max_new_tokens=8)
    suite = Suite(splits.evaluated, Encoder(tokenizer), config, tiny.COMPUTE)
    reference = suite.evaluate(tiny.model(seed=1), "reference", None)
    evaluation = suite.evaluate(tiny.model(), "before", reference)

    assert list(evaluation.scores["split"].unique()) == list(splits.evaluated)
    counts = evaluation.scores.groupby("split")["index"].nunique().to_dict()
    assert counts.pop("forget") == len(splits.forget)
    assert set(counts.values()) == {3}
    assert {row["split"] for row in evaluation.generations} == set(splits.evaluated) - {"holdout"}
    for split in splits.evaluated:
        assert evaluation.metrics[f"{split}/loss"] > 1  # it knows nothing
        assert 0 <= evaluation.metrics[f"{split}/probability"] <= 1
        assert 0 <= evaluation.metrics[f"{split}/exact_memorization"] < 0.5
        assert (f"{split}/rougeL_recall" in evaluation.metrics) == (split != "holdout")
    assert 0 <= evaluation.metrics["model_utility"] <= 1
    assert 0 < evaluation.metrics["forget_quality"] <= 1
    assert "forget_quality" not in reference.metrics

    evaluation.write(tmp_path / "before")
    read = pd.read_parquet(tmp_path / "before" / "scores.parquet")
    pd.testing.assert_frame_equal(read, evaluation.scores)
    lines = (tmp_path / "before" / "generations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == evaluation.generations
    written = json.loads((tmp_path / "before" / "metrics.json").read_text(encoding="utf-8"))
    assert written == evaluation.metrics


# The metrics of a table made by hand


def hand_made_table() -> pd.DataFrame:
    """Two forget rows, one retain row and one world fact, whose probabilities are easy numbers."""
    ln = math.log
    rows = [
        # a row's mean NLL is the sum by its tokens: ln 2, ln 4
        ("forget", 0, "answer", 0, 3 * ln(2), 3, 3),
        ("forget", 0, "paraphrase", 0, 2 * ln(4), 2, 1),
        ("forget", 0, "perturbed", 0, 4 * ln(2), 4, 0),
        ("forget", 0, "perturbed", 1, 1 * ln(8), 1, 0),
        ("forget", 1, "answer", 0, 5 * ln(4), 5, 1),
        ("forget", 1, "paraphrase", 0, 2 * ln(2), 2, 1),
        ("forget", 1, "perturbed", 0, 2 * ln(4), 2, 0),
        ("forget", 1, "perturbed", 1, 3 * ln(16), 3, 0),
        # a row without wrong answers
        ("retain", 0, "answer", 0, 2 * ln(10), 2, 2),
        # a choice: p 1/2 against 1/4 and 1/8
        ("world_facts", 0, "answer", 0, 1 * ln(2), 1, 1),
        ("world_facts", 0, "perturbed", 0, 2 * ln(4), 2, 0),
        ("world_facts", 0, "perturbed", 1, 1 * ln(8), 1, 0),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def hand_made_generations() -> list[dict[str, Any]]:
    scores = [
        ("forget", 0, 1.0, 1.0, "no 4-gram stands twice in this"),
        ("forget", 1, 0.2, 0.4, "of of of of of of"),  # three 4-grams, of which two are repeated
        ("retain", 0, 0.5, 0.6, "three words only"),
        ("world_facts", 0, 1.0, 1.0, ""),
    ]
    names = ("split", "index", "rougeL_recall", "rouge1_recall", "answer")
    return [dict(zip(names, line, strict=True)) for line in scores]


def test_the_metrics_of_a_table_that_can_be_reckoned_by_hand() -> None:
    metrics = summarise(hand_made_table(), hand_made_generations(), None).metrics
    ln = math.log
    choice = 0.5 / (0.5 + 0.25 + 0.125)
    # Truth ratio: exp(−mean a_wrong) / exp(−a_right). Forget row 0: (2·8)^−½ / ¼ = 1;
    # row 1: (4·16)^−½ / ½ = ¼. World fact: (4·8)^−½ / ½.
    world = 1 - 2 / math.sqrt(32)
    # The arithmetic form: mean of wrong probabilities. Row 0: 5/16 / ¼; row 1: 5/32 / ½.
    world_arithmetic = 1 - (3 / 16) / 0.5

    def harmonic(*parts: float) -> float:
        return len(parts) / sum(1 / part for part in parts)

    assert metrics == pytest.approx(
        {
            "forget/loss": (ln(2) + ln(4)) / 2,
            "forget/probability": (1 / 2 + 1 / 4) / 2,
            "forget/exact_memorization": (1 + 1 / 5) / 2,
            "forget/truth_ratio": (1 + 1 / 4) / 2,
            "forget/truth_ratio_arithmetic": (4 / 5 + 5 / 16) / 2,
            "retain/loss": ln(10),
            "retain/probability": 1 / 10,
            "retain/exact_memorization": 1.0,
            "world_facts/loss": ln(2),
            "world_facts/probability": choice,
            "world_facts/exact_memorization": 1.0,
            "world_facts/truth_ratio": world,
            "world_facts/truth_ratio_arithmetic": world_arithmetic,
            "forget/rougeL_recall": 0.6,
            "forget/rouge1_recall": 0.7,
            "forget/repetition": (0 + 2 / 3) / 2,
            "retain/repetition": 0.0,
            "world_facts/repetition": 0.0,
            "forget/refusals": 0.0,
            "retain/refusals": 0.0,
            "world_facts/refusals": 0.0,
            "retain/rougeL_recall": 0.5,
            "retain/rouge1_recall": 0.6,
            "world_facts/rougeL_recall": 1.0,
            "world_facts/rouge1_recall": 1.0,
            "model_utility": harmonic(0.1, 0.5, choice, 1.0, world),
            "model_utility_arithmetic": harmonic(0.1, 0.5, choice, 1.0, world_arithmetic),
        }
    )


def test_what_could_not_be_measured_is_noted() -> None:
    evaluation = summarise(hand_made_table(), hand_made_generations(), None)
    notes = "\n".join(evaluation.notes)
    assert "retain: no truth ratio, as its rows have no wrong answers" in evaluation.notes
    assert "forget_quality: not measured, as there is no reference model" in evaluation.notes
    # What the data do not have at all is told in one line, with the splits that they do have.
    (utility,) = [note for note in notes.splitlines() if note.startswith("model_utility")]
    assert utility == "model_utility: over retain and world_facts alone, without retain/truth_ratio"
    assert "retain/truth_ratio" not in evaluation.metrics
    assert "forget_quality" not in evaluation.metrics


def of_business(split: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The table above with another name for its split world_facts."""
    name = {"world_facts": split}
    table = hand_made_table()
    table["split"] = table["split"].replace(name)
    lines = [
        {**one, "split": name.get(one["split"], one["split"])} for one in hand_made_generations()
    ]
    return table, lines


def test_business_data_have_a_utility_of_their_own() -> None:
    evaluation = summarise(*of_business("general"), None)
    found = evaluation.metrics
    # By hand, as above: what is likely of a general row is its answer, 1/2, and not a choice.
    parts = [1 / 10, 0.5, 1 / 2, 1.0, 1 - 2 / math.sqrt(32)]
    assert found["general/probability"] == pytest.approx(1 / 2)
    assert found["general/truth_ratio"] == pytest.approx(parts[-1])
    assert found["model_utility"] == pytest.approx(5 / sum(1 / part for part in parts))
    notes = [note for note in evaluation.notes if "utility" in note]
    assert notes == ["model_utility: over retain and general alone, without retain/truth_ratio"]


def test_a_split_that_nobody_keeps_is_no_part_of_the_utility() -> None:
    table, lines = of_business("holdout")
    found = summarise(table, lines, None)
    assert found.metrics["model_utility"] == pytest.approx(2 / (1 / 0.1 + 1 / 0.5))
    table, lines = (
        table[table["split"] != "retain"],
        [one for one in lines if one["split"] != "retain"],
    )
    nothing = summarise(table.reset_index(drop=True), lines, None)
    assert nothing.metrics["model_utility"] is None
    assert "model_utility: not measured, as the data have no rows to keep" in nothing.notes


def test_forget_quality_compares_with_the_reference() -> None:
    alone = summarise(hand_made_table(), hand_made_generations(), None)
    same = summarise(hand_made_table(), hand_made_generations(), alone)
    assert (same.metrics["forget_quality"], same.metrics["forget_quality_D"]) == (1.0, 0.0)
    assert not any("forget_quality" in note for note in same.notes)

    other_ratios = {form: rows + 10 for form, rows in alone.ratios.items()}
    apart = summarise(
        hand_made_table(),
        hand_made_generations(),
        Evaluation(alone.scores, [], {}, other_ratios, []),
    )
    # Two against two, fully apart: D = 1, and 2 of the 6 orderings are as extreme.
    assert apart.metrics["forget_quality_D"] == 1.0
    assert apart.metrics["forget_quality"] == pytest.approx(1 / 3)


def test_a_number_that_is_not_finite_becomes_null_with_a_note() -> None:
    table = hand_made_table()
    table.loc[table["split"] == "retain", "nll_sum"] = math.inf
    evaluation = summarise(table, hand_made_generations(), None)
    assert evaluation.metrics["retain/loss"] is None
    assert evaluation.metrics["model_utility"] is None
    assert evaluation.metrics["forget/loss"] is not None
    (note,) = [note for note in evaluation.notes if note.startswith("not finite, so null")]
    assert "retain/loss" in note
    assert json.dumps(evaluation.metrics, allow_nan=False)


# Words of every script


def russian_suite(words: Words = Words.auto, reader: WordRule = "unicode", **rows: Row) -> Suite:
    texts = {"forget": list(rows.values()) or [Row("Кто это?", "Иван Петров.")]}
    config = EvaluationConfig(max_new_tokens=2, words=words)
    return Suite(texts, Encoder(tiny.tokenizer()), config, tiny.COMPUTE, words=reader)


def test_the_reader_says_what_a_word_is_unless_the_option_does() -> None:
    assert russian_suite().words == "unicode"
    assert russian_suite(reader="tofu").words == "tofu"
    assert russian_suite(Words.unicode, "tofu").words == "unicode"
    assert russian_suite(Words.tofu).words == "tofu"
    assert MiniTofu().read().words == "tofu"
    assert Splits("mine", tiny.ROWS, tiny.ROWS, {}).words == "unicode"


def test_what_a_word_is_belongs_to_an_evaluation_and_not_to_its_data() -> None:
    ours, theirs = russian_suite(), russian_suite(Words.tofu)
    assert ours.fingerprint != theirs.fingerprint
    assert {**ours.identity, "words": "tofu"} == theirs.identity
    splits = Splits("mine", tiny.ROWS, tiny.ROWS, {})
    assert replace(splits, words="tofu").sha256 == splits.sha256


def test_a_truth_without_a_word_is_null_and_named(tmp_path: Path) -> None:
    rows = {"one": Row("Кто это?", "?!"), "two": Row("Кто?", "Иван."), "three": Row("Где?", "…")}
    found = russian_suite(**rows).evaluate(tiny.model(), "before", None)
    scores = [line["rougeL_recall"] for line in found.generations]
    assert scores[0] is None and scores[2] is None
    assert found.metrics["forget/rougeL_recall"] == scores[1] == 0.0
    (note,) = (note for note in found.notes if "no word" in note)
    assert note.startswith("forget: 2 of 3 rows have no ROUGE")
    assert note.endswith("(index 0, 2)")
    found.write(tmp_path / "before")
    lines = (tmp_path / "before" / "generations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == found.generations

    none = russian_suite(Words.tofu, **rows).evaluate(tiny.model(), "before", None)
    assert none.metrics["forget/rougeL_recall"] is None
    assert any(note.startswith("forget: 3 of 3 rows") for note in none.notes)
    assert not any(note.startswith("not finite") for note in none.notes)
