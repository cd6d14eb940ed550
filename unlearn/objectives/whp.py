"""WHP: say what a model would say that had not learnt the rows so well."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch, batches_by_length, collate
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective, Resources
from unlearn.options.declared import ABOVE_ZERO, ONE_OR_MORE, SEED, option

log = logging.getLogger(__name__)

PASS_TOKENS = 8192
"""Of a pass that makes the labels."""


@dataclass
class WHP(Objective):
    """Mean NLL of generic labels in place of the answer's own tokens.

        y'_t = argmax(z − α·relu(z_reinforced − z)),  z and z_reinforced (V,) at the true prefix

    Eldan & Russinovich 2023, arXiv 2310.02238 ("Who's Harry Potter?"), eq. 1: z is what the target
    says, z_reinforced what a copy says that has learnt the forget rows `steps` steps further. What
    rises with learning them is of them, and is lowered; the token that is then likeliest is
    generic. Labels are made once, before the first step, and no second model is kept. The loss is
    0 at least, where the model says the labels. No retain task is needed for it to stop there.

    Where we differ: the authors also replace names by others from a dictionary that a language
    model wrote, which names there are in no data set of ours; and they mask labels that would
    repeat a name. MUSE's code applies the formula to the logits of every answer instead and trains
    nothing, which needs both models for good. A target that knows a row by heart has no second
    choice worth the name: its labels may be the answer itself, and the log says how many are.

    The copy learns by the recipe that taught the target: AdamW on the token-mean NLL, clipped, at a
    constant rate.
    """

    needs = "memory for a second copy of the model with its optimizer, before the first step"
    examples = ("", "method.forget.alpha=3 method.forget.steps=100")
    one_pass = True

    alpha: float = option(5.0, ABOVE_ZERO)
    """α, how much of what rises with learning is taken off."""
    steps: int = option(50, ONE_OR_MORE)
    """Steps by which the copy learns the forget rows further."""
    lr: float = option(1e-5, ABOVE_ZERO, "${model.fine_tuning.lr}")
    """Its learning rate, constant: that at which the model learns data."""
    batch_size: int = option(8, ONE_OR_MORE)
    """Rows of a step of it."""
    seed: int = option(0, SEED, "${seed}")
    """In which order it sees the rows."""

    def prepare(self, resources: Resources, other: Objective) -> None:
        examples, model = resources.examples, resources.model
        reinforced = resources.reinforced(self.steps, self.lr, self.batch_size, self.seed)
        labels: list[Tensor] = [torch.empty(0)] * len(examples)
        same = 0
        for numbers in batches_by_length([len(e) for e in examples], PASS_TOKENS):
            batch = collate([examples[n] for n in numbers], numbers).to(model.device)
            with torch.no_grad():
                found = token_values(model, batch, self.generic, reinforced)[0]
            same += int((found == batch.input_ids[batch.owner, batch.columns]).sum())
            parts = found.split([len(examples[n].answer) for n in numbers])
            for number, part in zip(numbers, parts, strict=True):
                labels[number] = part
        self.labels = pad_sequence(labels, batch_first=True)  # (rows, longest answer)
        tokens = sum(len(example.answer) for example in examples)
        log.info("generic labels: %d of %d are the answer's own tokens", same, tokens)

    def generic(self, logits: Tensor, labels: Tensor, reinforced: Tensor) -> Tensor:
        """Return the generic label of every token (N,) from logits (N, V) of both models."""
        return (logits - self.alpha * (reinforced - logits).relu()).argmax(dim=1)

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        wanted = self.labels[batch.rows[batch.owner], batch.places]
        return token_values(model, batch, self._of_tokens, beside=[wanted])[0].sum()

    @staticmethod
    def _of_tokens(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(logits, wanted, reduction="none")
