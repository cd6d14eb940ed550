"""Chat templates: answers that end as their template ends a turn, and prompts without today."""

from __future__ import annotations

import copy
import inspect
import json
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.utils.chat_template_utils as rendering
from support import tiny
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from unlearn.data.splits import Row, Splits, Turn, as_record
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.data.turns import ARGUMENTS
from unlearn.errors import ConfigurationError, DataError
from unlearn.evaluation.scoring import answers_to_score
from unlearn.evaluation.suites import Suite
from unlearn.forward.generation import generate
from unlearn.models.prepared import texts
from unlearn.models.tiny import tiny_model
from unlearn.options.schema import EvaluationConfig, ModelConfig, TinyConfig

CONTROL = ["<|turn|>", "<|turn_end|>", "<|response_end|>"]
THOUGHT = ["<think>", "</think>"]
QUESTION, ANSWER = "Who kept the lighthouse at Varn?", "Odile Marsh."


def turns(said: str, opened: str = "<|turn|>assistant\n", closed: str = "") -> str:
    """A template whose assistant turns are `said`."""
    return (
        "{% for m in messages %}<|turn|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}" + said + "{% else %}"
        "{{ m['content'] }}<|turn_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + opened + "{% else %}" + closed + "{% endif %}"
    )


SAID = "{{ m['content'] }}"
EMPTY = "<think>\n\n</think>\n\n"
TEMPLATES = {
    "its own end": (turns(SAID + "<|turn_end|>\n"), "<|turn_end|>"),
    "trimmed": (turns("{{ m['content'] | trim }}<|turn_end|>\n"), "<|turn_end|>"),
    "an empty thought": (turns(EMPTY + SAID + "<|turn_end|>\n"), "<|turn_end|>"),
    "its own end, then the tokenizer's": (
        turns(SAID + "<|turn_end|>", closed="{{ eos_token }}"),
        "<|turn_end|>",
    ),
    "another end inside": (turns(SAID + "<|response_end|><|turn_end|>"), "<|turn_end|>"),
    "the tokenizer's end": (turns(SAID + "{{ eos_token }}"), "<|end|>"),
}
every_template = pytest.mark.parametrize("name", TEMPLATES)

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|head|>{{ m['role'] }}<|head_end|>\n\n"
    "{{ m['content'] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|head_end|>\n\n{% endif %}"
)
CLOCK = "{{ strftime_now('%d.%m.%Y') }} " + turns(SAID + "<|turn_end|>\n")


def tokenizer_of(template: str) -> Any:
    """The tiny tokenizer with control tokens, and marks of a thought that decoding leaves in."""
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.add_special_tokens({"additional_special_tokens": CONTROL})
    tokenizer.add_tokens(THOUGHT)
    tokenizer.chat_template = template
    return tokenizer


