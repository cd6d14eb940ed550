"""What an evaluation computes once for several rows, and that no number or answer shows it."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.architectures import counted_tokens, other_model, with_alibi, with_window
from support.row_alone import MOST, generated_by_transformers, score_alone
from support.taught import COLUMNS, half_taught, prompts, scored_answers
from support.tiny import BFLOAT16, PAD, every_architecture

from benchmarks.architectures import random_model
from unlearn.console import once, progress
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder, Example
from unlearn.evaluation.scoring import Scored, answers_to_score, score
from unlearn.evaluation.suites import Suite
from unlearn.forward import decoding, packing
from unlearn.forward.generation import generate
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.packing import compare_rows
from unlearn.forward.passes import TOLERANCE, passes
from unlearn.forward.trees import Reading, read_as_rows, read_by_mask, tree_of
from unlearn.metrics.table import HITS, LIKELIHOODS
from unlearn.models.fine_tune import fine_tune
from unlearn.options.schema import EvaluationConfig, FineTuningConfig

pytestmark = pytest.mark.trains

MANY = tiny.compute(score_tokens=10**6)


def examples() -> list[Example]:
    return list(dict.fromkeys(answer.example for answer in scored_answers()))


# Trees


def random_answers(draw: random.Random) -> list[tuple[int, ...]]:
    """Answers of few different tokens: many begin alike, some go on where others end."""
    return [tuple(draw.choices((1, 2), k=draw.randint(1, 6))) for _ in range(draw.randint(1, 7))]


def seen_by_mask(read: Reading) -> list[tuple[list[int], list[int]]]:
    """Return ids and positions of what each node that predicts sees, itself included."""
    visible, ids = read.inputs["attention_mask"] == 0, read.inputs["input_ids"]
    assert bool(visible.any(-1).all())  # also in the padding: a softmax over nothing is NaN
    found = []
    for row, node in zip(*(tensor.tolist() for tensor in read.positions), strict=True):
        seen = visible[row, 0, node]
        found.append((ids[row, seen].tolist(), read.inputs["position_ids"][row, seen].tolist()))
    return found


def seen_in_rows(read: Reading) -> list[tuple[list[int], list[int]]]:
    """Return ids and positions of what each node that predicts sees, itself included."""
    layout, (ids,) = read.inputs["attention_mask"], read.inputs["input_ids"]
    columns, (places, sources) = layout.shape[1], layout[0, 0]
    found = []
    for node in read.positions[1].tolist():
        spot = int(places[node])
        seen = sources[spot - spot % columns : spot + 1]
        assert seen[-1] == node
        found.append((ids[seen].tolist(), read.inputs["position_ids"][0, seen].tolist()))
    return found


@pytest.mark.parametrize(
    ("read_by", "seen_by"), [(read_by_mask, seen_by_mask), (read_as_rows, seen_in_rows)]
)
@pytest.mark.parametrize("seed", range(20))
def test_a_node_sees_its_own_row_and_a_shared_beginning_is_there_once(
    seed: int, read_by: Any, seen_by: Any
) -> None:
    draw = random.Random(seed)
    prompt = tuple(draw.choices((1, 2), k=draw.randint(1, 4)))
    answers = random_answers(draw)
    tree = tree_of(prompt, answers)
    read = read_by(tiny.model(), [tree_of((9, 9), [(3,) * 30]), tree])
    seen, places = seen_by(read), iter(read.place.tolist())
    for question, answer in [((9, 9), (3,) * 30), *((prompt, answer) for answer in answers)]:
        for count in range(len(answer)):
            ids, positions = seen[next(places)]
            assert tuple(ids) == question + answer[:count]
            assert positions == list(range(len(question) + count))
    assert next(places, None) is None
    beginnings = {prompt + answer[:count] for answer in answers for count in range(len(answer))}
    assert len(tree) == len(prompt) - 1 + len(beginnings)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@every_architecture
def test_where_attention_takes_less_a_tree_is_read_by_its_mask(
    architecture: str, attention: str
) -> None:
    """Short answers to a long question are; long ones are not."""
    model = other_model(tiny.model(architecture).config, attention)
    short = [Example((5,) * 20, (number, 4)) for number in range(6, 10)]
    long = [Example((5,) * 4, (number,) * 20) for number in range(6, 10)]
    with torch.no_grad():
        found = passes(model, short + long, MANY)
    takes_layouts = attention == "sdpa" and architecture != "falcon"
    ways = {row: part.read for part in found for row in part.rows if part.trees}
    long_ones = dict.fromkeys(range(4, 8), read_as_rows) if takes_layouts else {}
    assert ways == dict.fromkeys(range(4), read_by_mask) | long_ones


def test_in_16_bits_trees_are_read_by_their_mask() -> None:
    many = replace(tiny.BFLOAT16, score_tokens=10**6)
    assert {part.read for part in passes(tiny.model(), examples(), many)} == {read_by_mask}


# Scores


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@every_architecture
def test_answers_share_their_question_without_a_change_of_score(
    architecture: str, attention: str
) -> None:
    model, answers = other_model(tiny.model(architecture).config, attention), scored_answers()
    model.load_state_dict(half_taught(architecture).state_dict())
    with counted_tokens(model) as calls, torch.no_grad():
        found = passes(model, examples(), MANY)
        calls.clear()  # without those of the comparison
        table = score(model, answers, tiny.COMPUTE)
    trees = sum(len(part.trees) for part in found)
    assert trees == 7 + any(part.read is read_as_rows for part in found)  # as rows one answer goes
    for row, answer in zip(table.to_dict("records"), answers, strict=True):
        nll, hits = score_alone(model, answer)
        assert row["nll_sum"] / row["tokens"] == pytest.approx(nll / row["tokens"], abs=TOLERANCE)
        assert row["hits"] == hits


def test_a_shared_question_is_computed_once() -> None:
    row = Row("Where?", "Varn.", "In Varn.", ("Emil.", "Odile.", "No."))
    answers = answers_to_score(Encoder(tiny.tokenizer()), "forget", [row])
    model, prompt = tiny.model(), len(answers[0].example.prompt)
    # What the answers feed in: all but the last token, which nothing follows.
    fed = {a.example.answer[:n] for a in answers for n in range(1, len(a.example.answer))}
    with counted_tokens(model) as calls:
        score(model, answers, tiny.COMPUTE)
    assert calls[-1] == prompt + len(fed)
    assert prompt + len(fed) < sum(len(answer.example) for answer in answers) / 2


def test_an_answer_that_stands_in_two_splits_is_computed_once() -> None:
    encoder, row = Encoder(tiny.tokenizer()), tiny.ROWS[1]
    asked = {"hits_of": ("forget", "retain"), "likelihoods_of": ("forget",)}
    twice = [
        *answers_to_score(encoder, "forget", [row]),
        *answers_to_score(encoder, "world_facts", [tiny.ROWS[0], row]),
        *answers_to_score(encoder, "retain", [row]),
    ]
    model = half_taught("llama")
    compare_rows(model)  # before anything is counted
    with counted_tokens(model) as calls:
        table = score(model, twice, tiny.COMPUTE, **asked)
    assert sum(calls) == sum(map(len, {a.example for a in twice}))
    assert list(table.columns) == [*COLUMNS, HITS, *LIKELIHOODS]
    alone = score(model, twice[:1], tiny.COMPUTE, **asked).loc[0]
    for place in (0, 2, 3):
        assert table.loc[place, "nll_sum"] == pytest.approx(alone["nll_sum"], rel=1e-5)
        assert table.loc[place, "hits"] == alone["hits"]
    for name, places in ((HITS, {0, 3}), *((name, {0}) for name in LIKELIHOODS)):
        for place in range(4):
            if place in places:
                np.testing.assert_allclose(table.loc[place, name], alone[name], atol=1e-5)
            else:
                assert table.loc[place, name] is None


@every_architecture
def test_the_lists_of_a_shared_question_are_those_of_the_row_alone(architecture: str) -> None:
    model, answers = half_taught(architecture), scored_answers()
    lists = {"hits_of": ("forget",), "likelihoods_of": ("forget",)}
    table = score(model, answers, tiny.COMPUTE, **lists)
    for place, answer in enumerate(answers):
        if answer.kind == "answer":
            alone = score(model, [answer], tiny.COMPUTE, **lists).loc[0]
            for name in (HITS, *LIKELIHOODS):
                np.testing.assert_allclose(table.loc[place, name], alone[name], atol=1e-4)


# Where a question cannot be shared


def assert_scored_alone(model: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is said once, and the scores are those of every row by itself."""
    once.said.clear()
    answers: list[Scored] = scored_answers()
    with caplog.at_level(logging.INFO, logger="unlearn.forward.passes"):
        first = score(model, answers, tiny.COMPUTE)
        score(model, answers, tiny.COMPUTE)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "scores every answer" in line and why in line]) == 1
    assert len(said) == len(set(said))
    for row, answer in zip(first.to_dict("records"), answers, strict=True):
        assert row["nll_sum"] == pytest.approx(score_alone(model, answer)[0], rel=1e-4)


