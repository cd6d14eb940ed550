"""The embedded model: a small Llama with a byte-pair tokenizer trained on the data itself.

It has no pretraining. What a pretrained model would know already (`Splits.general`) is part of its
fine-tuning, in target and reference alike, so that both start from the same knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unlearn.options.schema import TinyConfig

END, PAD = "<|end|>", "<|pad|>"


def tiny_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer of at most `vocabulary` entries on `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


def tiny_model(config: TinyConfig, tokenizer: Any, max_length: int) -> Any:
    """Build a Llama of the given shape with seeded initial weights."""
    import torch
    from transformers import LlamaForCausalLM

    shape = tiny_shape(
        config,
        vocab_size=len(tokenizer),
        max_position_embeddings=max_length,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return LlamaForCausalLM(shape)


def tiny_shape(config: TinyConfig, **of_tokenizer: Any) -> Any:
    """Return the configuration of the embedded model, but for what its tokenizer decides."""
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        tie_word_embeddings=True,
        bos_token_id=None,
        **of_tokenizer,
    )
