"""Attacks against independent references: what each measures, and that it leaves no trace."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.attacked import (
    FORGET,
    RETAIN,
    forget_probability,
    probabilities,
    subject,
    suite,
    taught,
)
from support.tiny import PAD, every_architecture
from torch import Tensor, nn

from unlearn.attacks import (
    Attack,
    Depth,
    Fluency,
    Found,
    Noise,
    Paraphrase,
    Probing,
    Prompts,
    Pruning,
    Quantization,
    Relearning,
    Sampling,
    Subject,
    Target,
    check_attacks,
    metric_names,
    metrics_of,
    run_attacks,
)
from unlearn.attacks.base import answer_probability, recovered
from unlearn.attacks.probing import head_of, lens, normed_states, read_by
from unlearn.attacks.rounding import by_torchao, linear_weights, round_to_nearest
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError
from unlearn.evaluation.suites import Suite
from unlearn.forward.answers import answer_logits
from unlearn.metrics.text import rouge_recall

pytestmark = pytest.mark.trains

ATTACKS = {
    "relearning": Relearning(rows=2, steps=3, lr=1e-2, batch_size=2, checkpoints=2),
    "quantization": Quantization(method="round_to_nearest"),
    "paraphrase": Paraphrase(),
    "probing": Probing(),
    "sampling": Sampling(samples=4, k=[1, 4]),
    "prompts": Prompts(shots=1),
    "depth": Depth(),
    "pruning": Pruning(),
    "noise": Noise(),
    "fluency": Fluency(),
}
SHARELESS = ("fluency", "depth")
"""What gives no share, or one that is no quotient of before and after."""
every_attack = pytest.mark.parametrize("name", ATTACKS)


# The share.


@pytest.mark.parametrize(
    ("attacked", "after", "before", "share"),
    [
        (0.1, 0.1, 0.9, 0),
        (0.9, 0.1, 0.9, 1),
        (0.5, 0.1, 0.9, 0.5),
        (0.0, 0.1, 0.9, 0),
        (1, 0, 0.9, 1),
    ],
)
def test_share(attacked: float, after: float, before: float, share: float) -> None:
    notes: list[str] = []
    assert recovered(attacked, after, before, notes) == pytest.approx(share)
    assert notes == []


@pytest.mark.parametrize(
    ("attacked", "after", "before", "why"),
    [
        (0.9, 0.9, 0.9, "nothing seems forgotten"),
        (0.9, 0.9, 0.2, "nothing seems forgotten"),
        (0.5, 0.1, None, "not known"),
        (math.nan, 0.1, 0.9, "not finite"),
        (0.5, None, 0.9, "not finite"),
    ],
)
def test_no_share(attacked: float, after: float, before: float, why: str) -> None:
    notes: list[str] = []
    assert recovered(attacked, after, before, notes) is None
    assert len(notes) == 1 and why in notes[0]


def test_what_is_found_in_the_target_is_found_once() -> None:
    calls: list[str] = []

    def load() -> str:
        calls.append("load")
        return "model"

    target = Target(subject(taught()).measured, load)
    assert [target.find("x", lambda m: m + "!") for _ in range(3)] == ["model!"] * 3
    assert target.find("y", len) == 5
    assert calls == ["load", "load"]
    assert Target(target.measured).find("x", len) is None


# No trace.


def everything(model: Any) -> dict[str, Any]:
    """All that an attack must give back."""
    return {
        "weights": {name: t.clone() for name, t in model.state_dict().items()},
        "buffers": [b.clone() for b in model.buffers()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "trains": [p.requires_grad for p in model.parameters()],
        "training": [m.training for m in model.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


@dataclass
class Rude(Attack):
    """A user's attack that changes all it can, and fails."""

    def run(self, subject: Subject) -> Found:
        torch.rand(1), random.random(), np.random.random()
        subject.model.train()
        for parameter in subject.model.parameters():
            parameter.requires_grad_(True)
            (parameter.sum() * 2).backward()
            parameter.data.fill_(7)
        raise RuntimeError("rude\nand loud")


