"""The beginning that all prompts share is read once, and no number or answer shows it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from support import tiny
from support.architectures import counted_tokens, other_model, with_alibi, with_window
from support.row_alone import MOST, generated_by_transformers, score_alone
from support.taught import half_taught, prompts, scored_answers
from support.tiny import BFLOAT16, every_architecture

from benchmarks.architectures import random_model
from unlearn.console import once
from unlearn.data.tokens import Example
from unlearn.evaluation.scoring import Scored, score
from unlearn.forward.generation import generate
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.prefix import LEAST_PROMPTS, LEAST_TOKENS, common_start, prefix_cache
from unlearn.forward.trees import tree_of

pytestmark = pytest.mark.trains

START = tuple(tiny.tokenizer().encode("You answer questions about places, in few words, truly. "))


def begun() -> list[tuple[int, ...]]:
    """The prompts, each behind the same start."""
    return [START + prompt for prompt in prompts()]


def begun_answers() -> list[Scored]:
    """The answers to them."""
    return [
        replace(scored, example=Example(START + scored.example.prompt, scored.example.answer))
        for scored in scored_answers()
    ]


def found_by(model: Any) -> Any:
    return prefix_cache(model, begun(), tiny.COMPUTE)


def test_what_the_tests_share_is_long_enough() -> None:
    assert len(START) >= LEAST_TOKENS
    assert len(set(prompts())) >= LEAST_PROMPTS


def test_the_common_start_leaves_every_prompt_a_token() -> None:
    assert common_start([(1, 2, 3), (1, 2, 4)]) == (1, 2)
    assert common_start([(1, 2, 3, 4), (1, 2, 3)]) == (1, 2)
    assert common_start([(1, 2), (1, 2)]) == (1,)
    assert common_start([(1, 2), (3, 2)]) == ()
    assert common_start([(5,), (5, 6)]) == ()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@every_architecture
def test_scores_behind_a_shared_start_are_those_of_the_row_alone(
    architecture: str, attention: str
) -> None:
    model, answers = other_model(tiny.model(architecture).config, attention), begun_answers()
    model.load_state_dict(half_taught(architecture).state_dict())
    table = score(model, answers, tiny.COMPUTE)
    assert found_by(model) is not None
    for row, answer in zip(table.to_dict("records"), answers, strict=True):
        nll, hits = score_alone(model, answer)
        assert row["nll_sum"] == pytest.approx(nll, rel=1e-5, abs=1e-5)
        assert row["hits"] == hits


def test_the_start_enters_the_model_once() -> None:
    """Besides the comparison of a prompt of one more token and the longest one, read both ways."""
    model, answers = half_taught("llama"), begun_answers()
    start, longest = len(common_start(begun())), max(map(len, begun()))
    owned: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for answer in answers:
        owned.setdefault(answer.example.prompt[start:], []).append(answer.example.answer)
    trees = [
        len(tree_of(prompt, found)) + (len(found) == 1)  # one answer is a row, with its last token
        for prompt, found in owned.items()
    ]
    with counted_tokens(model) as calls:
        score(model, answers, tiny.compute(score_tokens=1))  # every tree by itself
    alone = [start + 1, longest, start + 2, longest + 1]
    behind = longest - start
    assert calls[:9] == [start, *alone, 2 * (behind + 1), 2 * behind, 2, start]
    assert sorted(calls[-len(trees) :]) == sorted(trees)


@pytest.mark.parametrize("budget", [16384, 300, 170, 1])
@every_architecture
def test_answers_behind_a_shared_start_are_those_of_transformers(
    architecture: str, budget: int
) -> None:
    """In many slots, in a few that are refilled and moved, and in one."""
    model, asked = half_taught(architecture), begun()
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in asked]
    compute = tiny.compute(generate_tokens=budget)
    assert generate(model, tiny.encoder(), asked, compute, MOST) == expected
    assert len(set(expected)) > 1


@every_architecture
def test_known_answers_go_on_behind_a_shared_start(architecture: str) -> None:
    model, starts = half_taught(architecture), GreedyStarts()
    score(model, begun_answers(), tiny.COMPUTE, starts=starts)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in begun()]
    found = generate(
        model, tiny.encoder(), begun(), tiny.compute(generate_tokens=300), MOST, starts=starts
    )
    assert found == expected


@every_architecture
def test_in_bfloat16_a_score_behind_a_start_is_as_near_as_one_without(architecture: str) -> None:
    model, answers = half_taught(architecture), begun_answers()
    exact = score(model, answers, tiny.COMPUTE)["nll_sum"]
    shared = score(model, answers, BFLOAT16)["nll_sum"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("unlearn.evaluation.scoring.prefix_cache", lambda *_: None)
        whole = score(model, answers, BFLOAT16)["nll_sum"]
    assert (shared - exact).abs().max() < 3 * (whole - exact).abs().max()


# Where it does not pay or does not fit


def test_few_prompts_or_tokens_are_not_worth_a_start() -> None:
    model = tiny.model()
    assert prefix_cache(model, begun()[: LEAST_PROMPTS - 1], tiny.COMPUTE) is None
    assert prefix_cache(model, begun()[:1] * LEAST_PROMPTS, tiny.COMPUTE) is None
    unlike = [(number, *START) for number in range(LEAST_PROMPTS)]
    assert prefix_cache(model, unlike, tiny.COMPUTE) is None


def test_weights_below_float32_are_left_alone() -> None:
    assert found_by(tiny.model(dtype=torch.bfloat16)) is None


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: with_window(8), lambda: with_window(None), with_alibi])
def test_other_shapes_of_memory_change_nothing(make: Any) -> None:
    """A window keeps a cache of its own; distances are told from the mask, where padding is not."""
    model = make()
    table = score(model, begun_answers(), tiny.COMPUTE)
    for nll, answer in zip(table["nll_sum"], begun_answers(), strict=True):
        assert nll == pytest.approx(score_alone(model, answer)[0], rel=1e-4)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in begun()]
    compute = tiny.compute(generate_tokens=300)
    assert generate(model, tiny.encoder(), begun(), compute, MOST) == expected


@pytest.mark.parametrize(
    ("given", "why"),
    [({"past_key_values": None, "attention_mask": None}, "are off by"), (None, "no")],
)
def test_a_model_that_cannot_go_on_is_found_out(
    given: dict[str, Any] | None,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One forgets what was read, one raises: the reason is said once, the scores are right."""
    model = half_taught("gpt2")
    whole = model.transformer.forward

    def forward(*positional: Any, **named: Any) -> Any:
        if named.get("past_key_values") is not None:
            if given is None:
                raise ValueError("no\nmemory")
            named |= given
        return whole(*positional, **named)

    monkeypatch.setattr(model.transformer, "forward", forward)
    once.said.clear()
    with caplog.at_level(logging.INFO, logger="unlearn.forward.prefix"):
        assert found_by(model) is None
        table = score(model, begun_answers(), tiny.COMPUTE)
    (said,) = [record.getMessage() for record in caplog.records]
    assert why in said
    for nll, answer in zip(table["nll_sum"], begun_answers(), strict=True):
        assert nll == pytest.approx(score_alone(model, answer)[0], rel=1e-4)


