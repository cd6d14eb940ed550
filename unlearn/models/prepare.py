"""Target and reference: found in the cache, or trained once and put there.

The *target* knows the forget and the retain rows: it is what unlearning starts from. The
*reference* is the same base that learnt the retain rows only: what unlearning would ideally give.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from unlearn.compute.device import Compute
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.errors import ConfigurationError
from unlearn.models.fine_tune import Learned, answer_accuracy, fine_tune
from unlearn.models.load import (
    is_folder_name,
    load_tokenizer,
    load_weights,
    longest_row,
    ready,
    refuse_quantized,
)
from unlearn.models.prepared import Prepared, learnt_rows, prepared_once, row_marks
from unlearn.models.tiny import tiny_model, tiny_tokenizer
from unlearn.options.schema import FineTuningConfig, ModelConfig
from unlearn.storage.weights import hash_weights

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever the recipe's code changes its results, so that old entries are not mistaken."""
WINDOWS = 1
"""The same for the way in which texts are cut into windows."""


def load_base(config: ModelConfig, splits: Splits) -> tuple[Any, Any]:
    """Return (model, tokenizer) before it learns the data."""
    if config.path is not None:
        return load_weights(config, config.path), load_tokenizer(config, config.path)
    # Sorted, so that forget requests of one data set share a tokenizer and with it a target.
    words = (text for pair in texts(all_rows(splits)) for text in pair)
    tokenizer = tiny_tokenizer(words, config.tiny.vocabulary)
    return tiny_model(config.tiny, tokenizer, config.max_length), tokenizer


def describe_base(config: ModelConfig, encoder: Encoder | None = None) -> dict[str, Any]:
    """Return what the base is made of, for the name of a cache entry.

    `encoder` makes the ids of a base with a tokenizer of its own; its chat template is named too.
    """
    common = {
        "dtype": config.dtype.value,
        "template": config.template.value,
        "max_length": config.max_length,
        "system_prompt": config.system_prompt,
        "chat_date": config.chat_date,
        "fine_tuning": asdict(config.fine_tuning),
    }
    if encoder is not None:
        common |= encoder.rendering
    if config.path is None:
        return {**common, "tiny": asdict(config.tiny)}
    if is_folder_name(config.path):
        weights = hash_weights(Path(config.path).expanduser())
        return {**common, "weights": weights, "gguf_file": config.gguf_file}
    return {**common, "path": config.path, "revision": config.revision}


def all_rows(splits: Splits) -> list[Row]:
    """Return every row that a model may learn; the tiny model's tokenizer is trained on them."""
    return [*splits.general, *splits.background, *splits.retain, *splits.forget]


def texts(rows: list[Row]) -> list[tuple[str, str]]:
    """Return question and answer of every row, sorted."""
    return [(row.question, row.answer) for row in in_order(rows)]


def in_order(rows: list[Row]) -> list[Row]:
    """Return the rows sorted by their text."""
    return sorted(rows, key=lambda row: (row.question, row.answer))