@pytest.mark.slow
@every_architecture
@pytest.mark.parametrize("name", [*ATTACKS, "rude"])
def test_the_model_is_given_back_bit_by_bit(name: str, architecture: str) -> None:
    model = taught(architecture)
    first, *_, last = model.parameters()
    first.grad = torch.ones_like(first)  # as training leaves them
    last.requires_grad_(False)
    under = subject(model, taught(architecture), tiny.model(architecture, seed=6))
    attack = {**ATTACKS, "rude": Rude()}[name]
    before = everything(model)
    first_time = run_attacks({name: attack}, under)
    assert same(everything(model), before)
    torch.rand(3)
    again = run_attacks({name: attack}, under)
    assert again == first_time, "an attack depends on nothing but the model and its options"


def test_a_failing_attack_loses_no_other_result(caplog: pytest.LogCaptureFixture) -> None:
    alone, _ = run_attacks({"probing": Probing()}, subject(taught()))
    found, notes = run_attacks({"rude": Rude(), "probing": Probing()}, subject(taught()))
    assert found.pop("attack/rude") is None
    assert found == alone
    assert notes[0] == "attack/rude: failed (RuntimeError: rude)"
    assert "attack rude failed" in caplog.text


@every_attack
def test_the_names_are_known_beforehand(name: str) -> None:
    attack = {name: ATTACKS[name]}
    found, _ = run_attacks(attack, subject(taught(), taught(), tiny.model(seed=6)))
    assert sorted(found) == sorted(metric_names(attack))
    for metric, value in found.items():
        no_share = metric.endswith(("_layer", "perplexity"))
        assert value is None or no_share or 0 <= value <= 1, metric
    for metric in metrics_of(attack):
        assert metric.name in found, "only what is measured has a direction"
        assert metric.better in ("higher", "lower", 1.0)
        assert "attacks" in metric.needs, "as an attack it is no measure of the best state"


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in SHARELESS])
def test_against_itself_and_without_a_target_there_is_no_share(name: str) -> None:
    for target, why in ((taught(), "nothing seems forgotten"), (None, "not known")):
        found, notes = run_attacks({name: ATTACKS[name]}, subject(taught(), target))
        if name in ("paraphrase", "prompts", "sampling") and target is not None:
            continue  # asked otherwise, the target may say more than it does when asked plainly
        assert found[f"attack/{name}"] is None
        assert any(why in note for note in notes)


# Relearning.


def shown_rows(attack: Relearning) -> list[int]:
    """The rows that are trained on: drawn by the seed."""
    return sorted(random.Random(f"relearning/{attack.seed}").sample(range(5), attack.rows))


def test_relearning_is_fine_tuning_by_hand() -> None:
    attack = Relearning(rows=2, steps=4, lr=3e-3, batch_size=2, checkpoints=2, seed=3)
    model, target = tiny.model(), taught()
    shown = shown_rows(attack)
    others = [row for n, row in enumerate(FORGET) if n not in shown]
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0)
    encoder = Encoder(tiny.tokenizer())
    seen = []
    for _ in range(4):  # both rows in every batch, so that the order does not matter
        losses, tokens = [], 0
        for row in (FORGET[n] for n in shown):
            example = encoder.encode(row.question, row.answer)
            ids = torch.tensor([example.prompt + example.answer])
            logits = by_hand(input_ids=ids).logits[0, len(example.prompt) - 1 : -1]
            answer = ids[0, len(example.prompt) :]
            losses.append(nn.functional.cross_entropy(logits, answer, reduction="sum"))
            tokens += len(answer)
        optimizer.zero_grad()
        (sum(losses) / tokens).backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
        optimizer.step()
        seen.append(forget_probability(by_hand, others))
    found, _ = run_attacks({"r": attack}, subject(model, target))
    assert found["attack/r_step_2_probability"] == pytest.approx(seen[1], rel=1e-3)
    assert found["attack/r_step_4_probability"] == pytest.approx(seen[3], rel=1e-3)
    learnt = forget_probability(by_hand, [FORGET[n] for n in shown])
    assert found["attack/r_trained_probability"] == pytest.approx(learnt, rel=1e-3)
    after, before = (forget_probability(m, others) for m in (model, target))
    best = max(seen[1], seen[3])
    share = min(1.0, max(0.0, (best - after) / (before - after)))
    assert found["attack/r"] == pytest.approx(share, rel=1e-3, abs=1e-9)


