"""Whether the ids of a tokenizer are those that a model means by them."""

from __future__ import annotations

from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.models.load import configuration_of, entries_of, load_tokenizer, tokenizer_source
from unlearn.options.schema import ModelConfig


def foreign_tokens(tokenizer: Any, entries: int) -> list[str]:
    """Return the tokens whose ids a model of so many embeddings does not have.

    The padding token is none of them: padding is never read.
    """
    pad = tokenizer.pad_token
    return [t for t, number in tokenizer.get_vocab().items() if number >= entries and t != pad]


def refuse_larger_tokenizer(config: ModelConfig, path: str, tokenizer: Any) -> None:
    """Raise ConfigurationError where a tokenizer has ids that the model at `path` does not."""
    entries = entries_of(configuration_of(config, path))
    if entries is not None and (foreign := foreign_tokens(tokenizer, entries)):
        raise ConfigurationError(
            f"model.tokenizer: {tokenizer_source(config, path)!r} has {len(foreign)} tokens beyond "
            f"the {entries} embeddings of {path!r}, such as {foreign[0]!r}; give the tokenizer "
            "that the model was trained with, or resize the model once (resize_token_embeddings) "
            "and save it"
        )


def refuse_other_tokenizer(config: ModelConfig, path: str, tokenizer: Any, field: str) -> None:
    """Raise ConfigurationError where the model at `path` means other text by the same ids."""
    try:
        theirs = load_tokenizer(config, path).get_vocab()
    except ConfigurationError:
        return  # saved without its tokenizer
    unlike = [
        token
        for token, number in tokenizer.get_vocab().items()
        if theirs.get(token, number) != number
    ]
    if unlike:
        raise ConfigurationError(
            f"{field}: {path} has another tokenizer: {len(unlike)} of the model's "
            f"{len(tokenizer)} tokens have another id, such as {unlike[0]!r}; a reference is the "
            "same base, trained on retain rows"
        )
