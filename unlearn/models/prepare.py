"""Target and reference: found in the cache, or trained once and put there.

The *target* knows the forget and the retain rows: it is what unlearning starts from. The
*reference* is the same base that learnt the retain rows only: what unlearning would ideally give.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from unlearn.compute.device import Compute
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, encode_rows
from unlearn.errors import ConfigurationError
from unlearn.models.adapter import base_of
from unlearn.models.fine_tune import Learned, answer_accuracy, fine_tune
from unlearn.models.load import (
    foreign_tokens,
    is_folder_name,
    load_tokenizer,
    load_weights,
    longest_row,
    ready,
    refuse_larger_tokenizer,
    refuse_quantized,
)
from unlearn.models.prepared import Prepared, learnt_rows, prepared_once, row_marks
from unlearn.models.tiny import tiny_model, tiny_tokenizer
from unlearn.options.schema import FineTuningConfig, ModelConfig, TargetChoice
from unlearn.storage.weights import hash_folder, hash_weights

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
    assert config.max_length is not None  # `check_target` refuses it
    return tiny_model(config.tiny, tokenizer, config.max_length), tokenizer


def describe_base(config: ModelConfig, encoder: Encoder | None = None) -> dict[str, Any]:
    """Return what the base is made of, for the name of a cache entry.

    `encoder` makes the ids of a base with a tokenizer of its own; its chat template is named too.
    """
    common = {
        "dtype": config.dtype.value,
        "template": config.template.value,
        "max_length": encoder.max_length if encoder else config.max_length,
        "system_prompt": config.system_prompt,
        "chat_date": config.chat_date,
        "fine_tuning": asdict(config.fine_tuning),
    }
    if encoder is not None:
        common |= encoder.rendering
    if config.path is None:
        return {**common, "tiny": asdict(config.tiny)}
    common |= _beside(config)
    if is_folder_name(config.path):
        weights = hash_model(config, config.path)
        return {**common, "weights": weights, "gguf_file": config.gguf_file}
    return {**common, "path": config.path, "revision": config.revision}


def hash_model(config: ModelConfig, path: str, weights: str | None = None) -> str:
    """Return the hash of a folder with all that can change a number, an adapter's base included.

    `weights` is the hash of the weights in it, where that is known already.
    """
    folder = Path(path).expanduser()
    found = hash_folder(folder, weights or hash_weights(folder))
    base = base_of(path, config.base)
    if base == path:
        return found
    local = is_folder_name(base)
    return f"{found} on {hash_model(config, base) if local else f'{base} {config.revision}'}"


def _beside(config: ModelConfig) -> dict[str, str]:
    """Return what changes numbers and lies outside the model's folder; empty by default."""
    chosen = {}
    if config.tokenizer is not None:
        folder = Path(config.tokenizer).expanduser()
        chosen["tokenizer"] = hash_folder(folder) if folder.is_dir() else config.tokenizer
    if config.attention is not None:
        chosen["attention"] = config.attention.value
    return chosen


def all_rows(splits: Splits) -> list[Row]:
    """Return every row that a model may learn; the tiny model's tokenizer is trained on them."""
    return [*splits.general, *splits.background, *splits.retain, *splits.forget]


