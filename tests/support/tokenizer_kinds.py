"""Tokenizers of three kinds: with nothing ahead of a text, with a start token, with a space."""

from __future__ import annotations

import copy
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from support import tiny


def byte_level(chat_template: str | None = None, **special: str) -> Any:
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.chat_template = chat_template
    for name, token in special.items():
        setattr(tokenizer, name, token)
    return tokenizer


def with_start_token() -> Any:
    """A tokenizer that puts a start token ahead of every text, as Llama's do."""
    tokenizer = byte_level()
    tokenizer.add_special_tokens({"bos_token": "<|start|>"})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|start|> $A", special_tokens=[("<|start|>", tokenizer.bos_token_id)]
    )
    return tokenizer


def sentencepiece_like() -> Any:
    """A tokenizer that puts a space, written ▁, ahead of every text, as Llama-2's does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", "</s>"], show_progress=False
    )
    texts = [text for row in tiny.ROWS for text in (f"Question: {row.question}", row.answer)]
    tokenizer.train_from_iterator([*texts, "Answer:", "x"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")