class Preparation:
    """Prepares the models of one run."""

    def __init__(
        self,
        config: ModelConfig,
        splits: Splits,
        compute: Compute,
    ) -> None:
        self.config, self.splits = config, splits
        self.compute = compute
        # A base without pretraining learns the general knowledge along with the rest.
        general = splits.general if config.path is None else []
        self.common = [*general, *splits.background]

    def target(self, as_it_is: bool = False) -> Prepared:
        """Return the model to unlearn from: the given one if it knows the rows, else a new one.

        `as_it_is`: a given one whatever it knows, for a run that only measures.
        """
        if self.config.path is not None and as_it_is:
            return self.named("target", self.config.path)
        if self.config.path is not None:
            # What cannot be used of model, template and rows is told before weights are read.
            refuse_quantized(self.config, self.config.path)
            encoder = self.encoder(load_tokenizer(self.config, self.config.path))
            examples = encode_rows(encoder, [*self.splits.retain, *self.splits.forget])
            model = ready(
                load_weights(self.config, self.config.path), self.config, self.compute.device
            )
            accuracy = answer_accuracy(model, examples, self.compute)
            if accuracy >= self.config.fine_tuning.floor:
                log.info("target: %s knows the data (%.1f %%)", self.config.path, 100 * accuracy)
                return self._as_it_is(self.config.path, accuracy)
            log.info(
                "target: %s predicts %.1f %% of the answer tokens, less than "
                "model.fine_tuning.floor; it learns the data first",
                self.config.path,
                100 * accuracy,
            )
            del model
        return self._cached("target", [*self.common, *self.splits.retain, *self.splits.forget])

    def reference(self, wanted: str, subset: str | None, target: Prepared) -> Prepared | None:
        """Return the retain-only model, or None where there is none."""
        published = self.config.published_reference.get(subset or "")
        already_target = self.config.path is not None and target.folder == self.config.path
        if wanted == "none":
            return None
        if wanted == "auto":
            if published:
                log.info("reference: %s, named by the model preset", published)
                return self._as_it_is(published, None)
            if already_target:
                log.info(
                    "reference: none; for all we know %s has seen the forget rows, so none can be "
                    "trained from it (reference=PATH names a retain-only model)",
                    self.config.path,
                )
                return None
        if wanted in ("auto", "train"):
            if already_target:
                raise ConfigurationError(
                    f"reference: train, but model.path={self.config.path} has already learnt the "
                    "forget rows; allowed here: none, or the path of a retain-only model"
                )
            return self._cached("reference", [*self.common, *self.splits.retain])
        return self._as_it_is(wanted, None)

    def refuse_reference(self, path: str) -> None:
        """Raise ConfigurationError for a prepared model that learnt other rows than a reference.

        Only a model of the cache tells which rows it has learnt.
        """
        learnt = learnt_rows(Path(path).expanduser())
        if learnt is None:
            return
        forget, retain = (
            set(row_marks(texts(rows))) for rows in (self.splits.forget, self.splits.retain)
        )
        problems = []
        if known := len(forget & learnt):
            problems.append(f"has learnt {known} of the {len(forget)} forget rows")
        if unknown := len(retain - learnt):
            problems.append(f"has not learnt {unknown} of the {len(retain)} retain rows")
        if problems:
            raise ConfigurationError(
                f"reference: {path} {' and '.join(problems)}; give a model that learnt the retain "
                "rows of these data only, or reference=train"
            )

    def load(self, prepared: Prepared, field: str = "model.path") -> Any:
        """Return the model, which the option `field` named, on the device."""
        return ready(
            load_weights(self.config, prepared.folder, field), self.config, self.compute.device
        )

    def named(self, field: str, path: str) -> Prepared:
        """Return the model at `path`, which the option `field` named, as it is."""
        log.info("%s: %s, as it is, since nothing is unlearned", field, path)
        return self._as_it_is(path, None)

    def load_reference(self, prepared: Prepared, tokenizer: Any) -> Any:
        """Return the reference, which reads the target's ids and so must share its vocabulary."""
        return self.load_beside(prepared, tokenizer, "reference")

    def load_beside(self, prepared: Prepared, tokenizer: Any, field: str) -> Any:
        """Return a model that `field` named and that reads ids of the run's `tokenizer`."""
        self._refuse_other_tokenizer(prepared, tokenizer, field)
        model = self.load(prepared, field)
        entries = model.get_input_embeddings().num_embeddings
        if entries < len(tokenizer):
            raise ConfigurationError(
                f"{field}: {prepared.folder} has a vocabulary of {entries} entries, the model "
                f"one of {len(tokenizer)}; it must be of the same base as the model"
                + (", trained on retain rows" if field == "reference" else "")
            )
        return model

    def _refuse_other_tokenizer(self, prepared: Prepared, tokenizer: Any, field: str) -> None:
        """Raise ConfigurationError where a model means other text by the same ids."""
        try:
            theirs = load_tokenizer(self.config, prepared.folder).get_vocab()
        except ConfigurationError:
            return  # saved without its tokenizer
        unlike = [
            token
            for token, number in tokenizer.get_vocab().items()
            if theirs.get(token, number) != number
        ]
        if unlike:
            raise ConfigurationError(
                f"{field}: {prepared.folder} has another tokenizer: {len(unlike)} of the "
                f"model's {len(tokenizer)} tokens have another id, such as {unlike[0]!r}; a "
                "reference is the same base, trained on retain rows"
            )

    def encoder(self, tokenizer: Any) -> Encoder:
        """Return what turns rows into ids for this tokenizer."""
        config = self.config
        return Encoder(
            tokenizer,
            config.template.value,
            longest_row(config),
            config.system_prompt,
            config.chat_date,
            config.chat_options,
        )

    def _as_it_is(self, path: str, accuracy: float | None) -> Prepared:
        local = is_folder_name(path)
        sha256 = hash_weights(Path(path).expanduser()) if local else None
        return Prepared(path, sha256, accuracy)

    def _cached(self, name: str, rows: list[Row]) -> Prepared:
        """Return the base that learnt `rows`, from the cache or trained now."""
        encoder = None
        if self.config.path is not None:
            encoder = self.encoder(load_tokenizer(self.config, self.config.path))
        made_of = {
            "format": FORMAT,
            "base": describe_base(self.config, encoder),
            "rows": texts(rows),
            "tokenizer": None if self.config.path is not None else texts(all_rows(self.splits)),
        }
        if any(not row.question for row in rows):  # they were once cut to one window
            made_of["windows"] = WINDOWS
        return prepared_once(name, made_of, partial(self._make, name, rows))

    def _make(self, name: str, rows: list[Row], state: Path) -> tuple[Any, Any, Learned]:
        """Return the base that learnt `rows`, its tokenizer, and how well it learnt them."""
        log.info("%s: learns %d rows", name, len(rows))
        started = time.monotonic()
        model, tokenizer = load_base(self.config, self.splits)
        model = ready(model, self.config, self.compute.device)
        examples = encode_rows(self.encoder(tokenizer), in_order(rows))
        recipe = self.config.fine_tuning
        learned = fine_tune(model, examples, recipe, self.compute, name, state)
        report(name, learned, recipe, time.monotonic() - started)
        return model, tokenizer, learned


def report(name: str, learned: Learned, recipe: FineTuningConfig, seconds: float) -> None:
    """Say how well a model learnt its rows, as a warning where that is under the floor."""
    text = "%s: predicts %.1f %% of its answer tokens after %d passes, %.0f s"
    values = (name, 100 * learned.accuracy, learned.epochs, seconds)
    if learned.accuracy < recipe.floor:
        advice = ": less than model.fine_tuning.floor=%s; raise model.fine_tuning.epochs"
        log.warning(text + advice, *values, recipe.floor)
    else:
        log.info(text, *values)
