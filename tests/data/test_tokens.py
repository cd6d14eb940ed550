"""From text to ids: every id of prompt and answer accounted for, for each kind of tokenizer."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from support import tiny
from support.tokenizer_kinds import byte_level, sentencepiece_like, with_start_token

from unlearn.data.batches import collate
from unlearn.data.splits import Turn
from unlearn.data.tokens import Encoder
from unlearn.errors import DataError

QUESTION, ANSWER = "Who kept the lighthouse at Varn?", "Odile Marsh."

TURNS = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
DATED = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today is {{ date_string }}.\n" + TURNS
)
"""A template that names the day unless it is told one, as Llama-3's does."""


def plain_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


# The plain template


def test_prompt_and_answer_are_tokenised_apart_and_the_answer_ends_with_the_end_token() -> None:
    tokenizer = byte_level()
    example = Encoder(tokenizer).encode(QUESTION, ANSWER)
    assert example.prompt == plain_ids(tokenizer, f"Question: {QUESTION}\nAnswer:")
    assert example.answer == (*plain_ids(tokenizer, f" {ANSWER}"), tokenizer.eos_token_id)
    assert len(example) == len(example.prompt) + len(example.answer)
    text = tokenizer.decode(example.prompt + example.answer)
    assert text == f"Question: {QUESTION}\nAnswer: {ANSWER}{tokenizer.eos_token}"


def test_the_answer_has_the_same_ids_after_every_question() -> None:
    encoder = Encoder(byte_level())
    answers = {encoder.encode(row.question, ANSWER).answer for row in tiny.ROWS}
    assert len(answers) == 1


def test_the_prompt_alone_is_the_prompt_of_the_example() -> None:
    for tokenizer in (byte_level(), byte_level(TURNS), with_start_token(), sentencepiece_like()):
        encoder = Encoder(tokenizer)
        assert tuple(encoder.prompt(QUESTION)) == encoder.encode(QUESTION, ANSWER).prompt


def test_a_tokenizer_that_adds_the_leading_space_itself_gets_no_second_one() -> None:
    tokenizer = sentencepiece_like()
    example = Encoder(tokenizer).encode(QUESTION, ANSWER)
    assert tokenizer.convert_ids_to_tokens(example.answer[0]).startswith("▁O")
    assert example.answer[:-1] == plain_ids(tokenizer, ANSWER)
    assert tokenizer.unk_token_id not in example.answer


def test_the_start_token_stands_once_ahead_of_the_prompt() -> None:
    tokenizer = with_start_token()
    start = tokenizer.bos_token_id
    assert tokenizer.encode("x")[0] == start  # what the fixture is for
    example = Encoder(tokenizer).encode(QUESTION, ANSWER)
    assert example.prompt[0] == start
    assert (*example.prompt[1:], *example.answer).count(start) == 0


def test_a_start_token_that_the_tokenizer_never_writes_is_not_written_here() -> None:
    tokenizer = byte_level(bos_token="<|end|>")
    assert Encoder(tokenizer).prompt(QUESTION)[0] != tokenizer.bos_token_id


# Chat templates


def test_a_chat_template_is_used_where_there_is_one() -> None:
    tokenizer = byte_level(TURNS)
    encoder = Encoder(tokenizer)
    assert (encoder.template, encoder.reason) == ("chat", "the tokenizer has a chat template")
    example = encoder.encode(QUESTION, ANSWER)
    assert tokenizer.decode(example.prompt) == f"[user] {QUESTION}\n[assistant] "
    # The template ends where the answer begins: no space is put between.
    assert example.answer == (*plain_ids(tokenizer, ANSWER), tokenizer.eos_token_id)


def test_a_template_that_names_the_day_names_the_same_day_always() -> None:
    tokenizer = byte_level(DATED)
    turn = [{"role": "user", "content": QUESTION}]
    rendered = tokenizer.apply_chat_template(turn, tokenize=False)
    assert f"{date.today():%Y}" in rendered  # what the fixture is for
    prompt = tokenizer.decode(Encoder(tokenizer).prompt(QUESTION))
    assert prompt == f"Today is 26 Jul 2024.\n[user] {QUESTION}\n[assistant] "


def test_the_system_turn_and_the_day_can_be_chosen() -> None:
    tokenizer = byte_level(DATED)
    encoder = Encoder(tokenizer, system_prompt="Be brief.", chat_date="1 Jan 2000")
    assert tokenizer.decode(encoder.prompt(QUESTION)) == (
        f"Today is 1 Jan 2000.\n[system] Be brief.\n[user] {QUESTION}\n[assistant] "
    )


def test_the_plain_template_can_be_asked_for() -> None:
    encoder = Encoder(byte_level(TURNS), template="plain")
    assert encoder.template == "plain"
    assert encoder.prompt(QUESTION) == Encoder(byte_level()).prompt(QUESTION)


def test_a_chat_template_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"model.template: 'chat'.*allowed here: auto, plain"):
        Encoder(byte_level(), template="chat")


# Plain text


def test_a_text_after_a_start_token_is_predicted_whole() -> None:
    tokenizer = with_start_token()
    example = Encoder(tokenizer).encode("", ANSWER)
    assert example.prompt == (tokenizer.bos_token_id,)
    assert example.answer == (*plain_ids(tokenizer, ANSWER), tokenizer.eos_token_id)


