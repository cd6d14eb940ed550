"""The benchmark of a step: it compares like with like, and its command prints every row."""

import pytest
import torch

from benchmarks.loops import SHAPES, Bench, plain_labels
from benchmarks.methods import method_names
from benchmarks.step import main
from unlearn.objectives import NegativeLogLikelihood


@pytest.mark.parametrize("prompt_share", [1 / 3, 0.0])
def test_both_loops_take_the_same_loss(prompt_share: float) -> None:
    bench = Bench(SHAPES["small"], torch.device("cpu"))
    for (batch,) in bench.batches(prompt_share).step(0):
        plain = bench.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            labels=plain_labels(batch),
        ).loss
        objective = NegativeLogLikelihood()
        ours = objective.sum(bench.model, batch) / objective.count(batch)
        torch.testing.assert_close(ours, plain)


def test_answers_everywhere_leave_out_the_first_token_only() -> None:
    bench = Bench(SHAPES["small"], torch.device("cpu"))
    for (batch,) in bench.batches(0.0).step(0):
        assert batch.answer_tokens == int(batch.attention_mask[:, 1:].sum())


@pytest.mark.slow
def test_command_prints_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--device", "cpu", "--pairs", "2", "--small"])
    said = capsys.readouterr().out
    rows = ("NGDiff / plain", "GradDiff / plain", "gen / constant", "memory: skipped")
    for row in (*rows, "a step of each method", *method_names()):
        assert row in said


@pytest.mark.parametrize("options", [["--pairs", "1"], ["--device", "meta"]])
def test_wrong_options_end_with_what_is_allowed(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert "allowed" in capsys.readouterr().err
