"""The benchmark of an evaluation: its plain loop is right, and its command prints every row."""

import pytest
import torch
from support import tiny
from support.row_alone import generated_by_transformers, score_alone
from support.taught import half_taught, prompts
from support.taught import scored_answers as scored
from support.tiny import PAD

from benchmarks.evaluation import main
from benchmarks.plain_evaluation import plain_answers, plain_padding, plain_scores
from unlearn.forward.generation import end_tokens


def test_the_plain_loop_scores_every_row() -> None:
    model, examples = half_taught("llama"), [answer.example for answer in scored()]
    means = plain_scores(model, examples, PAD, 5, tiny.COMPUTE)
    with torch.no_grad():
        for mean, answer in zip(means, scored(), strict=True):
            nll, _ = score_alone(model, answer)
            assert mean == pytest.approx(nll / len(answer.example.answer), rel=1e-4)


def test_the_plain_loop_answers_every_question() -> None:
    model, most = half_taught("llama"), 24
    ends = end_tokens(model, tiny.encoder())
    answers, computed = plain_answers(model, prompts(), PAD, ends, most, 3, tiny.COMPUTE)
    texts = [tiny.tokenizer().decode(a, skip_special_tokens=True).strip() for a in answers]
    assert texts == [generated_by_transformers(model, prompt, most) for prompt in prompts()]
    assert computed > sum(map(len, prompts())) + sum(map(len, answers)) - len(answers)


def test_the_padding_of_the_plain_loop_is_counted() -> None:
    examples = tiny.examples()
    longest = max(map(len, examples))
    real = sum(map(len, examples))
    assert plain_padding(examples, len(examples)) == 1 - real / (longest * len(examples))
    assert plain_padding(examples, 1) == 0


@pytest.mark.slow
def test_the_command_prints_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--device", "cpu", "--rows", "2", "--max-new-tokens", "8", "--parts"])
    said = capsys.readouterr().out
    rows = ("scored rows/s", "generated tokens/s", "padding of scoring", "padding of answering")
    parts = ("logits of answers only", "batches by length", "questions shared", "slots, refilled")
    for row in (*rows, "seconds, both", *parts):
        assert row in said
    assert "answers that differ: 0 of 46" in said


@pytest.mark.parametrize("option", ["--rows", "--batch-size", "--max-new-tokens"])
def test_wrong_options_end_with_what_is_allowed(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option, "0"])
    assert ended.value.code == 2
    assert "allowed" in capsys.readouterr().err