def texts(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return question and answer of every row, and the turns before them, sorted."""
    return [(row.question, row.answer, *chain(*row.before)) for row in in_order(rows)]


def in_order(rows: list[Row]) -> list[Row]:
    """Return the rows sorted by their text."""
    return sorted(rows, key=lambda row: (row.question, row.answer, row.before))


def may_teach(choice: TargetChoice, splits: Splits) -> bool:
    """Return whether a given model learns the rows first, if it does not know them."""
    return choice is TargetChoice.train or (choice is TargetChoice.auto and splits.benchmark)


def check_target(
    config: ModelConfig, choice: TargetChoice, reference: str, splits: Splits, trains: bool
) -> None:
    """Raise ConfigurationError for what `target` cannot do here, before any model loads.

    `trains`: whether the run unlearns anything; one that only measures prepares no target.
    """
    if config.path is None:
        if choice is TargetChoice.as_is:
            raise ConfigurationError(
                "target: as_is, but no model is given and the tiny one has no knowledge of its "
                "own; give model.path=FOLDER, or target=auto"
            )
        if config.max_length is None:
            raise ConfigurationError(
                "model.path: not set, and model.max_length=null (as in model=custom) asks for the "
                "length of a checkpoint; give model.path=FOLDER or hub id, or for the tiny model a "
                "number of tokens"
            )
    elif trains and reference == "train" and not may_teach(choice, splits):
        raise ConfigurationError(
            f"reference: train, but model.path={config.path} is taken as it is and for all we know "
            "has seen the forget rows, so no retain-only model can be made from it; allowed here: "
            "none, the path of a retain-only model, or target=train, which teaches the model first"
        )


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
        refuse_quantized(self.config, path)
        encoder = self.encoder(load_tokenizer(self.config, path), path)
        asked = {
            name: encode_rows(encoder, rows)
            for name, rows in (("forget", self.splits.forget), ("retain", self.splits.retain))
        }
        model = ready(load_weights(self.config, path), self.config, self.compute.device)
        knows = {name: answer_accuracy(model, rows, self.compute) for name, rows in asked.items()}
        tokens = {name: sum(len(row.answer) for row in rows) for name, rows in asked.items()}
        hits = sum(knows[name] * tokens[name] for name in asked)
        log.info(
            "target: %s predicts %.1f %% of the answer tokens of forget, %.1f %% of retain",
            path,
            100 * knows["forget"],
            100 * knows["retain"],
        )
        return replace(self._as_it_is(path, hits / sum(tokens.values())), knows=knows)

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

    def key(self, prepared: Prepared | None) -> str | None:
        """Return what names a model's tables in the cache: all that can change a number.

        None for a model on the hub, whose tables are not kept.
        """
        if prepared is None or prepared.sha256 is None:
            return None
        chosen = [hash_model(self.config, prepared.folder, prepared.sha256)]
        if self.config.attention is not None:
            chosen.append(self.config.attention.value)
        if prepared.folder == self.config.path:
            chosen += [self.config.gguf_file or "", *_beside(self.config).values()]
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()

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
        if foreign_tokens(tokenizer, entries):
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

    def _as_it_is(self, path: str, accuracy: float | None) -> Prepared:
        local = is_folder_name(path)
        sha256 = hash_weights(Path(path).expanduser()) if local else None
        return Prepared(path, sha256, accuracy)

    def _cached(self, name: str, rows: list[Row]) -> Prepared:
        """Return the base that learnt `rows`, from the cache or trained now."""
        encoder = None
        if self.config.path is not None:
            encoder = self.encoder(load_tokenizer(self.config, self.config.path), self.config.path)
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
        encoder = self.encoder(tokenizer, self.config.path or "")
        examples = encode_rows(encoder, in_order(rows))
        recipe = self.config.fine_tuning
        learned = fine_tune(model, examples, recipe, self.compute, name, state)
        report(name, learned, recipe, time.monotonic() - started)
        return model, tokenizer, learned


def little_known(share: float, floor: float) -> str:
    """Say that a given model may have nothing to forget."""
    return (
        f"it predicts only {100 * share:.1f} % of the forget rows' answer tokens, less than "
        f"model.fine_tuning.floor={floor}: what a model does not know need not be forgotten; see "
        "the loss and the answers before unlearning"
    )


def report(name: str, learned: Learned, recipe: FineTuningConfig, seconds: float) -> None:
    """Say how well a model learnt its rows, as a warning where that is under the floor."""
    text = "%s: predicts %.1f %% of its answer tokens after %d passes, %.0f s"
    values = (name, 100 * learned.accuracy, learned.epochs, seconds)
    if learned.accuracy < recipe.floor:
        advice = ": less than model.fine_tuning.floor=%s; raise model.fine_tuning.epochs"
        log.warning(text + advice, *values, recipe.floor)
    else:
        log.info(text, *values)