def test_alibi_scores_every_answer_with_its_question(caplog: pytest.LogCaptureFixture) -> None:
    assert_scored_alone(with_alibi(), "FalconForCausalLM scores every answer", caplog)


def test_a_model_that_ignores_positions_is_found_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model("gpt2")
    monkeypatch.setattr(packing, "_compared", {})  # nothing is known of others of its kind
    whole = model.transformer.forward
    monkeypatch.setattr(
        model.transformer,
        "forward",
        lambda *given, **named: whole(*given, **named | {"position_ids": None}),
    )
    assert_scored_alone(model, "nats a token", caplog)


def test_an_attention_without_a_mask_of_its_own_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model()
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2")
    with torch.no_grad():
        once.said.clear()
        with caplog.at_level(logging.INFO, logger="unlearn.forward.passes"):
            found = passes(model, examples(), MANY)
    assert not any(part.trees for part in found)
    assert "the attention implementation flash_attention_2" in caplog.text


def test_weights_below_float32_are_not_compared() -> None:
    found = passes(tiny.model(dtype=torch.bfloat16), examples(), MANY)
    assert not any(part.trees for part in found)


@pytest.mark.parametrize(("window", "shares"), [(None, True), (100, True), (12, False)])
@torch.no_grad()
def test_a_sliding_window_shares_what_lies_within_it(window: int | None, shares: bool) -> None:
    model = with_window(window)
    assert max(map(len, examples())) < 100
    found = passes(model, examples(), MANY)
    assert any(part.trees for part in found) is shares
    table = score(model, scored_answers(), tiny.COMPUTE)
    for nll, answer in zip(table["nll_sum"], scored_answers(), strict=True):
        assert nll == pytest.approx(score_alone(model, answer)[0], rel=1e-4)


