"""What objectives ask a run for, without a run: everything is computed on the spot, nothing cached.

Written from the definitions once more, with a plain forward pass row by row, so that what an
objective is given does not come from the code under test.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from support import tiny
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder, Example


@torch.no_grad()
def nll_sums(model: Any, examples: Sequence[Example]) -> Tensor:
    """S = Σ ℓ of every example's answer, (N,) float32: one row at a time, without padding."""
    return row_nlls(model, examples).float()


def row_nlls(model: Any, examples: Sequence[Example]) -> Tensor:
    """The same with its gradient, in float64."""
    sums = []
    for example in examples:
        ids = torch.tensor([example.prompt + example.answer])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        first = len(example.prompt)
        log_p = logits[first - 1 : -1].double().log_softmax(-1)  # (answer tokens, V)
        sums.append(-log_p.gather(1, ids[0, first:, None]).sum())
    return torch.stack(sums)


class FakeResources:
    """The resources of a task with these rows, for the model as it is when it is asked.

    `target`: the model before unlearning, where `model` is not at it any more. `levels`: NLL per
    token, one a row, or one for all rows.
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Row] = tuple(tiny.ROWS),
        target: Any = None,
        levels: float | Sequence[float] = 2.0,
        encoder: Encoder | None = None,
        token_levels: Sequence[Tensor] | None = None,
    ) -> None:
        self.model, self.rows = model, list(rows)
        self.target = model if target is None else target
        self.encoder = Encoder(tiny.tokenizer()) if encoder is None else encoder
        self.examples: list[Example] = self.encode([row.answer for row in self.rows])
        self.levels, self._token_levels = levels, token_levels
        self._frozen: Any = None

    def encode(self, answers: Sequence[str]) -> list[Example]:
        pairs = zip(self.rows, answers, strict=True)
        return [self.encoder.encode(row.question, answer) for row, answer in pairs]

    def target_sums(self, examples: Sequence[Example]) -> Tensor:
        return nll_sums(self.target, examples)

    def frozen_target(self) -> Any:
        if self._frozen is None:
            self._frozen = copy.deepcopy(self.target).requires_grad_(False).eval()
        return self._frozen

    @torch.enable_grad()
    def reinforced(self, steps: int, lr: float, batch_size: int, seed: int) -> Any:
        """Plain descent over all rows at once, `steps` times; the order of rows is the run's."""
        model = copy.deepcopy(self.model).requires_grad_(True)
        optimizer = torch.optim.SGD(model.parameters(), lr)
        for _ in range(steps):
            optimizer.zero_grad()
            row_nlls(model, self.examples).mean().backward()
            optimizer.step()
        return model.requires_grad_(False)

    def token_levels(self, name: str) -> list[Tensor] | None:
        assert name in ("reference", "holdout")
        return None if self._token_levels is None else list(self._token_levels)

    def level(self, name: str) -> Tensor:
        assert name in ("reference", "holdout")
        return torch.as_tensor(self.levels, dtype=torch.float32).expand(len(self.rows))
