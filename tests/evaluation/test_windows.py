"""A text longer than the model's context becomes windows: no token lost, none learnt twice."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Any

import pytest
from support import tiny
from support.muse_like import article
from support.tokenizer_kinds import byte_level, sentencepiece_like, with_start_token

from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.errors import DataError
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import Prepared
from unlearn.options.schema import ModelConfig, TargetChoice

TOKENIZERS = {
    "without a start token": byte_level,
    "with one": with_start_token,
    "sentencepiece": sentencepiece_like,
}
TEXT = article(7)
every_tokenizer = pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("max_length", [8, 9, 17, 40, 64, 1000])
@every_tokenizer
def test_no_token_is_lost_and_none_doubled(make: Any, max_length: int) -> None:
    tokenizer = make()
    encoder = Encoder(tokenizer, max_length=max_length)
    windows = encoder.windows(TEXT)
    ids = [*ids_of(tokenizer, TEXT), tokenizer.eos_token_id]
    if make is with_start_token:
        assert {window.prompt for window in windows} == {(tokenizer.bos_token_id,)}
        learnt = ids
    else:  # the first token has nothing ahead of it; every other window begins after a known one
        ahead = [(ids[0],), *(window.answer[-1:] for window in windows[:-1])]
        assert [window.prompt for window in windows] == ahead
        learnt = ids[1:]
    assert list(chain.from_iterable(window.answer for window in windows)) == learnt


@pytest.mark.parametrize("max_length", [8, 17, 40, 1000])
@every_tokenizer
def test_windows_are_as_few_as_can_be_and_of_like_size(make: Any, max_length: int) -> None:
    windows = Encoder(make(), max_length=max_length).windows(TEXT)
    sizes = [len(window) for window in windows]
    assert max(sizes) <= max_length
    assert max(sizes) - min(sizes) <= 1
    answers = sum(len(window.answer) for window in windows)
    assert len(windows) == -(-answers // (max_length - 1))
    assert (len(windows) == 1) == (max_length == 1000)  # what the numbers above are for


@every_tokenizer
def test_a_text_that_fits_is_encoded_as_ever(make: Any) -> None:
    encoder = Encoder(make(), max_length=1000)
    for text in ("x", "Odile wrote two books.", TEXT):
        assert encoder.windows(text) == [encoder.encode("", text)]
    exact = len(encoder.encode("", TEXT))
    assert len(Encoder(make(), max_length=exact).windows(TEXT)) == 1
    assert len(Encoder(make(), max_length=exact - 1).windows(TEXT)) == 2


def test_a_very_long_text_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """Tokenizers warn of texts that are longer than their model's context."""
    tokenizer = byte_level()
    tokenizer.model_max_length = 16
    with caplog.at_level(logging.WARNING):
        Encoder(tokenizer, max_length=16).windows(TEXT)
    assert not caplog.records


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_tokens_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="text without tokens"):
        Encoder(tiny.tokenizer()).windows(text)


def test_rows_become_examples_in_their_order_and_questions_stay_whole() -> None:
    encoder = Encoder(tiny.tokenizer(), max_length=32)
    long = Row("Where?", TEXT)
    rows = [Row("", TEXT), long, Row("", article(8)), tiny.ROWS[0]]
    assert encode_rows(encoder, rows) == [
        *encoder.windows(TEXT),
        encoder.encode(long.question, long.answer),  # cut, as an answer always was
        *encoder.windows(article(8)),
        encoder.encode(tiny.ROWS[0].question, tiny.ROWS[0].answer),
    ]


def preparation(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Row]]:
    """Which rows target and reference learn."""
    splits = Splits(
        "made up",
        forget=[Row("", "To forget.")],
        retain=[Row("", "To retain.")],
        evaluated={},
        general=[Row("Who?", "Everybody.")],
        background=[Row("", "Ahead of all.")],
    )
    learnt = {}

    def cached(_: Preparation, name: str, rows: list[Row]) -> Prepared:
        learnt[name] = rows
        return Prepared("elsewhere", None, None)

    monkeypatch.setattr(Preparation, "_cached", cached)
    made = Preparation(config, splits, tiny.COMPUTE)
    made.reference("train", None, made.target(TargetChoice.train))
    return learnt


def test_target_and_reference_learn_the_background_whatever_the_base(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    general, background = Row("Who?", "Everybody."), Row("", "Ahead of all.")
    retain, forget = Row("", "To retain."), Row("", "To forget.")
    embedded = preparation(ModelConfig(), monkeypatch)
    assert embedded["target"] == [general, background, retain, forget]
    assert embedded["reference"] == [general, background, retain]
    tiny.model().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    pretrained = preparation(ModelConfig(path=str(tmp_path)), monkeypatch)
    assert pretrained["target"] == [background, retain, forget]
    assert pretrained["reference"] == [background, retain]
