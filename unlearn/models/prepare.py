"""Target and reference: found in the cache, or trained once and put there.

The *target* knows the forget and the retain rows: it is what unlearning starts from. The
*reference* is the same base that learnt the retain rows only: what unlearning would ideally give.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import of_rank_zero
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.errors import ConfigurationError
from unlearn.models.fine_tune import Learned, answer_accuracy, fine_tune
from unlearn.models.four_bits import rounded_
from unlearn.models.identity import describe_base
from unlearn.models.lengths import longest_row
from unlearn.models.load import load_tokenizer, ready
from unlearn.models.lora import Adapter, adapter_of
from unlearn.models.places import is_folder_name
from unlearn.models.prepared import Prepared, in_order, prepared_once, spelled_rows, texts
from unlearn.models.read_once import load_once
from unlearn.models.streaming import moved_
from unlearn.models.teaching import little_known, may_teach, report
from unlearn.models.tiny import tiny_model, tiny_tokenizer
from unlearn.models.vocabulary import (
    foreign_tokens,
    refuse_larger_tokenizer,
    refuse_other_tokenizer,
)
from unlearn.options.schema import Dtype, ModelConfig, TargetChoice
from unlearn.storage.weights import hash_weights

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised whenever the recipe's code changes its results, or entries hold something else."""
WINDOWS = 1
"""The same for the way in which texts are cut into windows."""


def load_base(config: ModelConfig, splits: Splits, compute: Compute) -> tuple[Any, Any]:
    """Return (model, tokenizer) before it learns the data, in float32 whatever is unlearned in."""
    if config.path is not None:
        exact = replace(config, dtype=Dtype.float32)
        return load_once(exact, config.path, compute), load_tokenizer(config, config.path)
    # Sorted, so that forget requests of one data set share a tokenizer and with it a target.
    words = (text for pair in texts(spelled_rows(splits)) for text in pair)
    tokenizer = of_rank_zero(lambda: tiny_tokenizer(words, config.tiny.vocabulary))
    assert config.max_length is not None  # `check_target` refuses it
    return tiny_model(config.tiny, tokenizer, config.max_length), tokenizer


