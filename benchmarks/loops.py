"""The two loops that are compared: a step of this package, and a step without it.

The plain loop is what a good engineer would write: two forward passes, two backward passes into the
same `.grad`, one step of AdamW. It shares model, optimizer and rows with ours and gets its batches
collated beforehand; ours collates at every step.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from transformers import LlamaConfig, LlamaForCausalLM

from unlearn.compute.device import Compute
from unlearn.compute.optimizers import adamw
from unlearn.data.batches import Batch, PairedBatches
from unlearn.data.tokens import Example
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.options.schema import EvaluationConfig, ModelConfig, TrainingConfig
from unlearn.schedulers import GenAuthors, Scheduler
from unlearn.training.method import Method
from unlearn.training.plan import Plan
from unlearn.training.trainer import Trainer
from unlearn.weightings import Weighting

RATE = 1e-6
"""Learning rate: small, so that hundreds of steps on random tokens stay finite."""
ENDLESS = 10**9
"""Steps of a run that nobody finishes: a falling rate does not fall."""
Work = Callable[[], object]


def plan_of(method: Method, scheduler: Scheduler, optimizer: Callable[[Any], Optimizer]) -> Plan:
    """Return the plan of a training that has no end, with everything else by default."""
    training = TrainingConfig(steps=ENDLESS, diagnose_every=0)
    return Plan(method, scheduler, optimizer, training, EvaluationConfig(), ModelConfig(), 0)


@dataclass(frozen=True)
class Shape:
    """A Llama with random weights, and the batch of each of the two tasks."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    rows: int
    shortest: int
    longest: int
    """Tokens of a row: its length is drawn between the two."""


SHAPES = {
    "small": Shape(64, 2, 4, 4, 192, 1024, 4, 16, 24),
    "cpu": Shape(256, 10, 4, 4, 768, 8192, 8, 64, 96),
    "smollm2": Shape(576, 30, 9, 3, 1536, 49152, 4, 96, 128),  # 135 M parameters
    "cuda": Shape(2048, 16, 32, 8, 8192, 128256, 8, 256, 256),  # the shape of Llama-3.2-1B
}


def build_model(shape: Shape) -> Any:
    """Return the model in float32, without the cache that only generation needs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.longest,
        tie_word_embeddings=True,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).eval()  # as unlearn.models.load.ready leaves a model


def draw_rows(shape: Shape, prompt_share: float, draw: random.Random) -> list[Example]:
    """Return rows of random tokens; a prompt has one token at least, as position 0 is no target."""
    rows = []
    for _ in range(shape.rows):
        length = draw.randint(shape.shortest, shape.longest)
        ids = tuple(draw.randrange(2, shape.vocabulary) for _ in range(length))
        prompt = max(1, int(prompt_share * length))
        rows.append(Example(ids[:prompt], ids[prompt:]))
    return rows


def plain_labels(batch: Batch) -> Tensor:
    """Return labels (B, T) as transformers wants them: −100 where no loss is taken."""
    return batch.input_ids.masked_fill(~batch.answer_mask, -100)


def always_probing() -> GenAuthors:
    """Return the probe of `gen` at every step: without its search, which is paid once.

    The limit holds the rate where it is: a probe a step would carry it far off on random tokens.
    """
    return GenAuthors(interval=1, limit=1.001)


class Bench:
    """One model, which all loops take turns with."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self.bfloat16 = device.type == "cuda"
        self.model = build_model(shape).to(device)
        self.optimizer = AdamW(self.model.parameters(), lr=RATE)
        """That of the plain loop, as torch makes it."""
        self.fused = adamw(self.model.parameters(), lr=RATE)
        """That of the package, as `optimizer=adamw` makes it."""
        # On one thread the processor's time is all there is, and what else runs disturbs it less.
        one_thread = device.type == "cpu" and torch.get_num_threads() == 1
        self.clock = time.process_time if one_thread else time.perf_counter

    def batches(self, prompt_share: float) -> PairedBatches:
        """Return batches of the same rows at every step; `prompt_share` of a row is prompt."""
        draw = random.Random(0)
        forget, retain = (draw_rows(self.shape, prompt_share, draw) for _ in range(2))
        return PairedBatches(forget, retain, self.shape.rows, None, seed=0)

    def ours(self, weighting: Weighting, scheduler: Scheduler, batches: PairedBatches) -> Work:
        """Return the step of the package."""
        method = Method(Ascent(), NegativeLogLikelihood(), weighting)
        plan = plan_of(method, scheduler, lambda _: self.fused)
        return Trainer(self.model, plan, batches, Compute(self.device, self.bfloat16)).step

    def plain(self, batches: PairedBatches) -> Work:
        """Return the step of the plain loop."""
        both = [batch.to(self.device) for part in batches.step(0) for batch in part]
        labelled = [(batch, plain_labels(batch)) for batch in both]

        def step() -> None:
            for batch, labels in labelled:
                with self._plain_autocast():
                    loss = self.model(
                        input_ids=batch.input_ids,
                        attention_mask=batch.attention_mask,
                        labels=labels,
                    ).loss
                loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

        return step

    def _plain_autocast(self) -> AbstractContextManager:
        return torch.autocast("cuda", dtype=torch.bfloat16) if self.bfloat16 else nullcontext()

    def seconds(self, work: Work) -> float:
        """Return the time of `work`, the device's queue included."""
        self._wait()
        started = self.clock()
        work()
        self._wait()
        return self.clock() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
