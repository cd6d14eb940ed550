"""A preset that says how large its model is trains it in the way that the memory there allows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

CHOSEN = r"[+~]*(model/adapter|model\.(adapter|dtype|weights)|optimizer)\b"
"""Overrides that choose the way themselves; nothing is chosen beside them."""


def words_by_memory(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Return the words of the first recipe that fits here, the default's (none) before all others.

    Where none fits, those of the one that needs least. Empty for a preset that gives no
    `model.weights`, for a command that chooses by itself, and where nothing is trained.
    """
    count = OmegaConf.select(cfg, "model.weights")
    trains = OmegaConf.select(cfg, "hydra.runtime.choices.method") != "none"
    if not count or not trains or any(re.match(CHOSEN, word) for word in overrides):
        return []
    from unlearn.compute.device import device_problem, memory_there, resolve_device
    from unlearn.compute.processes import started
    from unlearn.training.recipes import RECIPES, SPARE, held, there

    if device_problem(cfg.model.device) is not None:
        return []  # which the run says
    device, _ = resolve_device(cfg.model.device)
    room, _ = memory_there(device)
    if device.type == "cuda" and str(cfg.training.sharding).rpartition(".")[2] in ("auto", "fsdp"):
        room *= started()
    usable = [one for one in RECIPES if one.probes and there(one, device)]
    fitting = [one for one in usable if held(count, one) <= SPARE * room]
    return list((fitting or usable[-1:])[0].words)