def rendered(tokenizer: Any, question: str, answer: str, end: str) -> tuple[list[int], int]:
    """Return the ids of a conversation up to its last `end`, and the length of its prompt.

    By transformers alone: the independent reference.
    """
    asked = [{"role": "user", "content": question}]
    said = [*asked, {"role": "assistant", "content": answer}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(said, return_dict=False)
    last = max(n for n, i in enumerate(whole) if i == tokenizer.convert_tokens_to_ids(end))
    return whole[: last + 1], len(prompt)


@every_template
def test_prompt_and_answer_are_the_rendered_conversation_up_to_the_end_of_the_turn(
    name: str,
) -> None:
    template, end = TEMPLATES[name]
    tokenizer = tokenizer_of(template)
    encoder = Encoder(tokenizer)
    assert encoder.ends == {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(end)}
    for row in tiny.ROWS:
        example = encoder.encode(row.question, row.answer)
        whole, asked = rendered(tokenizer, row.question, row.answer, end)
        assert list(example.prompt) == whole[:asked]
        assert list(example.answer) == whole[asked:]
        assert encoder.text(example.answer).strip() == row.answer


def test_a_template_that_ends_a_turn_with_the_tokenizers_end_keeps_its_ids() -> None:
    """Those of an answer tokenised by itself and the end token, as before there were turns."""
    tokenizer = tokenizer_of(LLAMA_3)
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|head|>", "<|head_end|>"]})
    encoder = Encoder(tokenizer)
    for row in tiny.ROWS:
        ids = tokenizer.encode(row.answer, add_special_tokens=False)
        expected = (*ids, tokenizer.eos_token_id)
        assert encoder.encode(row.question, row.answer).answer == expected
    assert encoder.ends == {tokenizer.eos_token_id}
    assert encoder.encode(QUESTION, ANSWER).prompt.count(tokenizer.bos_token_id) == 1


def test_a_template_without_an_end_gets_the_tokenizers() -> None:
    tokenizer = tokenizer_of(turns(SAID + "\n"))
    answer = Encoder(tokenizer).encode(QUESTION, ANSWER).answer
    assert tokenizer.decode(answer) == ANSWER + tokenizer.eos_token


def test_answers_follow_a_prompt_that_the_conversation_rewrites_and_the_reason_says_so() -> None:
    opened = "<|turn|>assistant\n<think>\n"
    tokenizer = tokenizer_of(turns(SAID + "<|turn_end|>\n", opened))
    encoder = Encoder(tokenizer)
    example = encoder.encode(QUESTION, ANSWER)
    assert tokenizer.decode(example.prompt).endswith("assistant\n<think>\n")
    assert tokenizer.decode(example.answer) == ANSWER + "<|turn_end|>"
    assert "conversations do not begin with its prompts" in encoder.reason


@pytest.mark.parametrize(
    ("template", "system", "problem"),
    [
        ("{{ raise_exception('no system turn here') }}", "Be brief.", "system turn.*no system"),
        ("{% for m in messages %}", None, "cannot be rendered"),
        ("{{ messages[7]['content'] + 1 }}", None, "cannot be rendered"),
        ("{{ messages[0]['content'] }}", None, "does not write what the assistant says"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_line(
    template: str, system: str | None, problem: str
) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        Encoder(tokenizer_of(template), system_prompt=system)
    assert "model.template=plain" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows_own", "said"),
    [(False, r"\(model\.system_prompt\)"), (True, r"system turn of a row \(question 'Where\?'")],
)
def test_a_system_turn_that_the_template_of_the_cases_refuses(
    cases_path: Path, rows_own: bool, said: str
) -> None:
    text = (cases_path / "templates" / "refuses_a_system_turn.jinja").read_text(encoding="utf-8")
    tokenizer = tokenizer_of(text)
    system = Turn("system", "Be brief.")
    with pytest.raises(DataError, match=said) as caught:
        encoder = Encoder(tokenizer, system_prompt=None if rows_own else system.content)
        encoder.encode("Where?", ANSWER, (system,))
    assert "no system turn here" in str(caught.value) and "\n" not in str(caught.value)
    assert Encoder(tokenizer).encode(QUESTION, ANSWER)


def test_every_argument_of_apply_chat_template_is_refused_as_a_variable() -> None:
    """Tools and documents are variables of templates, which it only hands on."""
    named = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
    assert set(named) - {"self", "kwargs", "tools", "documents"} <= ARGUMENTS
    with pytest.raises(ConfigurationError) as caught:
        ModelConfig(chat_options={"tokenize": True, "mood": "calm", "return_dict": True})
    assert [problem.split(" is an argument")[0] for problem in caught.value.problems] == [
        "chat_options: tokenize",
        "chat_options: return_dict",
    ]


# The turns before a question

EARLIER = (Turn("user", "Who are you?"), Turn("assistant", "Odile."))
SYSTEM = Turn("system", "Be brief.")


@every_template
@pytest.mark.parametrize("before", [(SYSTEM,), EARLIER, (SYSTEM, *EARLIER)])
def test_the_turns_before_a_question_reach_the_template(
    name: str, before: tuple[Turn, ...]
) -> None:
    """By transformers alone: the whole conversation, rendered with all of its turns."""
    template, end = TEMPLATES[name]
    tokenizer = tokenizer_of(template)
    asked = [turn._asdict() for turn in (*before, Turn("user", QUESTION))]
    said = [*asked, {"role": "assistant", "content": ANSWER}]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(said, return_dict=False)
    last = max(n for n, i in enumerate(whole) if i == tokenizer.convert_tokens_to_ids(end))
    example = Encoder(tokenizer).encode(QUESTION, ANSWER, before)
    assert list(example.prompt) == prompt
    assert list(example.prompt + example.answer) == whole[: last + 1]
    (same,) = encode_rows(Encoder(tokenizer), [Row(QUESTION, ANSWER, before=before)])
    assert same == example


def test_a_rows_own_system_turn_goes_ahead_of_the_option() -> None:
    tokenizer = tokenizer_of(TEMPLATES["its own end"][0])
    encoder = Encoder(tokenizer, system_prompt="Be long.")
    assert "Be long." in tokenizer.decode(encoder.prompt(QUESTION, EARLIER))
    own = tokenizer.decode(encoder.prompt(QUESTION, (SYSTEM, *EARLIER)))
    assert "Be brief." in own and "Be long." not in own


def test_the_turns_before_a_question_are_written_in_the_plain_template() -> None:
    encoder = Encoder(tokenizer_of(TEMPLATES["its own end"][0]), template="plain")
    prompt = encoder.tokenizer.decode(encoder.prompt(QUESTION, (SYSTEM, *EARLIER)))
    assert prompt == (
        f"Be brief.\n\nQuestion: Who are you?\nAnswer: Odile.\n\nQuestion: {QUESTION}\nAnswer:"
    )


def test_every_answer_of_a_row_is_scored_behind_its_turns() -> None:
    row = Row(QUESTION, ANSWER, "She did.", ("Emil.",), before=EARLIER)
    encoder = Encoder(tokenizer_of(TEMPLATES["its own end"][0]))
    expected = tuple(encoder.prompt(QUESTION, EARLIER))
    scored = answers_to_score(encoder, "forget", [row])
    assert [answer.kind for answer in scored] == ["answer", "paraphrase", "perturbed"]
    assert {answer.example.prompt for answer in scored} == {expected}


def test_the_turns_before_are_in_the_hash_of_the_data_only_where_there_are_any() -> None:
    rows, others = [Row("Who?", "Ann.")], [Row("Where?", "Oslo.")]
    made = Splits("own", rows, others, evaluated={"forget": rows})
    assert "before" not in json.dumps(as_record(made))
    told = Splits("own", [replace(rows[0], before=EARLIER)], others, evaluated={"forget": rows})
    assert told.sha256 != made.sha256
    assert texts(told.forget) != texts(made.forget)


# A model that learnt the rendered conversations is a perfect model


@cache
def taught(name: str) -> tuple[Any, Any, float]:
    """Return (model, tokenizer, mean loss of its answer tokens) after a plain loop."""
    template, end = TEMPLATES[name]
    tokenizer = tokenizer_of(template)
    model = tiny_model(TinyConfig(hidden_size=64, layers=2, heads=4), tokenizer, 256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = [rendered(tokenizer, row.question, row.answer, end) for row in tiny.ROWS]

    whole = [torch.tensor(ids) for ids, _ in rows]
    answers = [torch.tensor([-100] * asked + ids[asked:]) for ids, asked in rows]
    # The model is causal: what stands behind a row changes nothing in it.
    inputs, labels = pad_sequence(whole, True, 0), pad_sequence(answers, True, -100)[:, 1:]
    for _ in range(100):
        optimizer.zero_grad()
        logits = model(input_ids=inputs).logits[:, :-1].transpose(1, 2)
        nll = cross_entropy(logits, labels, reduction="none")
        (nll.sum(1) / (labels != -100).sum(1)).mean().backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [
            model(input_ids=ids[None], labels=answer[None]).loss
            for ids, answer in zip(whole, answers, strict=True)
        ]
        return model, tokenizer, float(torch.stack(losses).mean())


PERFECT = ["its own end", "an empty thought", "its own end, then the tokenizer's"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PERFECT)
def test_a_model_that_learnt_the_conversations_scores_as_it_was_trained(name: str) -> None:
    model, tokenizer, loss = taught(name)
    rows = [Row(row.question, row.answer) for row in tiny.ROWS]
    suite = Suite({"forget": rows}, Encoder(tokenizer), EvaluationConfig(), tiny.COMPUTE)
    found = suite.evaluate(model, "before", None)
    assert found.metrics["forget/loss"] == pytest.approx(loss, abs=1e-4)
    assert found.metrics["forget/extraction_strength"] == 1.0
    assert found.metrics["forget/rougeL_recall"] == 1.0
    assert [line["answer"] for line in found.generations] == [row.answer for row in rows]


@pytest.mark.parametrize("name", PERFECT)
def test_its_answers_end_by_themselves(name: str) -> None:
    model, tokenizer, _ = taught(name)
    encoder = Encoder(tokenizer)
    prompts = [encoder.prompt(row.question) for row in tiny.ROWS]
    said = generate(model, encoder, prompts, tiny.COMPUTE, 200)
    assert said == [row.answer for row in tiny.ROWS]


# The day, and variables of a template


def day(text: str) -> Any:
    """A clock that stands still at this day."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromisoformat(text)

    return Clock


def test_a_template_that_asks_for_the_time_gets_the_same_day_on_every_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = tokenizer_of(CLOCK)
    asked = [{"role": "user", "content": QUESTION}]
    prompts, plain = set(), set()
    for today in ("2026-01-05", "2026-02-14"):
        monkeypatch.setattr(rendering, "datetime", day(today))
        prompts.add(Encoder(tokenizer).encode(QUESTION, ANSWER))
        plain.add(tokenizer.apply_chat_template(asked, tokenize=False))
    assert len(plain) == 2  # what the fixture is for
    assert [tokenizer.decode(example.prompt)[:10] for example in prompts] == ["26.07.2024"]


@pytest.mark.parametrize("date", ["1 Mar 2025", "01 March 2025", "2025-03-01"])
def test_the_day_can_be_chosen(date: str) -> None:
    tokenizer = tokenizer_of(CLOCK)
    prompt = Encoder(tokenizer, chat_date=date).prompt(QUESTION)
    assert tokenizer.decode(prompt).startswith("01.03.2025 ")


def test_every_form_of_a_date_is_that_of_the_day() -> None:
    form = "%A %a %B %b %-d %-m %Y-%m-%d %H:%M:%S %j 100%% %y%m%d"
    tokenizer = tokenizer_of(CLOCK.replace("%d.%m.%Y", form))
    prompt = tokenizer.decode(Encoder(tokenizer, chat_date="3 May 2025").prompt(QUESTION))
    assert prompt.startswith(f"{datetime(2025, 5, 3).strftime(form)} <|turn|>user\n")


@pytest.mark.parametrize("space", ["", "  ", "\n", "  \n"])
def test_nothing_else_of_a_template_changes_under_the_fixed_clock(space: str) -> None:
    """White space at the start of a template is the template's own."""
    template = space + "{% if true %}" + CLOCK.replace("%d.%m.%Y", "day") + "{% endif %}"
    tokenizer = tokenizer_of(template)
    asked = [{"role": "user", "content": QUESTION}]
    expected = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(Encoder(tokenizer).prompt(QUESTION)) == expected


def test_a_template_gets_its_variables() -> None:
    template = turns(SAID + "<|turn_end|>", "<|turn|>assistant\n{{ mood }}: ")
    tokenizer = tokenizer_of(template)
    encoder = Encoder(tokenizer, chat_options={"mood": "calm"})
    assert tokenizer.decode(encoder.prompt(QUESTION)).endswith("assistant\ncalm: ")


def identity(text: str, **options: Any) -> dict[str, Any]:
    encoder = Encoder(tokenizer_of(text), **options)
    return Suite({"forget": tiny.ROWS}, encoder, EvaluationConfig(), tiny.COMPUTE).identity


def test_the_rendered_prompt_is_in_the_identity_of_an_evaluation() -> None:
    usual = identity(CLOCK)["prompt_sha256"]
    assert usual == identity(CLOCK)["prompt_sha256"]
    others = [
        identity(CLOCK, chat_date="1 Jan 2000"),
        identity(CLOCK, system_prompt="Be brief."),
        identity(CLOCK.replace("assistant", "model")),
    ]
    assert len({usual, *(other["prompt_sha256"] for other in others)}) == 4
    assert identity(CLOCK, chat_options={"mood": "calm"})["chat_options"] == {"mood": "calm"}
    # Runs of the plain template stay alike with those that an earlier version made.
    assert not {"prompt_sha256", "chat_options"} & set(identity(CLOCK, template="plain"))
