"""What is cut for want of room is counted and said; the forget set never is."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from support import tiny
from support.command import QUICK, Command, row, write_rows
from test_evaluation import half_taught

from benchmarks.architectures import random_model
from unlearn.console import once
from unlearn.data.splits import Quiz, Row
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.errors import DataError
from unlearn.evaluation.cut import cut_notes
from unlearn.evaluation.quizzes import ask
from unlearn.evaluation.suites import Suite
from unlearn.forward.generation import generate, said
from unlearn.models.lengths import longest_row
from unlearn.options.schema import EvaluationConfig, ModelConfig

ROWS = {"forget": tiny.ROWS, "retain": tiny.ROWS[:3]}


def suite(max_length: int = 512, **options: Any) -> Suite:
    encoder = Encoder(tiny.tokenizer(), max_length=max_length)
    return Suite(ROWS, encoder, EvaluationConfig(**options), tiny.COMPUTE)


def test_answers_that_lose_their_tail_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    lengths = {split: [len(e) for e in encode_rows(tiny.encoder(), r)] for split, r in ROWS.items()}
    long = sorted(lengths["forget"])[-2]
    counts = {split: sum(n > long - 1 for n in found) for split, found in lengths.items()}
    assert counts["forget"] == 2
    with caplog.at_level(logging.WARNING):
        cut = suite(long - 1)
        again = cut.evaluate(half_taught("llama"), "before", None).notes
    (line,) = [r.getMessage() for r in caplog.records if "lose their tail" in r.getMessage()]
    for split, count in counts.items():
        assert (f"{count} of {len(ROWS[split])} of {split}" in line) == (count > 0)
    assert f"raise model.max_length to {max(lengths['forget'])}" in line
    assert line in again
    assert suite(max(lengths["forget"])).notes == []


def test_training_rows_are_counted_by_what_was_encoded() -> None:
    encoder = Encoder(tiny.tokenizer(), max_length=45)
    examples = encode_rows(encoder, tiny.ROWS)
    full = sum(len(e) == 45 and e.answer[-1] not in encoder.ends for e in examples)
    assert 0 < full < len(examples)
    assert f"{full} of {len(tiny.ROWS)} of forget" in cut_notes(encoder, {"forget": tiny.ROWS})[0]


def test_a_text_is_not_cut_but_in_windows() -> None:
    encoder = Encoder(tiny.tokenizer(), max_length=16)
    rows = [Row("", tiny.ROWS[4].answer)]
    encode_rows(encoder, rows)
    assert cut_notes(encoder, {"forget": rows}) == []


def test_answers_that_come_to_no_end_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    model, measured = half_taught("llama"), suite(max_new_tokens=4)
    once.said.clear()
    with caplog.at_level(logging.WARNING):
        found = [measured.evaluate(model, stage, None) for stage in ("before", "after")]
    lines = [r.getMessage() for r in caplog.records if "max_new_tokens=4" in r.getMessage()]
    assert len(lines) == 1
    complete = said(model, tiny.encoder(), measured.prompts, tiny.COMPUTE, 4)
    for split, rows in ROWS.items():
        ended = [s.ended for s, a in zip(complete, measured.asked, strict=True) if a.split == split]
        capped = ended.count(False)
        assert 0 < capped < len(rows)
        for evaluation in found:
            (note,) = [note for note in evaluation.notes if "max_new_tokens=4" in note]
            assert f"{capped} of {len(rows)} of {split}" in note
    assert not any("max_new_tokens" in note for note in suite().evaluate(model, "b", None).notes)


def test_evaluation_rows_never_cuts_the_forget_set() -> None:
    measured = suite(rows=2)
    assert {split: len(rows) for split, rows in measured.rows.items()} == {"forget": 8, "retain": 2}
    assert sum(a.split == "forget" for a in measured.asked) == 8
    quiz = Quiz(tiny.ROWS, 8)
    for split, count in (("forget", 8), ("retain", 2)):
        asked = ask(f"{split}/verbmem", quiz, tiny.encoder(), EvaluationConfig(rows=2))
        assert len(asked.rows) == len(asked.prompts) == len(asked.truths) == count


# The positions of a model


@torch.no_grad()
def greedily(model: Any, prompt: tuple[int, ...], most: int) -> str:
    """The answer token by token, each by a pass over all before it."""
    ids = list(prompt)
    for _ in range(most):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tiny.tokenizer().eos_token_id:
            break
    answer = ids[len(prompt) :]
    return str(tiny.tokenizer().decode(answer, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("name", ["GPT-2", "OPT", "GPT-Neo, window of 16"])
def test_an_answer_ends_where_the_positions_do(name: str, caplog: pytest.LogCaptureFixture) -> None:
    key = {"GPT-2": "n_positions"}.get(name, "max_position_embeddings")
    longest = max(len(e.prompt) for e in tiny.examples())
    model = random_model(name, tiny.tokenizer(), **{key: longest + 3})
    prompts = [e.prompt for e in tiny.examples()]
    once.said.clear()
    with caplog.at_level(logging.WARNING):
        found = generate(model, tiny.encoder(), prompts, tiny.COMPUTE, 60)
        generate(model, tiny.encoder(), prompts, tiny.COMPUTE, 60)
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"positions for {longest + 3} tokens" in line
    expected = [greedily(model, p, min(60, longest + 3 - len(p))) for p in prompts]
    assert found == expected


def test_a_prompt_without_a_position_behind_it_is_refused() -> None:
    model = random_model("GPT-2", tiny.tokenizer(), n_positions=8)
    with pytest.raises(DataError, match="positions for 8"):
        generate(model, tiny.encoder(), [tuple(range(8))], tiny.COMPUTE, 1)


def test_no_row_is_longer_than_the_models_positions(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    random_model("GPT-2", tiny.tokenizer(), n_positions=32).save_pretrained(tmp_path)
    path, tokenizer = str(tmp_path), tiny.tokenizer()
    config = ModelConfig(path=path, max_length=64)
    once.said.clear()
    with caplog.at_level(logging.WARNING):
        assert {longest_row(config, path, tokenizer) for _ in range(2)} == {32}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "model.max_length=64" in line and "positions for 32" in line
    assert longest_row(replace(config, max_length=16), path, tokenizer) == 16
    assert longest_row(replace(config, max_length=None), path, tokenizer) == 32


def test_a_run_says_what_training_cuts(unlearn: Command, tmp_path: Any) -> None:
    """Of rows that are not scored too: once in the log, and in the notes of the summary."""
    short = [row(f"Who keeps number {n}?", f"Number {n} is kept by Odile.") for n in range(4)]
    write_rows(tmp_path / "forget.jsonl", [row("Who keeps the mill?", "Emil.")])
    long = row("Who keeps the ferry?", "Runa keeps it, and so on and on. " * 20)
    write_rows(tmp_path / "retain.jsonl", [*short, long])
    files = ["data=files", *(f"data.{s}={tmp_path}/{s}.jsonl" for s in ("forget", "retain"))]
    words = [word for word in QUICK if not word.startswith("data")]
    done = unlearn(*words, *files, "model.max_length=64", "training.steps=3")
    assert done.status == 0, done.said
    (said_once,) = [line for line in done.log.splitlines() if "lose their tail" in line]
    assert "WARNING" in said_once
    assert "training: " in said_once and "1 of 5 of retain" in said_once
    (note,) = [note for note in done.summary["notes"] if "lose their tail" in note]
    assert note in said_once