# Answers


@pytest.mark.parametrize("budget", [130, 200, 400])
@every_architecture
def test_waiting_prompts_take_the_places_of_finished_ones(architecture: str, budget: int) -> None:
    """In one slot or a few, of so few columns that rows move back to the first ones."""
    model = half_taught(architecture)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    found = generate(model, tiny.encoder(), prompts(), tiny.compute(generate_tokens=budget), MOST)
    assert found == expected


def test_slow_answers_are_reported_once_there_are_any(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first tokens nothing is done yet, and no time left can be told."""
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        generate(half_taught("llama"), tiny.encoder(), prompts(), tiny.COMPUTE, MOST, title="ask")
    assert "ask: 8/8" in caplog.text
    assert "ask: 0/8" not in caplog.text


def test_more_prompts_than_slots_take_fewer_calls_than_batches_would() -> None:
    """Answers end at different steps, and no slot waits for the slowest one of a batch."""
    model, asked = half_taught("llama"), prompts() * 4
    with counted_tokens(model) as calls:
        generate(model, tiny.encoder(), asked, tiny.compute(generate_tokens=600), MOST)
    with counted_tokens(model) as in_batches, pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoding, "fits_slots", lambda _cache: False)
        generate(model, tiny.encoder(), asked, tiny.compute(generate_tokens=600), MOST)
    assert len(calls) < 0.9 * len(in_batches)


@pytest.mark.slow
@pytest.mark.parametrize("window", [8, None])
@pytest.mark.parametrize("budget", [16384, 200])
def test_a_sliding_window_answers_as_transformers_does(window: int | None, budget: int) -> None:
    model = with_window(window)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    found = generate(model, tiny.encoder(), prompts(), tiny.compute(generate_tokens=budget), MOST)
    assert found == expected


@every_architecture
def test_answers_in_bfloat16_do_not_depend_on_slots(architecture: str) -> None:
    model = half_taught(architecture)
    alone = [generate(model, tiny.encoder(), [prompt], BFLOAT16, MOST)[0] for prompt in prompts()]
    parted = tiny.compute(bfloat16=True, generate_tokens=200)
    together = generate(model, tiny.encoder(), prompts(), parted, MOST)
    same = sum(one == other for one, other in zip(alone, together, strict=True))
    assert same >= len(alone) - 1  # one may hang on the rounding of a near tie


def slots_of(model: Any, tokens: int | None, copies: int = 20) -> list[int]:
    """How many rows were answered together, step by step."""
    sizes: list[int] = []
    whole = decoding.BatchedDecoding._step

    def step(self: decoding.BatchedDecoding) -> int:
        sizes.append(len(self.active))
        return whole(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoding.BatchedDecoding, "_step", step)
        generate(
            model, tiny.encoder(), prompts() * copies, tiny.compute(generate_tokens=tokens), MOST
        )
    return sizes


@pytest.mark.slow
def test_a_small_model_answers_as_many_together_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A budget of the user's is kept to; without one the bytes of a token decide."""
    model = half_taught("llama")
    assert max(slots_of(model, 600)) < 20
    assert max(slots_of(model, None)) <= decoding.SLOTS
    monkeypatch.setattr(decoding, "TOKENS", 600)
    assert max(slots_of(model, None)) > 40
    monkeypatch.setattr(decoding, "BYTES", 0)
    assert max(slots_of(model, None)) == max(slots_of(model, 600))


@every_architecture
def test_slots_that_grow_after_the_first_rows_change_no_answer(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "TOKENS", 200)
    model = half_taught(architecture)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    assert generate(model, tiny.encoder(), prompts() * 3, tiny.COMPUTE, MOST) == expected * 3


# What the scores know of the answers


@cache
def well_taught() -> Any:
    """A model that knows every row by heart."""
    model = tiny.model()
    recipe = FineTuningConfig(lr=1e-2, epochs=200, batch_size=4, accuracy=1.0)
    fine_tune(model, tiny.examples(), recipe, tiny.COMPUTE, "well taught")
    return model.eval()


@every_architecture
def test_known_starts_are_the_beginnings_of_the_answers(architecture: str) -> None:
    model, starts = half_taught(architecture), GreedyStarts()
    score(model, scored_answers(), tiny.COMPUTE, starts=starts)
    known = [starts.of(prompt) for prompt in prompts()]
    assert len({len(start) for start in known}) > 2
    for prompt, start in zip(prompts(), known, strict=True):
        ids = torch.tensor([prompt])
        whole = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=len(start),
            pad_token_id=PAD,
        )
        assert tuple(whole[0, len(prompt) :].tolist()) == start
    assert starts.of((1, 2, 3)) == ()


