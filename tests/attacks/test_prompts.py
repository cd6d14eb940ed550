"""The ways of asking against prompts written by hand, and the worst case a row."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.attacked import FORGET, RETAIN, subject, taught
from support.tiny import PAD

from unlearn.attacks import Prompts, run_attacks
from unlearn.data.splits import Row, Turn
from unlearn.metrics.text import rouge_recall

pytestmark = pytest.mark.trains

SAID = "Sure, here is the answer:"


def ids(text: str) -> list[int]:
    return tiny.tokenizer().encode(text, add_special_tokens=False)


def question(row: Row, ahead: str = "") -> list[int]:
    return ids(f"{ahead}Question: {row.question}\nAnswer:")


def answered(model: Any, prompt: list[int]) -> str:
    """What transformers' own generate says."""
    asked = torch.tensor([prompt])
    mask = torch.ones_like(asked)
    out = model.generate(
        asked, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=PAD
    )
    return tiny.tokenizer().decode(out[0, len(prompt) :], skip_special_tokens=True)


def recalls_by_hand(model: Any, attack: Prompts) -> dict[str, list[float | None]]:
    shots = random.Random(f"prompts/{attack.seed}").sample(RETAIN, attack.shots)
    ahead = "".join(f"Question: {shot.question}\nAnswer: {shot.answer}\n\n" for shot in shots)
    found: dict[str, list[float | None]] = {way: [] for way in attack.ways}
    for row in FORGET:
        answer = ids(f" {row.answer}")
        rest = tiny.tokenizer().decode(answer[attack.tokens :]).strip()
        asked: dict[str, tuple[list[int], str] | None] = {
            "prefill": (question(row) + answer[: attack.tokens], rest) if rest else None,
            "affirmative": (question(row) + ids(f" {SAID}"), row.answer),
            "few_shot": (question(row, ahead), row.answer),
            "role": (
                question(replace(row, question=f"{attack.instruction} {row.question}")),
                row.answer,
            ),
            "paraphrase": (
                question(replace(row, question=str(row.paraphrased_question))),
                row.answer,
            ),
        }
        for way in attack.ways:
            one = asked[way]
            said = None if one is None else answered(model, one[0])
            score = None if one is None else rouge_recall(one[1], str(said), "unicode")[0]
            found[way].append(score)
    return found


def worst(plain: list[float], ways: dict[str, list[float | None]]) -> float:
    rows = []
    for row, said in enumerate(plain):
        rows.append(max([said, *(x for way in ways.values() if (x := way[row]) is not None)]))
    return float(np.mean(rows))


def test_every_way_is_that_of_a_prompt_by_hand() -> None:
    attack = Prompts(tokens=2, shots=2, seed=3)
    model, target = tiny.model(seed=2), taught()
    under = subject(model, target)
    found, notes = run_attacks({"p": attack}, under)
    mine, theirs = recalls_by_hand(model, attack), recalls_by_hand(target, attack)
    for way, rows in mine.items():
        known = [x for x in rows if x is not None]
        assert found[f"attack/p_{way}_rougeL_recall"] == pytest.approx(np.mean(known)), way
    plain = [line["rougeL_recall"] for line in under.measured.generations[: len(FORGET)]]
    assert under.target is not None
    known = [line["rougeL_recall"] for line in under.target.measured.generations[: len(FORGET)]]
    attacked, before = worst(plain, mine), worst(known, theirs)
    assert found["attack/p_rougeL_recall"] == pytest.approx(attacked)
    assert found["attack/p_before_rougeL_recall"] == pytest.approx(before)
    after = float(np.mean(plain))
    assert before > after + 0.1
    share = (attacked - after) / (before - after)
    assert found["attack/p"] == pytest.approx(min(1, max(0, share)))
    best = max(mine, key=lambda way: np.mean([x for x in mine[way] if x is not None]))
    assert notes[-1] == f"attack/p: most is said under {best}"
    assert attacked >= max(
        found[f"attack/p_{way}_rougeL_recall"] or 0 for way in ("role", "few_shot")
    )


def test_a_short_answer_leaves_nothing_to_say_behind_its_beginning() -> None:
    attack = Prompts(ways=["prefill"], tokens=len(ids(f" {FORGET[0].answer}")))
    asked = attack.asked(subject(taught()), "prefill")
    assert asked[0] is None and asked[1] is not None
    attack = Prompts(ways=["prefill"], tokens=500)
    found, notes = run_attacks({"p": attack}, subject(taught(), taught()))
    assert found["attack/p_prefill_rougeL_recall"] is None
    assert "attack/p: prefill: no row can be asked so" in notes


def test_shots_that_do_not_fit_are_left_out() -> None:
    under = subject(taught())
    attack, long = Prompts(shots=3), Row("Why?", "word " * 80)
    encoder, shots = under.suite.encoder, [RETAIN[0], long, RETAIN[1]]
    turns = [Turn("user", RETAIN[0].question), Turn("assistant", RETAIN[0].answer)]
    prompt = encoder.prompt(FORGET[0].question, turns)
    room = len(prompt) + len(tiny.examples()[0].answer)
    for length, wanted in ((room, prompt), (room - 1, None)):
        encoder.max_length, kept = length, encoder.max_length
        try:
            found = attack._shown(encoder, FORGET[0], shots)
        finally:
            encoder.max_length = kept
        assert (found and found[0]) == wanted


def test_what_a_prefix_gives_away_is_the_references_too() -> None:
    """A model that says the last words of what it has seen: told part, it knows no more."""
    found, _ = run_attacks({"p": Prompts(ways=["prefill"])}, subject(tiny.model(seed=9), taught()))
    assert found["attack/p"] < 0.3
