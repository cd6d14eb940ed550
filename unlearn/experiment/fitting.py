"""Whether a run fits the memory that is there, told before its model loads; and what would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unlearn.compute.device import memory_there, resolve_autocast, resolve_device
from unlearn.compute.processes import started
from unlearn.errors import ConfigurationError
from unlearn.experiment.settings import Settings
from unlearn.models.folder_files import elements_of
from unlearn.models.load import configuration_of, files_of, number_of_weights
from unlearn.models.tiny import tiny_shape
from unlearn.options.schema import AdapterConfig, ModelConfig, Sharding
from unlearn.training.footprint import Footprint, Rows, footprint
from unlearn.training.recipes import RECIPES, SPARE, Recipe, held, recipe_of, there

CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192)
"""GB of the accelerators that there are."""


def check_fits(settings: Settings) -> None:
    """Raise ConfigurationError where what a step holds is more than there is, whatever its rows.

    A model that says nothing of its size is told where it loads.
    """
    method = settings.method
    if method is None or settings.model.path is None:
        return
    check_attackable(settings)
    count = weights_of(settings.model)
    if count is None:
        return
    device, _ = resolve_device(settings.model.device)
    room, name = memory_there(device)
    shared = started() if settings.sharding is Sharding.fsdp else 1
    recipe = recipe_of(settings.model, settings.training, settings.optimizer)
    needs = held(count, recipe) / shared
    if needs <= room:
        return
    fits = [one for one in RECIPES if held(count, one) / shared <= SPARE * room]
    fitting = [one for one in fits if there(one, device)]
    what = "below an adapter" if recipe.adapter else "trained"
    ways = [f"{' '.join(one.words)} ({held(count, one) / shared / 1e9:.3g} GB)" for one in fitting]
    raise ConfigurationError(
        f"model: {count / 1e9:.3g} billion weights that are {what} need {needs / 1e9:.3g} GB for "
        f"weights, gradients and optimizer, and {name} has {room / 1e9:.3g}; "
        + (f"what fits: {', or '.join(ways)}" if ways else "take a smaller model, or more devices")
        + "; `unlearn --plan` with the same words shows every recipe"
    )


def check_attackable(settings: Settings) -> None:
    """Raise ConfigurationError where a model that QLoRA trained is too large to be attacked whole.

    Measuring it does with a layer at a time on the GPU; attacks change or train its weights.
    """
    model = settings.model
    count = None if model.path is None or not settings.attacks else weights_of(model)
    device, _ = resolve_device(model.device)
    if count is None or not model.starts_in_4_bits or device.type != "cuda":
        return
    room, name = memory_there(device)
    needs = count * recipe_of(model, settings.training, settings.optimizer).weight
    if needs > SPARE * room:
        raise ConfigurationError(
            f"attack: {', '.join(settings.attacks)}: attacks are on the whole model, which out of "
            f"4 bits takes {needs / 1e9:.3g} GB, and {name} has {room / 1e9:.3g}; leave it out "
            "here, and attack the finished run where there is more memory: "
            "unlearn-evaluate RUN 'attack=[...]'"
        )


def weights_of(config: ModelConfig) -> int | None:
    """Return how many weights a model has, by the headers of its files or its configuration."""
    assert config.path is not None
    try:
        folder = files_of(config, config.path)
        stored = None if folder is None else elements_of(folder)
    except Exception:  # what is wrong with the files is told where they load
        stored = None
    return stored or number_of_weights(config)


def plans(settings: Settings) -> list[tuple[Recipe, Footprint | None]]:
    """Return what a step needs as the configuration asks, and by every recipe.

    None for what the model cannot have, such as an adapter of layers that it has not.
    """
    model = settings.model
    shape = tiny_shape(model.tiny, vocab_size=model.tiny.vocabulary)
    config = shape if model.path is None else configuration_of(model, model.path)
    device, _ = resolve_device(model.device)
    autocast, _ = resolve_autocast(model.autocast, device)
    rows = rows_of(settings, config)
    method = settings.method
    keeps = method is not None and (method.forget.keeps_target or method.retain.keeps_target)
    shared = started() if settings.sharding is Sharding.fsdp else 1

    def needed(recipe: Recipe) -> Footprint | None:
        try:
            found = footprint(config, recipe, rows, autocast, model.gradient_checkpointing, keeps)
        except ConfigurationError:
            return None
        if settings.training.offload_activations:
            found = replace(found, activations=found.offloaded)
        return found.shared_by(shared) if shared > 1 else found

    adapter = model.adapter or AdapterConfig()
    asked = recipe_of(model, settings.training, settings.optimizer)
    every = [
        replace(one, adapter=one.adapter and replace(adapter, quantize=one.adapter.quantize))
        for one in RECIPES
    ]
    return [(one, needed(one)) for one in (asked, *every)]


def rows_of(settings: Settings, config: Any) -> Rows:
    """Return the largest micro-batch there can be: rows as long as they may be, half answer."""
    training = settings.training
    longest = settings.model.max_length or config.get_text_config().max_position_embeddings
    micro = min(training.micro_batch_size or training.batch_size, training.batch_size)
    share = -(-training.batch_size // started())
    return Rows(min(micro, share), longest, max(1, longest // 2), -(-share // micro))


def card_for(needs: int) -> str:
    """Return the smallest card that tensors of so many bytes fit, or how many of the largest."""
    for gigabytes in CARDS:
        if needs <= SPARE * gigabytes * 1e9:
            return f"{gigabytes} GB"
    return f"{-(-needs // int(SPARE * 80e9))} × 80 GB"
