"""Memory that is not enough: smaller batches with the same results, or a line with the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.command import QUICK, SMALL, Command
from support.row_alone import MOST, generated_by_transformers, score_alone
from support.taught import half_taught, prompts, scored_answers
from support.tiny import every_architecture

from unlearn.compute.memory import OutOfMemory, in_short
from unlearn.data.tokens import Example
from unlearn.errors import lacks_memory
from unlearn.evaluation.scoring import score
from unlearn.forward import generation
from unlearn.forward.generation import generate
from unlearn.forward.passes import Pass
from unlearn.forward.slots import Slots
from unlearn.forward.trees import tree_of
from unlearn.models.fine_tune import answer_accuracy
from unlearn.training.trainer import Trainer

FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 1.06 GiB is free. Including non-PyTorch memory, this process has 78.04 GiB in use."
)
Refuses = Callable[[torch.Tensor], bool]


@contextmanager
def memory_only_for(model: Any, refuses: Refuses) -> Iterator[list[int]]:
    """Let every call whose ids (B, T) are too many fail as on a GPU; gives how often that was."""
    failed: list[int] = []

    def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        mask = kwargs.get("attention_mask")
        if mask is not None and mask.dim() == 4 and mask.dtype == torch.int64:  # rows in one row
            ids = ids.new_zeros(mask.shape[:2])
        if refuses(ids):
            failed.append(len(ids))
            raise torch.OutOfMemoryError(FULL)

    handle = model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield failed
    finally:
        handle.remove()


def rows_above(most: int) -> Refuses:
    return lambda ids: len(ids) > most


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that tell of smaller batches."""
    return [r.getMessage() for r in caplog.records if "out of memory" in r.getMessage()]


