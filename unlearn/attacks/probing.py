"""Probing: can the answer still be read in the hidden states, whatever the output says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.progress import progress
from unlearn.data.batches import batches_by_length, collate
from unlearn.evaluation.scoring import Scored
from unlearn.forward.answers import (
    at_least_float32,
    first_layers_only,
    number_of_layers,
    reading,
)
from unlearn.forward.passes import Pass, run_within_memory

Head = tuple[Tensor, Tensor | None]
"""Weight (V, hidden) and bias (V,) of an output layer."""


@dataclass
class Probing(Attack):
    """The logit lens: each layer's hidden state through final norm and output layer.

    x = mean probability exp(−mean NLL) of the forget answers, read at the layer and by the head
    that tell most. Two heads read: the model's own, and that of the model before unlearning, to
    which an output layer that was tampered with (a bias, changed rows) makes no difference. Only
    their weights are used, so that nothing that stands behind them (a filter, a hook, a wrapper)
    can hide what the hidden states hold. After nostalgebraist (2020) and Patil et al. (2024, arXiv
    2309.17410). Architectures that scale or cap their logits are read without that.

    A forward pass of the first l layers for every l: about half as many whole passes over the
    forget rows as the model has layers.
    """

    changes_weights = False

    def names(self) -> list[str]:
        return ["probability", "accuracy", "layer", "own_head_probability"]

    def run(self, subject: Subject) -> Found:
        notes: list[str] = []
        answers = subject.answers("forget")
        heads = {"own": head_of(subject.model)}
        if subject.target and (kept := subject.target.find("head", head_of)) is not None:
            heads["target"] = kept
        layers = range(1, number_of_layers(subject.model) + 1)
        read = {(k, h): x for k in layers for h, x in lens(subject, answers, k, heads).items()}
        layer, name = max(read, key=lambda place: read[place][0])
        best, accuracy = read[layer, name]
        details: dict[str, float | None] = {
            "probability": best,
            "accuracy": accuracy,
            "layer": float(layer),
            "own_head_probability": max(p for (_, by), (p, _) in read.items() if by == "own"),
        }
        notes.append(f"most is read at layer {layer} by the {name} head")
        return Found(subject.recovered(best, notes), details, notes)


def head_of(model: LanguageModel) -> Head:
    """Return weight and bias of the output layer; a copy, so that the model itself can go."""
    layer = model.get_output_embeddings()
    bias = getattr(layer, "bias", None)
    return layer.weight.detach().clone(), None if bias is None else bias.detach().clone()


def read_by(head: Head, states: Tensor) -> Tensor:
    """Return the logits (N, V) float32 that `head` makes of normed hidden states (N, hidden)."""
    weight, bias = head
    states = states.to(weight.device, weight.dtype)
    return at_least_float32(F.linear(states, weight, bias))


@torch.no_grad()
def normed_states(model: LanguageModel, batch: Any, layer: int) -> Tensor:
    """Return layer `layer` after the final norm at the positions that predict answers, (N, hidden).

    The model is cut short above the layer, so the norm is the one that the architecture applies.
    """
    inputs, places = reading(model, batch)
    with first_layers_only(model, layer):
        output = model.base_model(**inputs, use_cache=False)
    return output.last_hidden_state[places]


@torch.no_grad()
def lens(
    subject: Subject, answers: list[Scored], layer: int, heads: dict[str, Head]
) -> dict[str, tuple[float, float]]:
    """Return for every head the mean over rows of exp(−mean NLL) and of the share of hits."""
    model, suite = subject.model, subject.suite
    sums = {name: np.zeros((2, len(answers))) for name in heads}
    windows = [(place, window) for place, a in enumerate(answers) for window in a.windows]
    batches = batches_by_length([len(w) for _, w in windows], suite.config.score_tokens)
    title = f"reading layer {layer}"
    with in_evaluation_mode(model), progress(title, len(windows)) as bar:

        def take(part: Pass) -> None:
            rows, chosen = zip(*(windows[number] for number in part.rows), strict=True)
            batch = collate(chosen, part.rows).to(model.device)
            labels = batch.input_ids[batch.owner, batch.columns]
            owner = np.repeat(rows, [len(window.answer) for window in chosen])
            with suite.compute.autocast:
                states = normed_states(model, batch, layer)
                read = {name: read_by(head, states) for name, head in heads.items()}
            found = {
                name: (
                    F.cross_entropy(logits, labels, reduction="none").double().cpu().numpy(),
                    (logits.argmax(-1) == labels).cpu().numpy(),
                )
                for name, logits in read.items()
            }
            # Nothing is counted before all of it is there: what does not fit comes again.
            for name, (losses, hits) in found.items():
                np.add.at(sums[name][0], owner, losses)
                np.add.at(sums[name][1], owner, hits)
            bar.advance(by=len(part.rows))

        parts = [Pass(numbers, []) for numbers in batches]
        run_within_memory(parts, [window for _, window in windows], take, title)
    tokens = np.array([a.tokens for a in answers])
    return {
        name: (float(np.exp(-nll / tokens).mean()), float((hits / tokens).mean()))
        for name, (nll, hits) in sums.items()
    }
