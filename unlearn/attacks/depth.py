"""Depth: in which layers is the answer still known? The unlearning depth score (UDS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.progress import progress
from unlearn.data.batches import batches_by_length, collate
from unlearn.errors import DataError
from unlearn.forward.answers import answer_logits, layers_of
from unlearn.forward.passes import Pass, run_within_memory
from unlearn.forward.patching import patched, states_of_layers
from unlearn.metrics.catalogue import Way
from unlearn.metrics.unlearning_depth import depth_by_row
from unlearn.options.declared import ZERO_OR_MORE, option


@dataclass
class Depth(Attack):
    """Put a model's hidden states into the model before unlearning, one layer at a time.

    d_l: what log p(answer) loses a token when the states of layer l at the positions that predict
    the answer are this model's; r_l: when they are the reference's. A row's score is
    Σ clip(d_l, 0, r_l) / Σ r_l over the layers with r_l > `threshold`, and UDS its mean
    (:func:`unlearn.metrics.unlearning_depth.depth_by_row`): 0 for the model before
    unlearning, 1 for the reference. The share is 1 − UDS: what of the knowledge the layers still
    carry. After "Measuring the Depth of LLM Unlearning via Activation Patching" (arXiv 2605.24614;
    gnueaj/unlearning-depth-score).

    Where we deviate: the whole answer is read with its end token, where the authors mark the words
    that hold the fact, by hand, in 367 of TOFU's rows.

    For every layer a pass of the model before unlearning over the forget rows; it is loaded
    beside this model, and for the reference's part the reference too.
    """

    needs = "a reference and the model before unlearning, of the same architecture"
    changes_weights = False

    threshold: float = option(0.05, ZERO_OR_MORE)
    """Least loss by the reference's states, in nats a token, of a layer that counts."""

    def names(self) -> list[str]:
        return ["score"]

    def directions(self) -> Mapping[str, Way]:
        return {"score": 1.0}

    def run(self, subject: Subject) -> Found:
        target, reference = subject.target, subject.reference
        if target is None or target.load is None or reference is None or reference.load is None:
            which = "a reference" if target and target.load else "the model before unlearning"
            return Found(None, {"score": None}, [f"not measured without {which}"])

        def of_reference(model: LanguageModel) -> np.ndarray:
            return target.find(
                f"{self!r}: reference", lambda original: lost_nats(subject, model, original)
            )

        lost_by_reference = np.array(
            subject.found_once(
                self, "lost by reference", lambda: reference.find(repr(self), of_reference).tolist()
            )
        )
        lost = lost_by_reference
        if subject.stage != "reference":
            name, mine = f"{self!r}: {subject.stage}", subject.model
            lost = target.find(name, lambda original: lost_nats(subject, mine, original))
        rows = depth_by_row(lost, lost_by_reference, self.threshold)
        known = rows[~np.isnan(rows)]
        if not len(known):
            why = f"in no layer does the reference lack more than {self.threshold:g} nats a token"
            return Found(None, {"score": None}, [f"no score, as {why}"])
        score = float(known.mean())
        return Found(1 - score, {"score": score}, [self._note(known, lost_by_reference)])

    def _note(self, known: np.ndarray, lost_by_reference: np.ndarray) -> str:
        layers, rows = lost_by_reference.shape
        largest = int(lost_by_reference.mean(axis=1).argmax()) + 1
        return (
            f"over {len(known)} of {rows} rows, of which the reference lacks something; it lacks "
            f"most at layer {largest} of {layers}"
        )


def lost_nats(subject: Subject, source: LanguageModel, original: LanguageModel) -> np.ndarray:
    """Return the nats a token (layers, rows) that `original` loses with states of `source`."""
    depth = len(layers_of(original))
    if len(layers_of(source)) != depth or _width(source) != _width(original):
        raise DataError(
            "the models have not the same layers, so the states of one are no states of the other"
        )
    answers, suite = subject.answers("forget"), subject.suite
    windows = [(row, window) for row, answer in enumerate(answers) for window in answer.windows]
    sums = np.zeros((depth, len(answers)))
    title = f"{subject.stage}: states put into the original"
    with (
        torch.no_grad(),
        in_evaluation_mode(source),
        in_evaluation_mode(original),
        progress(title, len(windows)) as bar,
    ):

        def take(part: Pass) -> None:
            rows, chosen = zip(*(windows[number] for number in part.rows), strict=True)
            batch = collate(chosen, part.rows).to(original.device)
            owner = np.repeat(rows, [len(window.answer) for window in chosen])

            def nats() -> np.ndarray:
                logits, labels, _ = answer_logits(original, batch)
                return _nll(logits, labels)

            with suite.compute.autocast:
                states, own = states_of_layers(source, batch), nats()
                found = []
                for layer, state in zip(layers_of(original), states, strict=True):
                    with patched(original, layer, batch, state):
                        found.append(nats() - own)
            # Nothing is counted before all of it is there: what does not fit comes again.
            for layer_sums, lost in zip(sums, found, strict=True):
                np.add.at(layer_sums, owner, lost)
            bar.advance(by=len(part.rows))

        batches = batches_by_length([len(w) for _, w in windows], suite.config.score_tokens)
        parts = [Pass(numbers, []) for numbers in batches]
        run_within_memory(parts, [window for _, window in windows], take, title)
    return sums / np.array([answer.tokens for answer in answers])


def _nll(logits: Tensor, labels: Tensor) -> np.ndarray:
    return F.cross_entropy(logits, labels, reduction="none").double().cpu().numpy()


def _width(model: LanguageModel) -> int:
    return int(model.get_input_embeddings().weight.shape[1])