@pytest.mark.parametrize("most", [1, 3])
@every_architecture
def test_scores_are_those_of_smaller_batches(
    architecture: str, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    model, answers = half_taught(architecture), scored_answers()
    with memory_only_for(model, rows_above(most)) as failed:
        table = score(model, answers, tiny.COMPUTE, "before: scoring", hits_of=("forget",))
    assert failed
    assert len(failed) < 12, "what follows is not tried as large again"
    small = score(model, answers, tiny.compute(score_tokens=1), hits_of=("forget",))
    assert table.drop(columns=["nll_sum"]).equals(small.drop(columns=["nll_sum"]))
    for row, answer in zip(table.to_dict("records"), answers, strict=True):
        nll, hits = score_alone(model, answer)
        assert row["nll_sum"] == pytest.approx(nll, rel=1e-5, abs=1e-5)
        assert row["hits"] == hits
    assert all(line.startswith("before: scoring: out of memory; goes on") for line in said(caplog))
    assert 1 <= len(said(caplog)) <= 4  # trees are fewer and wider than rows


def test_a_question_whose_answers_do_not_fit_together_is_scored_row_by_row() -> None:
    model, answers = half_taught("llama"), scored_answers()
    longest = max(len(answer.example) for answer in answers)
    with memory_only_for(model, lambda ids: ids.numel() > longest) as failed:
        table = score(model, answers, tiny.COMPUTE)
    assert failed
    for row, answer in zip(table.to_dict("records"), answers, strict=True):
        nll, hits = score_alone(model, answer)
        assert (row["nll_sum"], row["hits"]) == (pytest.approx(nll, rel=1e-5, abs=1e-5), hits)


@pytest.mark.parametrize("tokens", [1, 12, 20, 30, 60, 1000])
def test_a_pass_is_cut_into_parts_that_hold_each_row_once(tokens: int) -> None:
    """Within the budget, but for single rows; trees stay trees where they fit."""
    examples = [
        Example((1, 2, 3, 4), tuple(range(10, 11 + 2 * number + group)))
        for group in range(3)
        for number in range(4)
    ]
    owned = [list(range(4 * group, 4 * group + 4)) for group in range(3)]
    trees = [tree_of((1, 2, 3, 4), [examples[row].answer for row in rows]) for rows in owned]
    for whole in (Pass([*range(12)], trees), Pass([*range(12)], [])):
        parts = whole.within(examples, tokens)
        assert sorted(row for part in parts for row in part.rows) == list(range(12))
        for part in parts:
            assert part.tokens(examples) <= tokens or len(part.rows) == 1
            places = [len(tree.predicting) for tree in part.trees]
            assert sum(places) == len(part.rows) * bool(part.trees)
    assert Pass([*range(12)], trees).within(examples, 1000)[0].trees == trees


@pytest.mark.parametrize("most", [1, 2, 5])
@every_architecture
def test_answers_are_those_of_smaller_batches(
    architecture: str, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = half_taught(architecture)
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    with memory_only_for(model, rows_above(most)) as failed:
        found = generate(model, tiny.encoder(), prompts() * 2, tiny.COMPUTE, MOST, "answering")
    assert failed
    assert found == expected * 2
    assert said(caplog)
    assert all(line.startswith("answering: out of memory; goes on") for line in said(caplog))


@every_architecture
@pytest.mark.parametrize("call", [1, 3, 7, 12])
def test_answers_go_on_where_memory_ended_on_the_way(architecture: str, call: int) -> None:
    """At whatever token: other processes take memory, too."""
    model, calls = half_taught(architecture), 0

    def at_once(ids: torch.Tensor) -> bool:
        nonlocal calls
        calls += len(ids) > 1  # the questions that ask the model what it can come one by one
        return calls == call and len(ids) > 1

    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    with memory_only_for(model, at_once) as failed:
        found = generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, MOST)
    assert failed
    assert found == expected


def test_slots_that_do_not_fit_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first tokens are chosen already."""
    model, made, whole = half_taught("llama"), [], Slots.__init__

    def limited(self: Slots, like: Any, count: int, columns: int) -> None:
        made.append(count)
        if count > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you …")
        whole(self, like, count, columns)

    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    monkeypatch.setattr(Slots, "__init__", limited)
    found = generate(model, tiny.encoder(), prompts() * 2, tiny.COMPUTE, MOST)
    assert found == expected * 2
    assert max(made) > 2


def test_models_that_answer_by_generate_have_smaller_batches_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generation, "remembers_by_column", lambda _: False)
    model = half_taught("llama")
    expected = [generated_by_transformers(model, prompt, MOST) for prompt in prompts()]
    with memory_only_for(model, rows_above(1)) as failed:
        found = generate(model, tiny.encoder(), prompts() * 4, tiny.COMPUTE, MOST)
    assert failed
    assert found == expected * 4


def test_what_a_model_knows_is_found_in_smaller_batches() -> None:
    model = half_taught("gpt2")
    whole = answer_accuracy(model, tiny.examples(), tiny.COMPUTE)
    with memory_only_for(model, rows_above(3)) as failed:
        assert answer_accuracy(model, tiny.examples(), tiny.COMPUTE) == whole
    assert failed
    assert 0 < whole < 1


@pytest.mark.parametrize("work", ["score", "generate", "plainly", "knows"])
def test_a_row_that_does_not_fit_names_what_to_lower(
    work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model()
    if work == "plainly":
        monkeypatch.setattr(generation, "remembers_by_column", lambda _: False)
    else:
        monkeypatch.setattr(generation, "remembers_by_column", lambda _: True)
    measured: dict[str, Callable[[], object]] = {
        "score": lambda: score(model, scored_answers(), tiny.COMPUTE),
        "knows": lambda: answer_accuracy(model, tiny.examples(), tiny.COMPUTE),
    }
    asked = lambda: generate(model, tiny.encoder(), prompts(), tiny.COMPUTE, MOST)  # noqa: E731
    with memory_only_for(model, rows_above(0)), pytest.raises(OutOfMemory) as told:
        measured.get(work, asked)()
    message = str(told.value)
    assert "out of memory (Tried to allocate 2.00 GiB) with a single row of" in message
    for option in ("model.max_length", "evaluation.max_new_tokens", "model.dtype"):
        assert option in message
    assert "\n" not in message


def test_other_errors_of_a_pass_are_not_taken_for_it() -> None:
    model = tiny.model()

    def broken(*_: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    model.model.layers[0].register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="shapes"):
        answer_accuracy(model, tiny.examples(), tiny.COMPUTE)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(2**47, dtype=torch.uint8),
        lambda: np.empty(2**60, dtype=np.uint8),
        lambda: bytearray(2**60),
    ],
)
def test_what_this_machine_says_without_memory_is_known(ask: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as told:
        ask()
    assert lacks_memory(told.value)
    assert "\n" not in in_short(told.value)
    assert len(in_short(told.value)) < 120


# The command


def one_line(text: str) -> None:
    assert "Traceback" not in text
    assert text.count(" ERROR ") == 1, text


def test_a_run_whose_evaluation_does_not_fit_gives_the_same_numbers(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForCausalLM

    whole = unlearn(*SMALL)
    forward = LlamaForCausalLM.forward
    failed = []

    @wraps(forward)  # or the model is taken for one without a memory of columns
    def limited(self: Any, *args: Any, **kwargs: Any) -> Any:
        ids = kwargs["input_ids"]
        if ids.numel() > 600:  # and the batches of four rows are less
            failed.append(ids.numel())
            raise torch.OutOfMemoryError(FULL)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", limited)
    done = unlearn(*SMALL, "evaluation.max_new_tokens=9")  # another one, so not from the cache
    assert done.status == 0, done.said
    assert failed
    assert "out of memory; goes on with at most" in done.log
    for stage, flat in done.summary["metrics"].items():
        for name, value in (flat or {}).items():
            if "rouge" not in name and "utility" not in name and value is not None:
                other = whole.summary["metrics"][stage][name]
                assert value == pytest.approx(other, rel=1e-4, abs=1e-6), name


def test_a_step_that_does_not_fit_says_what_to_lower_and_keeps_its_checkpoint(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*QUICK, "training.checkpoint_every=1")
    whole = unlearn(*words)
    step = Trainer.step

    def fails(self: Trainer) -> dict[str, Any]:
        if self.done == 2:
            self.keep()()  # type: ignore[misc]
            raise torch.OutOfMemoryError(FULL)
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", fails)
        done = unlearn(*words)
    assert done.status == 1
    one_line(done.log)
    for told in ("step 3", "Tried to allocate 2.00 GiB", "training.micro_batch_size (now 4"):
        assert told in done.err
    assert f"The last good state lies in {done.folder}/checkpoints/step_2" in done.err
    assert done.summary["status"] == "failed"
    assert done.summary["error"].startswith("OutOfMemory: step 3")
    assert not (done.folder / "model").exists()
    again = unlearn(*words, run=done.folder)
    assert again.status == 0, again.said
    assert "goes on from" in again.log
    assert again.weights == whole.weights


@pytest.mark.parametrize(
    ("place", "option", "status"),
    [
        ("unlearn.models.fine_tune.learn_batch", "model.fine_tuning.micro_batch_size (now 8", 1),
        ("transformers.AutoModelForCausalLM.from_pretrained", "model.dtype=bfloat16", 2),
        ("unlearn.experiment.run.RunResources", "a smaller model", 1),
    ],
)
def test_memory_that_ends_elsewhere_is_one_line(
    place: str,
    option: str,
    status: int,
    unlearn: Command,
    monkeypatch: pytest.MonkeyPatch,
    own_cache: Any,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(place, full)
    seed = "model.fine_tuning.seed=31" if "learn_batch" in place else "seed=0"
    done = unlearn(*QUICK, seed)
    assert done.status == status, done.said
    one_line(done.log)
    assert option in done.err
    assert done.summary["status"] == "failed"