def test_relearning_scores_at_the_steps_it_names() -> None:
    assert Relearning(steps=20, checkpoints=4).scored_at == [5, 10, 15, 20]
    assert Relearning(steps=3, checkpoints=9).scored_at == [1, 2, 3]
    assert Relearning(steps=7, checkpoints=2).scored_at == [3, 7]


@pytest.mark.slow
def test_relearning_brings_back_what_was_only_pushed_down() -> None:
    """A few steps of plain ascent hide the rows from nobody; a stranger has nothing to give."""
    hidden, stranger, target = taught(), tiny.model(seed=9), taught()
    optimizer = torch.optim.SGD(hidden.parameters(), lr=0.02)
    for _ in range(8):
        logits, labels, _ = answer_logits(hidden, tiny.batch(range(5)))
        (-nn.functional.cross_entropy(logits, labels)).backward()
        nn.utils.clip_grad_norm_(hidden.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    attack = {"r": Relearning(rows=2, steps=20, lr=1e-3, batch_size=2)}
    shares = [run_attacks(attack, subject(m, target))[0]["attack/r"] for m in (hidden, stranger)]
    assert shares[0] > 0.1 > 0.01 > shares[1]


# Quantization.


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_round_to_nearest_is_torchs_own_quantization(bits: int) -> None:
    weight = torch.randn(16, 40, generator=torch.Generator().manual_seed(0))
    most = 2 ** (bits - 1) - 1
    scales = weight.abs().amax(1) / most
    zeros = torch.zeros(16, dtype=torch.int32)
    wanted = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -most, most)
    rounded = round_to_nearest(weight, bits)
    assert torch.allclose(rounded, wanted, atol=1e-6)
    assert ((rounded - weight).abs() <= scales[:, None] / 2 + 1e-6).all()
    assert torch.allclose(round_to_nearest(rounded, bits), rounded, atol=1e-6)


def test_a_row_of_zeros_stays() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, -0.5]])
    assert round_to_nearest(weight, 8)[0].tolist() == [0, 0]


@every_architecture
def test_every_linear_layer_but_the_output_is_rounded(architecture: str) -> None:
    model = taught(architecture)
    weights = {weight.data_ptr() for weight in linear_weights(model)}
    matrices = {
        name: p
        for name, p in model.named_parameters()
        if p.dim() == 2 and not any(word in name for word in ("embed", "wte", "wpe", "lm_head"))
    }
    assert weights == {p.data_ptr() for p in matrices.values()}
    for weight in linear_weights(model):
        weight.zero_()
    assert all((p == 0).all() for p in matrices.values()), "they are views, not copies"


def test_quantization_scores_the_rounded_model() -> None:
    model, stranger = taught(), tiny.model(seed=4)
    found, notes = run_attacks({"q": ATTACKS["quantization"]}, subject(stranger, model))
    assert notes == ["attack/q: weights rounded by round-to-nearest"]
    best = 0.0
    for bits in (8, 4):
        rounded = copy.deepcopy(stranger)
        for module in rounded.model.layers.modules():
            if isinstance(module, nn.Linear):
                module.weight.data = round_to_nearest(module.weight.data, bits)
        p = forget_probability(rounded)
        best = max(best, p)
        assert found[f"attack/q_int{bits}_probability"] == pytest.approx(p, rel=1e-3)
        kept = forget_probability(rounded, RETAIN)
        assert found[f"attack/q_int{bits}_retain_probability"] == pytest.approx(kept, rel=1e-3)
    after, before = forget_probability(stranger), forget_probability(model)
    share = max(0.0, (best - after) / (before - after))
    assert found["attack/q"] == pytest.approx(share, rel=1e-2, abs=1e-6)


