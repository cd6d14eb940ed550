"""Whether a model is taught the rows before it unlearns them, and what is said of that."""

from __future__ import annotations

import logging

from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError
from unlearn.models.fine_tune import Learned
from unlearn.options.schema import FineTuningConfig, ModelConfig, TargetChoice

log = logging.getLogger(__name__)


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