@pytest.mark.parametrize("most", [1, 2, 5, MOST])
@every_architecture
def test_answers_from_known_starts_are_the_same(architecture: str, most: int) -> None:
    model, starts = half_taught(architecture), GreedyStarts()
    score(model, scored_answers(), tiny.COMPUTE, starts=starts)
    encoder = tiny.encoder()
    expected = generate(model, encoder, prompts(), tiny.COMPUTE, most)
    assert generate(model, encoder, prompts(), tiny.COMPUTE, most, starts=starts) == expected


def test_what_a_model_knows_by_heart_is_not_generated() -> None:
    config = EvaluationConfig(max_new_tokens=2 * MOST)
    suite = Suite({"forget": tiny.ROWS}, Encoder(tiny.tokenizer()), config, tiny.COMPUTE)
    model = well_taught()
    with counted_tokens(model) as scoring:
        suite.score(model, "before")
    with counted_tokens(model) as all_calls:
        evaluation = suite.evaluate(model, "before", None)
    assert len(all_calls) == len(scoring)
    assert [line["answer"] for line in evaluation.generations] == [r.answer for r in tiny.ROWS]


@pytest.mark.parametrize("name", ["MPT", "GPT-Neo, window of 16"])
def test_a_tree_that_hardly_branches_does_not_vouch_for_one_that_does(name: str) -> None:
    """In a chain columns are positions, so an architecture that mixes them up is right about it."""
    model = random_model(name, tiny.tokenizer())
    chain, wide = examples()[0].prompt, examples()[-1].prompt
    answers = [(40, 41), (40, 41, 42), *((n, n + 1, *range(60, 80)) for n in (50, 53, 56))]
    scored = [
        Scored("forget", number, "answer", 0, Example(prompt, answer))
        for number, (prompt, answer) in enumerate(
            zip([chain] * 2 + [wide] * 3, answers, strict=True)
        )
    ]
    assert len(tree_of(chain, answers[:2])) == tree_of(chain, answers[:2]).depth
    assert any(len(part.trees) for part in passes(tiny.model(), [a.example for a in scored], MANY))
    for nll, answer in zip(score(model, scored, tiny.COMPUTE)["nll_sum"], scored, strict=True):
        assert nll == pytest.approx(score_alone(model, answer)[0], rel=1e-4)
