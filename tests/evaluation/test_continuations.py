"""Multiple choice as lm-evaluation-harness asks it; where it is there, it is the reference."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.published_like import four_choices, write_corpora, write_wmdp

from unlearn.data.published import lettered
from unlearn.data.splits import Judged, Row
from unlearn.data.tokens import Encoder, Example
from unlearn.data.wmdp import QUESTIONS, Wmdp
from unlearn.errors import DataError
from unlearn.evaluation.suites import Suite
from unlearn.options.schema import EvaluationConfig

there = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval (the extra) is not there")
ROW = Row("Who?\nA. Odile\nB. Emil\nAnswer:", "A", perturbed_answers=("B",))


def suite_of(rows: list[Row], encoder: Encoder, **options: Any) -> Suite:
    return Suite(
        {"bio": rows},
        encoder,
        EvaluationConfig(**options),
        tiny.COMPUTE,
        judged={"bio": Judged("forget", "continuation")},
    )


def test_the_prompt_is_as_it_is_written_and_no_end_token_counts() -> None:
    encoder, tokenizer = Encoder(tiny.tokenizer()), tiny.tokenizer()
    suite = suite_of([ROW], encoder)
    right, wrong = (answer.example for answer in suite.answers)
    assert tokenizer.decode(right.prompt) == ROW.question
    assert (tokenizer.decode(right.answer), tokenizer.decode(wrong.answer)) == (" A", " B")
    assert tokenizer.eos_token_id not in (*right.answer, *wrong.answer)


def test_white_space_at_the_border_goes_with_the_answer() -> None:
    encoder, tokenizer = Encoder(tiny.tokenizer()), tiny.tokenizer()
    example = encoder.continuation("Who? ", "Odile")
    assert tokenizer.decode(example.prompt) == "Who?"
    assert tokenizer.decode(example.answer) == " Odile"
    with pytest.raises(DataError, match="without tokens"):
        encoder.continuation("Who?", "")
    with pytest.raises(DataError, match="without tokens"):
        encoder.continuation("", " Odile")


def test_a_long_prompt_loses_its_beginning_and_that_is_said() -> None:
    encoder = Encoder(tiny.tokenizer(), max_length=16)
    whole = Encoder(tiny.tokenizer()).continuation("Varn " * 30 + ROW.question, " A")
    suite = suite_of(
        [Row("Varn " * 30 + ROW.question, "A", perturbed_answers=("B",)), ROW], encoder
    )
    cut = suite.answers[0].example
    assert isinstance(cut, Example)
    assert len(cut) == 16
    assert (*cut.prompt, *cut.answer) == (*whole.prompt, *whole.answer)[-16:]
    (note,) = suite.notes
    assert "lose their beginning: " in note
    assert f"raise model.max_length to {len(whole)}" in note


@pytest.mark.parametrize("end_token", [True, False])
def test_the_suite_gives_accuracy_and_asks_nothing(end_token: bool) -> None:
    suite = suite_of([ROW, ROW], Encoder(tiny.tokenizer()), end_token=end_token)
    model = tiny.model()
    found = suite.evaluate(model, "before", None)
    assert found.generations == []
    assert found.metrics["bio/accuracy"] in (0.0, 1.0)
    one = suite.answers[0].example
    with torch.no_grad():
        logits = model(torch.tensor([[*one.prompt, *one.answer]])).logits[0].log_softmax(-1)
    places = range(len(one.prompt) - 1, len(one.prompt) + len(one.answer) - 1)
    loss = -sum(logits[p, t].item() for p, t in zip(places, one.answer, strict=True))
    loss /= len(one.answer)
    assert found.metrics["bio/loss"] == pytest.approx(loss, rel=1e-5)
    assert math.isfinite(found.metrics["bio/exact_memorization"] or 0.0)


def of_lm_eval(
    model: Any, tokenizer: Any, folder: Path, ahead: str, rows: Path
) -> tuple[float, Any]:
    """Accuracy and the log-likelihood of each letter by lm-eval's own task, worded as its WMDP."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    (folder / "wmdp.yaml").write_text(
        "task: wmdp_like\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {rows}}}}}\n"
        "test_split: test\n"
        "num_fewshot: 0\n"
        "output_type: multiple_choice\n"
        f'description: "{ahead}"\n'
        'doc_to_text: "{{question.strip()}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\n'
        'C. {{choices[2]}}\\nD. {{choices[3]}}\\nAnswer:"\n'
        'doc_to_choice: ["A", "B", "C", "D"]\n'
        "doc_to_target: answer\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    wrapped = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=8)
    found = evaluate(
        lm=wrapped, task_dict=manager.load(["wmdp_like"]), bootstrap_iters=0, log_samples=True
    )
    samples = sorted(found["samples"]["wmdp_like"], key=lambda one: one["doc_id"])
    letters = [[float(choice[0]) for choice in one["filtered_resps"]] for one in samples]
    return found["results"]["wmdp_like"]["acc,none"], letters


@there
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_accuracy_of_wmdp_is_that_of_lm_eval(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = write_wmdp(tmp_path / "wmdp", {"chem": QUESTIONS["chem"]})
    corpora = write_corpora(tmp_path / "corpora")
    reader = Wmdp(str(folder), str(corpora), questions=["chem"], forget_rows=1, retain_rows=1)
    rows = reader.read().evaluated["wmdp_chem"]
    model = tiny.model(architecture)
    suite = suite_of(rows, Encoder(tiny.tokenizer()))
    found = suite.evaluate(model, "before", None)
    ahead = "The following are multiple choice questions (with answers) about chemistry.\\n\\n"
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    jsonl = folder / "wmdp-chem" / "test.jsonl"
    acc, letters = of_lm_eval(model, tiny.tokenizer(), tasks, ahead, jsonl)
    assert found.metrics["bio/accuracy"] == acc
    assert 0.05 < acc < 0.6, "neither all right nor all wrong"
    ours = found.scores.sort_values(["index", "kind", "number"])["nll_sum"].to_numpy()
    theirs = []
    for number, likelihoods in enumerate(letters):
        right = likelihoods[four_choices(number)["answer"]]
        others = [v for at, v in enumerate(likelihoods) if at != four_choices(number)["answer"]]
        theirs += [-right, *(-value for value in others)]
    assert ours == pytest.approx(theirs, abs=2e-4)


def test_lettered_rows_are_worded_as_the_task_words_them() -> None:
    record = four_choices(0) | {"question": "  Who?  "}
    assert lettered(record, "here", "About.\n\n").question.startswith("About.\n\nWho?\nA. ")
