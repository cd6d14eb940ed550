"""Texts longer than a window: every window is scored, and gone on with from its first half."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.muse_like import article

from unlearn.data.splits import Judged, Row
from unlearn.data.tokens import Encoder, Example, encode_rows
from unlearn.evaluation.suites import Suite
from unlearn.metrics.memorization import extraction_strength
from unlearn.metrics.text import rouge_recall
from unlearn.models.fine_tune import fine_tune
from unlearn.options.schema import EvaluationConfig, FineTuningConfig

TEXTS = [Row("", article(1)), Row("", f"Once more: {article(2)}")]
"""They begin unlike each other, so that a model can know the first token by what stands ahead."""
WINDOW = 32


@cache
def encoder() -> Encoder:
    return Encoder(tiny.tokenizer(), max_length=WINDOW)


@cache
def perfect() -> Any:
    """A model that has learnt every window of the texts."""
    model = tiny.model()
    recipe = FineTuningConfig(lr=5e-3, epochs=200, batch_size=4, accuracy=1.0)
    learned = fine_tune(model, encode_rows(encoder(), TEXTS), recipe, tiny.COMPUTE, "perfect")
    assert learned.accuracy == 1.0
    return model.eval()


def suite(form: str | None = None, most: int = 200, **options: Any) -> Suite:
    judged = {"forget": Judged("forget", form)} if form else None  # type: ignore[arg-type]
    config = EvaluationConfig(max_new_tokens=most, **options)
    return Suite({"forget": TEXTS}, encoder(), config, tiny.COMPUTE, judged=judged)


@torch.no_grad()
def plainly(model: Any, windows: list[Example]) -> tuple[float, list[bool]]:
    """Sum of the NLL over all windows, and whether each token is the argmax: a naive loop."""
    total, hits = 0.0, []
    for window in windows:
        ids = torch.tensor([window.prompt + window.answer])
        logits = model(input_ids=ids).logits[0, len(window.prompt) - 1 : -1].double()
        labels = torch.tensor(window.answer)
        total -= logits.log_softmax(-1)[range(len(labels)), labels].sum().item()
        hits += (logits.argmax(-1) == labels).tolist()
    return total, hits


def test_every_window_is_scored_as_a_naive_loop_does() -> None:
    model = tiny.model(seed=3)
    table = suite().score(model, "before")
    assert len(table) == len(TEXTS)
    for row, text in zip(table.to_dict("records"), TEXTS, strict=True):
        windows = encoder().windows(text.answer)
        assert len(windows) > 3
        nll, hits = plainly(model, windows)
        assert row["nll_sum"] == pytest.approx(nll, rel=1e-5)
        assert row["tokens"] == len(hits)
        assert row["hits"] == sum(hits)
        assert np.asarray(row["token_hits"]).tolist() == hits


@pytest.mark.slow
def test_what_is_known_of_a_later_window_only_shows() -> None:
    """A model that forgot the first window and recites all others is not taken for one that
    forgot: the first window alone would say so."""
    known = suite().evaluate(perfect(), "before", None)
    assert known.metrics["forget/extraction_strength"] == 1.0
    assert known.metrics["forget/rougeL_recall"] == 1.0
    assert known.metrics["forget/exact_memorization"] == 1.0
    forgotten = suite().evaluate(tiny.model(seed=3), "before", None)
    assert forgotten.metrics["forget/rougeL_recall"] < 0.3


def test_each_window_is_gone_on_with_from_its_first_half() -> None:
    measured = suite()
    windows = [window for text in TEXTS for window in encoder().windows(text.answer)]
    assert len({one.prompt for one in measured.asked}) == len(measured.asked) == len(windows)
    ids = tiny.tokenizer()
    for one, window in zip(measured.asked, windows, strict=True):
        half = len(window.answer) // 2
        assert one.prompt == window.prompt + window.answer[:half]
        assert one.truth == ids.decode(window.answer[half:], skip_special_tokens=True).strip()
    lines = measured.evaluate(tiny.model(seed=3), "before", None).generations
    assert [line["index"] for line in lines] == list(range(len(windows)))
    counts = [len(encoder().windows(text.answer)) for text in TEXTS]
    assert [line["row"] for line in lines] == [0] * counts[0] + [1] * counts[1]
    for line in lines:
        assert line["rougeL_recall"] == rouge_recall(line["truth"], line["answer"], "unicode")[0]


@pytest.mark.parametrize("make", [perfect, lambda: tiny.model(seed=3)])
def test_continuations_are_those_of_transformers(make: Any) -> None:
    """Also where the scores have shown how they begin."""
    model, measured = make(), suite(most=10)
    for line, one in zip(
        measured.evaluate(model, "before", None).generations, measured.asked, strict=True
    ):
        assert one.most <= 10
        found = model.generate(
            torch.tensor([one.prompt]),
            attention_mask=torch.ones((1, len(one.prompt)), dtype=torch.long),
            max_new_tokens=one.most,
            do_sample=False,
        )[0, len(one.prompt) :]
        assert line["answer"] == tiny.tokenizer().decode(found, skip_special_tokens=True).strip()


def test_a_split_judged_as_text_is_scored_as_published() -> None:
    """MUSE: its first window, and nothing is asked."""
    measured = suite("text")
    assert measured.asked == []
    expected = [encoder().encode("", text.answer) for text in TEXTS]
    assert [a.windows for a in measured.answers] == [(example,) for example in expected]


def test_the_gradient_of_a_text_is_that_of_its_mean_loss() -> None:
    rows = {"forget": TEXTS[:1], "holdout": TEXTS[1:]}
    config = EvaluationConfig(gradient_norm=True, max_new_tokens=1)
    model = tiny.model(seed=3)
    table = Suite(rows, encoder(), config, tiny.COMPUTE).score(model, "before")
    for norm, text in zip(table["gradient_norm"], TEXTS, strict=True):
        windows = encoder().windows(text.answer)
        model.zero_grad()
        losses = []
        for window in windows:
            ids = torch.tensor([window.prompt + window.answer])
            logits = model(input_ids=ids).logits[0, len(window.prompt) - 1 : -1]
            target = torch.tensor(window.answer)
            losses.append(torch.nn.functional.cross_entropy(logits, target, reduction="none"))
        torch.cat(losses).mean().backward()
        expected = tiny.flat([p.grad for p in model.parameters()]).norm().item()
        assert norm == pytest.approx(expected, rel=1e-4)
    assert extraction_strength(table[table["split"] == "forget"]) >= 0