@pytest.mark.parametrize("template", [None, TURNS])
def test_a_text_without_a_start_token_is_predicted_from_its_first_token(
    template: str | None,
) -> None:
    tokenizer = byte_level(template)
    example = Encoder(tokenizer).encode("", ANSWER)
    ids = plain_ids(tokenizer, ANSWER)
    assert example.prompt == ids[:1]
    assert example.answer == (*ids[1:], tokenizer.eos_token_id)


# Limits


@pytest.mark.parametrize("answer", ["", " ", "\n\t "])
@pytest.mark.parametrize("question", ["", QUESTION])
def test_an_answer_without_tokens_is_refused_with_its_row(question: str, answer: str) -> None:
    with pytest.raises(DataError, match="answer without tokens") as caught:
        Encoder(byte_level()).encode(question, answer)
    assert repr(question) in str(caught.value)
    assert repr(answer) in str(caught.value)


def test_a_prompt_that_leaves_no_room_is_refused_with_its_length_and_the_limit() -> None:
    tokenizer = byte_level()
    length = len(Encoder(tokenizer).prompt(QUESTION))
    for limit in (length, length - 1):
        with pytest.raises(DataError, match=f"{length} tokens, model.max_length is {limit}") as e:
            Encoder(tokenizer, max_length=limit).encode(QUESTION, ANSWER)
        assert QUESTION in str(e.value)
    assert len(Encoder(tokenizer, max_length=length + 1).encode(QUESTION, ANSWER).answer) == 1


def test_a_long_answer_loses_its_tail_and_with_it_the_end_token() -> None:
    tokenizer = byte_level()
    whole = Encoder(tokenizer).encode(QUESTION, ANSWER)
    for missing in (0, 1, 2):
        limit = len(whole) - missing
        cut = Encoder(tokenizer, max_length=limit).encode(QUESTION, ANSWER)
        assert cut.prompt == whole.prompt
        assert cut.answer == whole.answer[: len(whole.answer) - missing]
        assert len(cut) == limit


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="no end token"):
        Encoder(tokenizer)


# Masks


def test_where_pad_is_the_end_token_masks_still_come_from_lengths() -> None:
    tokenizer = byte_level()
    tokenizer.pad_token = tokenizer.eos_token
    encoder = Encoder(tokenizer)
    examples = [encoder.encode(row.question, row.answer) for row in tiny.ROWS]
    batch = collate(examples, range(len(examples)), tokenizer.pad_token_id)
    lengths = [len(example) for example in examples]
    assert batch.attention_mask.sum(1).tolist() == lengths
    assert batch.answer_mask.sum(1).tolist() == [len(example.answer) for example in examples]
    for row, length in enumerate(lengths):
        assert batch.input_ids[row, length - 1] == tokenizer.eos_token_id
        assert batch.attention_mask[row, length - 1] == 1
        assert batch.answer_mask[row, length - 1]


@pytest.mark.parametrize("kind", [byte_level, with_start_token, sentencepiece_like])
@pytest.mark.parametrize("template", [None, TURNS])
def test_many_rows_at_once_have_the_ids_of_each_by_itself(kind: Any, template: str | None) -> None:
    """Above a few a tokenizer reads them together: answers of one question, texts, turns ahead."""
    tokenizer = kind()
    tokenizer.chat_template = template
    turns = (Turn("system", "Be brief."), Turn("user", "Hm?"), Turn("assistant", "Yes."))
    rows = [(row.question, row.answer, row.before) for row in tiny.ROWS]
    rows += [(QUESTION, f"{number} of them.", ()) for number in range(5)]
    rows += [(QUESTION, "1 of them.", turns), ("", "A text alone.", ()), (QUESTION, "語。", ())]
    together, alone = Encoder(tokenizer).encode_all(rows), Encoder(tokenizer)
    assert together == [alone.encode(*row) for row in rows]


def test_of_many_rows_the_first_wrong_one_is_named() -> None:
    rows = [(QUESTION, f"{number}", ()) for number in range(9)] + [("Why?", " ", ())]
    with pytest.raises(DataError, match=r"answer without tokens: question 'Why[?]'"):
        Encoder(byte_level()).encode_all(rows)


def test_a_row_is_tokenised_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, text = Encoder(tiny.tokenizer()), "A text without a question."
    asked: list[str] = []
    read = encoder._ids
    monkeypatch.setattr(encoder, "_ids", lambda text: (asked.append(text), read(text))[1])
    first = [encoder.examples(row) for row in tiny.ROWS] + [encoder.windows(text)]
    texts = len(asked)
    first[-1].clear()  # what one asker does to its list is no other's
    again = [encoder.encode(row.question, row.answer, list(row.before)) for row in tiny.ROWS]
    assert again == [example for examples in first[:-1] for example in examples]
    assert encoder.windows(text) == tiny.encoder().windows(text)
    assert len(asked) == texts > len(tiny.ROWS)
    other = encoder.encode(tiny.ROWS[0].question, tiny.ROWS[0].answer, [Turn("user", "Before.")])
    assert len(other.prompt) > len(again[0].prompt)  # turns ahead make another row
