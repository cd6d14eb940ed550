"""Drawn answers and leak@k: against enumeration on a two-token toy, and token by token."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import pytest
import torch
from support import tiny
from support.attacked import FORGET, subject, taught

from unlearn.attacks import Sampling, run_attacks
from unlearn.compute.memory import Budget
from unlearn.console.progress import progress
from unlearn.forward.decoding import Continued
from unlearn.forward.draws import Draw, drawn
from unlearn.forward.generation import end_tokens, sampled
from unlearn.forward.plain_decoding import answer_plainly
from unlearn.metrics.leakage import leak_at
from unlearn.metrics.text import rouge_recall

pytestmark = pytest.mark.trains


def two_tokens(seed: int = 0) -> tuple[Any, tuple[int, int]]:
    """A model that says nothing but two words, or rather their ids."""
    model = tiny.model(seed=seed)
    words = tuple(tiny.tokenizer().encode(" blue Odile")[:2])
    mask = torch.full((model.config.vocab_size,), -torch.inf)
    mask[list(words)] = 0
    model.get_output_embeddings().register_forward_hook(lambda _m, _i, logits: logits / 4 + mask)
    return model, (words[0], words[1])


def chances(model: Any, prompt: tuple[int, ...], words: tuple[int, int], length: int) -> Any:
    """Every answer of that many tokens and its probability: a plain loop over the tree."""
    found = {}
    for answer in itertools.product(words, repeat=length):
        p = 1.0
        for place, token in enumerate(answer):
            ids = torch.tensor([[*prompt, *answer[:place]]])
            with torch.no_grad():
                p *= model(ids).logits[0, -1].softmax(-1)[token].item()
        found[tiny.encoder().text(answer).strip()] = p
    return found


# leak@k.


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("right", range(6))
def test_leak_at_k_is_the_share_of_draws_with_a_right_answer(k: int, right: int) -> None:
    answers = [number < right for number in range(5)]
    draws = [any(chosen) for chosen in itertools.combinations(answers, k)]
    assert leak_at(k, [right], 5) == pytest.approx(sum(draws) / len(draws))


def test_leak_at_k_is_unbiased_on_a_two_token_toy() -> None:
    """Over every table of n answers, by their probabilities: what k fresh answers would give."""
    model, words = two_tokens()
    toy = chances(model, tiny.examples()[0].prompt, words, 2)
    assert len(toy) == 4 and sum(toy.values()) == pytest.approx(1, abs=1e-5)
    right = {next(iter(toy))}
    n, k = 4, 2

    def probability(answers: tuple[str, ...]) -> float:
        return math.prod(toy[answer] for answer in answers)

    wanted = sum(
        probability(answers) for answers in itertools.product(toy, repeat=k) if right & set(answers)
    )
    mean = sum(
        probability(answers) * leak_at(k, [sum(a in right for a in answers)], n)
        for answers in itertools.product(toy, repeat=n)
    )
    assert 0.05 < wanted < 0.95
    assert mean == pytest.approx(wanted, abs=1e-6)


def test_leak_at_k_is_a_mean_over_rows() -> None:
    assert leak_at(2, [0, 1, 4], 4) == pytest.approx((0 + 0.5 + 1) / 3)


# Draws.


def test_answers_come_as_often_as_the_model_says() -> None:
    model, words = two_tokens()
    prompt, count = tiny.examples()[1].prompt, 1000
    toy = chances(model, prompt, words, 3)
    draws = [Draw(f"toy/{number}") for number in range(count)]
    texts = sampled(
        model, tiny.encoder(), [prompt] * count, tiny.COMPUTE, [3] * count, draws, "toy"
    )
    seen = Counter(texts)
    assert set(seen) <= set(toy)
    for answer, p in toy.items():
        assert abs(seen[answer] - count * p) < 4 * math.sqrt(count * p * (1 - p)) + 1


def by_hand(model: Any, prompt: tuple[int, ...], draw: Draw, most: int) -> list[int]:
    """One answer without cache or batch, each token by cumulated probabilities."""
    answer: list[int] = []
    ends = end_tokens(model, tiny.encoder())
    for place in range(most):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *answer]])).logits[0, -1]
        p = (logits.double() / draw.temperature).softmax(-1).tolist()
        sums, u = itertools.accumulate(p), draw.number(place)
        token = next(token for token, total in enumerate(sums) if total > u)
        if token in ends:
            break
        answer.append(token)
    return answer


@tiny.every_architecture
@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_drawn_answer_is_that_of_a_plain_loop(architecture: str, temperature: float) -> None:
    model = taught(architecture)
    prompts = [tiny.examples()[row].prompt for row in range(8)] * 2
    draws = [Draw(f"{number}", temperature) for number in range(16)]
    wanted = [
        tiny.encoder().text(by_hand(model, prompt, draw, 9)).strip()
        for prompt, draw in zip(prompts, draws, strict=True)
    ]
    small = tiny.compute(generate_tokens=64)  # a slot or two at a time
    for compute in (tiny.COMPUTE, small):
        assert sampled(model, tiny.encoder(), prompts, compute, [9] * 16, draws, "x") == wanted
    assert len(set(wanted)) > 6, "they are no greedy answers"
    rows = [Continued(p, 9, draw=d) for p, d in zip(prompts, draws, strict=True)]
    with progress("x", 16) as bar:
        answer_plainly(model, rows, end_tokens(model, tiny.encoder()), Budget("x", 64), bar)
    assert [tiny.encoder().text(row.answer).strip() for row in rows] == wanted


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(400, 5)
    tokens = drawn(logits, [Draw(str(n)) for n in range(400)], [0] * 400)
    assert set(tokens) == {1, 3}
    assert 150 < tokens.count(1) < 250


# The attack.


def test_the_attack_counts_right_answers() -> None:
    model, target = tiny.model(seed=2), taught()
    attack = Sampling(samples=3, k=[1, 3], threshold=0.4, seed=5)
    under = subject(model, target)
    found, notes = run_attacks({"s": attack}, under)

    def right(a_model: Any) -> list[int]:
        counts = []
        for row in range(len(FORGET)):
            prompt = tiny.examples()[row].prompt
            draws = [Draw(f"sampling/5/{row}/{number}") for number in range(3)]
            texts = [tiny.encoder().text(by_hand(a_model, prompt, draw, 12)) for draw in draws]
            recalls = [rouge_recall(FORGET[row].answer, text, "unicode")[0] for text in texts]
            counts.append(sum(recall >= 0.4 for recall in recalls if recall is not None))
        return counts

    greedy = [line["rougeL_recall"] for line in under.measured.generations[: len(FORGET)]]
    after = sum(recall >= 0.4 for recall in greedy) / len(FORGET)
    mine, theirs = right(model), right(target)
    assert found["attack/s_leak_at_1"] == pytest.approx(sum(mine) / 15)
    assert found["attack/s_leak_at_3"] == pytest.approx(sum(n > 0 for n in mine) / 5)
    assert found["attack/s_greedy"] == pytest.approx(after)
    before = sum(n > 0 for n in theirs) / 5
    assert before > after + 0.1
    share = (found["attack/s_leak_at_3"] - after) / (before - after)
    assert found["attack/s"] == pytest.approx(min(1, max(0, share)))
    assert notes[-1].startswith(f"attack/s: {sum(n > 0 for n in mine)} of 5 questions are answered")


def test_a_model_that_only_greedily_keeps_silent_is_found_out() -> None:
    """The likeliest first token is another one, and the answer stands behind it."""
    target = taught()
    silent = taught()
    end = tiny.tokenizer().eos_token_id

    def hush(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        most = logits.amax(-1, keepdim=True) + 0.5
        return torch.cat([logits[..., :end], most, logits[..., end + 1 :]], -1)

    silent.get_output_embeddings().register_forward_hook(hush)
    attack = Sampling(samples=32, k=[1, 32], temperature=1.0)
    found, _ = run_attacks({"s": attack}, subject(silent, target))
    assert found["attack/s_greedy"] == 0
    assert found["attack/s_leak_at_1"] < 0.25 < found["attack/s_leak_at_32"]
    assert found["attack/s"] > 0.5