def test_autocast_ends_where_it_began() -> None:
    """Such a context remembers one state only: entered within itself it would never end."""
    model = half_taught("llama")
    generate(model, tiny.encoder(), begun(), BFLOAT16, 3)
    score(model, begun_answers(), BFLOAT16)
    assert not torch.is_autocast_enabled("cpu")


BY_COLUMN = ("MPT", "GPT-Neo, window of 16")
"""Architectures that take the distance of two columns for that of two tokens."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BY_COLUMN, "Bloom"])
def test_distances_by_column_are_found_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Padding between the start and the rest of a shorter prompt is no distance."""
    model = random_model(name, tiny.tokenizer())
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in begun()]
    assert len(set(expected)) > len(expected) // 2
    once.said.clear()
    with caplog.at_level(logging.INFO, logger="unlearn.forward.prefix"):
        for budget in (16384, 300):
            compute = tiny.compute(generate_tokens=budget)
            assert generate(model, tiny.encoder(), begun(), compute, MOST) == expected
        table = score(model, begun_answers(), tiny.COMPUTE)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (name in BY_COLUMN)
    assert all("reads every prompt from its beginning: answered" in line for line in said)
    for nll, answer in zip(table["nll_sum"], begun_answers(), strict=True):
        assert nll == pytest.approx(score_alone(model, answer)[0], rel=1e-4)