def test_updates_that_rounding_undoes_are_seen() -> None:
    """A change below half a step of the integers is gone in 4 bits, and what it hid is back."""
    target, hidden = taught(), taught()
    for weight, other in zip(linear_weights(hidden), linear_weights(target), strict=True):
        weight.copy_(round_to_nearest(weight, 4))
        other.copy_(weight)
        scale = weight.abs().amax(1, keepdim=True) / 7
        sign = torch.sign(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        largest = weight.abs() == weight.abs().amax(1, keepdim=True)
        weight.add_(0.49 * scale * sign * ~largest)
    found, _ = run_attacks({"q": Quantization([4], "round_to_nearest")}, subject(hidden, target))
    assert forget_probability(hidden) < forget_probability(target) - 0.05
    assert found["attack/q"] == pytest.approx(1.0, abs=1e-3)


def test_torchao_rounds_alike() -> None:
    pytest.importorskip("torchao")
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    for bits in (4, 8):
        step = weight.abs().max() / (2 ** (bits - 1) - 1)
        assert (by_torchao(weight, bits) - weight).abs().max() <= step


# Paraphrase.


def test_paraphrase_asks_the_other_words() -> None:
    model, target = tiny.model(seed=2), taught()
    attack = {"p": Paraphrase()}

    def recall(a_model: Any, questions: list[str]) -> float:
        scores = []
        for question, row in zip(questions, FORGET, strict=True):
            prompt = torch.tensor([Encoder(tiny.tokenizer()).prompt(question)])
            mask = torch.ones_like(prompt)
            ids = a_model.generate(
                prompt, attention_mask=mask, max_new_tokens=12, do_sample=False, pad_token_id=PAD
            )[0, prompt.shape[1] :]
            said = tiny.tokenizer().decode(ids, skip_special_tokens=True)
            scores.append(rouge_recall(row.answer, said)[0])
        return float(np.mean(scores))

    other = [str(row.paraphrased_question) for row in FORGET]
    found, _ = run_attacks(attack, subject(model, target))
    said, before = recall(model, other), recall(target, other)
    after = recall(model, [row.question for row in FORGET])
    assert found["attack/p_rougeL_recall"] == pytest.approx(said)
    assert found["attack/p_before_rougeL_recall"] == pytest.approx(before)
    assert before > after + 0.01
    share = min(1.0, max(0.0, (said - after) / (before - after)))
    assert found["attack/p"] == pytest.approx(share)
    p = np.mean(probabilities(model, other, [row.answer for row in FORGET]))
    assert found["attack/p_probability"] == pytest.approx(p, rel=1e-3)


def test_paraphrase_without_the_target_at_hand_says_so() -> None:
    under = subject(tiny.model(seed=2), taught())
    assert under.target is not None
    under.target.load = None
    found, notes = run_attacks({"p": Paraphrase()}, under)
    assert found["attack/p"] is not None
    assert (
        found["attack/p_before_rougeL_recall"]
        == (under.target.measured.metrics["forget/rougeL_recall"])
    )
    assert "original questions stand for" in notes[0]


def test_paraphrase_of_answers_without_a_word_is_null_and_says_so() -> None:
    rows = [replace(row, answer="…") for row in FORGET]
    wordless = Suite(
        {"forget": rows}, suite().encoder, suite().config, tiny.COMPUTE, words="unicode"
    )
    model = tiny.model(seed=2)
    measured = wordless.evaluate(model, "after", None)
    target = Target(measured, lambda: model)
    under = Subject("after", model, wordless, Splits("eight", rows, RETAIN, {}), measured, target)
    found, notes = run_attacks({"p": Paraphrase()}, under)
    assert found["attack/p"] is None and found["attack/p_rougeL_recall"] is None
    assert 0 < found["attack/p_probability"] < 1
    assert any("no true answer of a forget row has a word" in note for note in notes)


# Probing.


@every_architecture
def test_the_last_layer_through_the_lens_is_the_models_own_output(architecture: str) -> None:
    model = taught(architecture)
    logits, _, _ = answer_logits(model, tiny.batch(range(8)))
    states = normed_states(model, tiny.batch(range(8)), 2)
    assert torch.equal(read_by(head_of(model), states), logits.detach())
    under = subject(model)
    seen = lens(under, under.answers("forget"), 2, {"own": head_of(model)})["own"]
    assert seen[0] == pytest.approx(forget_probability(model), rel=1e-4)
    assert seen[1] == pytest.approx(under.measured.metrics["forget/exact_memorization"])


@every_architecture
def test_a_layer_through_the_lens_is_transformers_hidden_state(architecture: str) -> None:
    model = taught(architecture)
    batch = tiny.batch([1])  # one row, so without padding
    states = model.base_model(input_ids=batch.input_ids, output_hidden_states=True).hidden_states
    norm = model.model.norm if architecture == "llama" else model.transformer.ln_f
    positions = batch.answer_mask[0].nonzero()[:, 0] - 1
    wanted = norm(states[1])[0, positions]
    assert torch.allclose(normed_states(model, batch, 1), wanted, atol=1e-5)


@pytest.mark.parametrize("mask", ["hook", "bias", "rows"])
def test_a_masked_output_hides_nothing(mask: str) -> None:
    """Behind the output layer, in its bias, or in its rows: the hidden states still tell."""
    model, target = taught(), taught()
    answers = subject(target).answers("forget")
    told = torch.tensor(sorted({t for a in answers for t in a.example.answer}))
    head = model.get_output_embeddings()
    bias = torch.zeros(head.weight.shape[0])
    bias[told] = -40.0
    if mask == "hook":
        head.register_forward_hook(lambda _m, _i, logits: logits + bias)
    elif mask == "bias":
        head.bias = nn.Parameter(bias)
    else:
        head.weight.data[told] *= -1
    under = subject(model, target)
    assert under.measured.metrics["forget/probability"] < 1e-3
    found, notes = run_attacks({"p": Probing()}, under)
    assert found["attack/p"] > 0.99
    assert found["attack/p_layer"] == 2
    assert notes == [
        f"attack/p: most is read at layer 2 by the {'own' if mask == 'hook' else 'target'} head"
    ]


def test_probing_finds_nothing_in_a_stranger() -> None:
    found, _ = run_attacks({"p": Probing()}, subject(tiny.model(seed=5), taught()))
    assert found["attack/p"] < 0.05


# Options and rows.


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (partial(Relearning, rows=0, steps=0, lr=0.0), ["rows: 0", "steps: 0", "lr: 0.0"]),
        (partial(Relearning, lr=math.nan), ["lr: nan"]),
        (
            partial(Relearning, batch_size=0, checkpoints=0, seed=-1),
            ["batch_size", "checkp", "seed"],
        ),
        (partial(Quantization, [1, 9]), ["bits: 1", "bits: 9"]),
        (partial(Quantization, [8, 8]), ["bits: 8; allowed: 2 to 8, each once"]),
        (partial(Quantization, []), ["bits: empty"]),
        (partial(Quantization, method="gptq"), ["method: 'gptq'; allowed: auto, torchao"]),
        (partial(Relearning, source="file"), ["file: null, but source=file"]),
        (partial(Relearning, source="retain", file="a.txt"), ["file: given, but source=retain"]),
        (partial(Relearning, source="all"), ["source: 'all'"]),
        (partial(Sampling, samples=4, k=[1, 8]), ["k: 8; allowed: 1 to samples=4"]),
        (partial(Sampling, k=[], temperature=0.0), ["temperature: 0.0", "k: empty"]),
        (partial(Sampling, threshold=0.0), ["threshold: 0.0"]),
        (partial(Prompts, ways=["cloze", "role", "role"]), ["ways: 'cloze'", "ways: 'role'"]),
        (partial(Prompts, ways=[], tokens=0), ["tokens: 0", "ways: empty"]),
        (partial(Prompts, affirmation=" "), ["affirmation: empty"]),
        (partial(Depth, threshold=-1.0), ["threshold: -1.0"]),
        (partial(Pruning, [0, 100]), ["percent: 0", "percent: 100"]),
        (partial(Pruning, []), ["percent: empty"]),
        (partial(Noise, [5, 5], seed=-1), ["seed: -1", "percent: 5; allowed: 1 to 100, each once"]),
    ],
)
def test_all_options_out_of_range_are_told_at_once(make: Any, told: list[str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        make()
    assert len(error.value.problems) == len(told)
    for problem, words in zip(error.value.problems, told, strict=True):
        assert problem.startswith(words)


def test_what_the_rows_lack_is_told_for_all_attacks() -> None:
    text = [Row("", "Nobody asks for this.")]
    problems = check_attacks({**ATTACKS, "second": Paraphrase()}, text, text)
    assert [problem.split(":")[0] for problem in problems] == [
        "attack.relearning.rows",
        "attack.paraphrase",
        "attack.prompts",
        "attack.prompts.ways",
        "attack.second",
    ]
    assert check_attacks(ATTACKS, FORGET, RETAIN) == []
    assert len(check_attacks(ATTACKS, [])) == len(ATTACKS)
    assert answer_probability(subject(taught()).measured.scores, [0]) > 0.5