class Preparation:
    """Prepares the models of one run; its processes ask and teach them together."""

    def __init__(
        self,
        config: ModelConfig,
        splits: Splits,
        compute: Compute,
        teaching: Compute | None = None,
    ) -> None:
        """`teaching`: where models are asked and taught, if otherwise shared than for the rest."""
        self.config, self.splits, self.compute = config, splits, compute
        self.teaching = teaching or compute
        # Of a given model it is known once its configuration is read.
        self._length = config.max_length if config.path is None else None
        # A base without pretraining learns the general knowledge along with the rest.
        general = splits.general if config.path is None else []
        self.common = [*general, *splits.background]

    def target(self, choice: TargetChoice, trains: bool = True) -> Prepared:
        """Return the model to unlearn from: the given one, or one that learnt the rows first.

        A run that `trains` nothing measures a given one whatever it knows, unless told to teach it.
        """
        path = self.config.path
        if path is None:
            log.info("target: the tiny model has no knowledge of its own; it learns the rows first")
        elif not trains and choice is not TargetChoice.train:
            return self.named("target", path)
        elif choice is TargetChoice.train:
            log.info("target: %s learns the rows first, as target=train asks", path)
        else:
            given = self._asked(path)
            if not self._unknown(given, choice):
                return given
        return self._cached("target", [*self.common, *self.splits.retain, *self.splits.forget])

    def _asked(self, path: str) -> Prepared:
        """Return a given model with what it knows of the rows."""
        # What cannot be used of model, template and rows is told before weights are read.
        encoder = self.encoder(load_tokenizer(self.config, path), path)
        asked = {
            name: encode_rows(encoder, rows)
            for name, rows in (("forget", self.splits.forget), ("retain", self.splits.retain))
        }
        model = self._measurable(load_once(self.config, path, self.teaching), self.teaching)
        knows = {name: answer_accuracy(model, rows, self.teaching) for name, rows in asked.items()}
        tokens = {name: sum(len(row.answer) for row in rows) for name, rows in asked.items()}
        hits = sum(knows[name] * tokens[name] for name in asked)
        log.info(
            "target: %s predicts %.1f %% of the answer tokens of forget, %.1f %% of retain",
            path,
            100 * knows["forget"],
            100 * knows["retain"],
        )
        accuracy = hits / sum(tokens.values())
        return replace(self._as_it_is(path), accuracy=accuracy, knows=knows)

    def _unknown(self, given: Prepared, choice: TargetChoice) -> bool:
        """Return whether a given model is to be taught; say so, or what it does not know."""
        assert given.accuracy is not None
        assert given.knows is not None
        floor = self.config.fine_tuning.floor
        if may_teach(choice, self.splits):
            known = given.accuracy >= floor
            said = "knows the data" if known else "does not know the data and learns them first"
            text = "target: %s %s (%.1f %%, model.fine_tuning.floor=%s)"
            log.info(text, given.folder, said, 100 * given.accuracy, floor)
            return not known
        log.info("target: %s is taken as it is; nothing is taught to it", given.folder)
        if given.knows["forget"] < floor:
            log.warning("target: %s", little_known(given.knows["forget"], floor))
        return False

    def reference(self, wanted: str, subset: str | None, target: Prepared) -> Prepared | None:
        """Return the retain-only model, or None where there is none."""
        published = self.config.published_reference.get(subset or "")
        already_target = self.config.path is not None and target.folder == self.config.path
        if wanted == "none":
            return None
        if wanted == "auto":
            if published:
                log.info("reference: %s, named by the model preset", published)
                return self._as_it_is(published)
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
        return self._as_it_is(wanted)

    def load(self, prepared: Prepared, field: str | None = None) -> Any:
        """Return the model on the device; `field` is the option that named it, if one did."""
        field = field or self._field_of(prepared)
        return self._measurable(load_once(self.config, prepared.folder, self.compute, field))

    def load_start(self, prepared: Prepared) -> Any:
        """Return the model that a training starts from, whole: QLoRA's has been in 4 bits."""
        if not self.config.starts_in_4_bits:
            return self.load(prepared)
        model = load_once(self.config, prepared.folder, self.compute, self._field_of(prepared))
        rounded_(model, self.compute.device)
        return self._measurable(model)

    def _measurable(self, model: LanguageModel, compute: Compute | None = None) -> Any:
        """Return a whole model on the device; one that QLoRA alone makes fit is there layerwise."""
        move = {"move": moved_} if self.config.starts_in_4_bits else {}
        return ready(model, self.config, compute or self.compute, **move)

    def load_trained(self, prepared: Prepared, seed: int) -> tuple[Any, Adapter | None]:
        """Return the model on the device, and the adapter in it where one is asked for.

        It is put in before the model is made ready: of a sharded one, A and B are sharded too.
        """
        field = self._field_of(prepared)
        model = load_once(self.config, prepared.folder, self.compute, field)
        device = self.compute.device
        adapter = adapter_of(self.config, model, seed, prepared.folder, device)
        return ready(model, self.config, self.compute), adapter

    def _field_of(self, prepared: Prepared) -> str:
        return "model.path" if prepared.folder == self.config.path else "the model"

    def named(self, field: str, path: str) -> Prepared:
        """Return the model at `path`, which the option `field` named, as it is."""
        log.info("%s: %s, as it is, since nothing is unlearned", field, path)
        return self._as_it_is(path)

    def load_beside(self, prepared: Prepared, tokenizer: Any, field: str) -> Any:
        """Return a model that `field` named and that reads ids of the run's `tokenizer`."""
        refuse_other_tokenizer(self.config, prepared.folder, tokenizer, field)
        model = self.load(prepared, field)
        entries = model.get_input_embeddings().num_embeddings
        if foreign_tokens(tokenizer, entries):
            raise ConfigurationError(
                f"{field}: {prepared.folder} has a vocabulary of {entries} entries, the model "
                f"one of {len(tokenizer)}; it must be of the same base as the model"
                + (", trained on retain rows" if field == "reference" else "")
            )
        return model

    def encoder(self, tokenizer: Any, folder: str) -> Encoder:
        """Return what turns rows into ids for the model in `folder` and its tokenizer."""
        config = self.config
        if config.path is not None:
            refuse_larger_tokenizer(config, folder, tokenizer)
            self._length = self._length or longest_row(config, folder, tokenizer)
        assert self._length is not None  # `check_target` refuses it
        return Encoder(
            tokenizer,
            config.template.value,
            self._length,
            config.system_prompt,
            config.chat_date,
            config.chat_options,
        )

    def _as_it_is(self, path: str) -> Prepared:
        local = is_folder_name(path)
        known = of_rank_zero(lambda: hash_weights(Path(path).expanduser()) if local else None)
        return Prepared(path, known, None)

    def _cached(self, name: str, rows: list[Row]) -> Prepared:
        """Return the base that learnt `rows`, from the cache or trained now."""
        encoder = None
        if self.config.path is not None:
            encoder = self.encoder(load_tokenizer(self.config, self.config.path), self.config.path)
        made_of = {
            "format": FORMAT,
            "base": of_rank_zero(lambda: describe_base(self.config, encoder)),
            "rows": texts(rows),
            "tokenizer": None if self.config.path is not None else texts(spelled_rows(self.splits)),
        }
        if any(not row.question for row in rows):  # they were once cut to one window
            made_of["windows"] = WINDOWS
        return prepared_once(name, made_of, partial(self._make, name, rows))

    def _make(self, name: str, rows: list[Row], state: Path) -> tuple[Any, Any, Learned]:
        """Return the base that learnt `rows`, its tokenizer, and how well it learnt them."""
        log.info("%s: learns %d rows", name, len(rows))
        started = time.monotonic()
        model, tokenizer = load_base(self.config, self.splits, self.teaching)
        model = ready(model, self.config, self.teaching)
        encoder = self.encoder(tokenizer, self.config.path or "")
        examples = encode_rows(encoder, in_order(rows))
        recipe = self.config.fine_tuning
        learned = fine_tune(model, examples, recipe, self.teaching, name, state)
        report(name, learned, recipe, time.monotonic() - started)
        return model, tokenizer, learned
