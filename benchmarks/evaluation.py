"""What an evaluation costs, against a plain loop of transformers (benchmarks/plain_evaluation.py).

    python -m benchmarks.evaluation                       # a tiny random Llama on generated data
    python -m benchmarks.evaluation --model FOLDER --data forget10 --rows 40 --parts

Both loops score the same answers and answer the same questions with one model in one process. On
one thread of the CPU the clock is the process's own time, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from unittest.mock import patch

import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.plain_evaluation import parts, plain_answers, plain_padding, plain_scores
from unlearn.compute.device import Compute, resolve_device
from unlearn.data.batches import batches_by_length
from unlearn.data.minitofu import MiniTofu
from unlearn.data.tofu import Tofu
from unlearn.data.tokens import Encoder, Example
from unlearn.evaluation.suites import Suite
from unlearn.forward.generation import end_tokens, generate
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.passes import CPU_TOKENS, Pass, passes
from unlearn.forward.predicted import losses_and_choices
from unlearn.forward.prefix import prefix_cache
from unlearn.models.prepared import spelled_rows, texts
from unlearn.models.tiny import tiny_tokenizer
from unlearn.options.schema import EvaluationConfig

WIDTH = 100


def padding_share(found: Sequence[Pass], examples: Sequence[Example]) -> float:
    """Return the share of computed tokens that are padding."""
    real = padded = 0
    for part in found:
        lengths = list(map(len, part.trees)) or [len(examples[row]) for row in part.rows]
        real += sum(lengths)
        padded += part.tokens(examples)
    return 1 - real / padded


def random_llama(tokenizer: Any) -> Any:
    """Return a small Llama that was never trained, with logits far enough apart to compare."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


@dataclass
class Measured:
    """One loop: seconds, results, and the share of its tokens that was padding."""

    score_s: float = 0.0
    answer_s: float = 0.0
    means: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    score_padding: float = 0.0
    answer_padding: float = 0.0


class Bench:
    """A model, a suite of questions, and a clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = resolve_device(options.device)[0]
        if options.data is None:
            splits = MiniTofu(subset="forget10").read()
        else:
            path = os.environ.get("UNLEARN_TOFU_PATH", "locuslab/TOFU")
            splits = Tofu(path=path, subset=options.data).read()
        if options.model is None:
            words = (text for pair in texts(spelled_rows(splits)) for text in pair)
            self.tokenizer = tiny_tokenizer(words, 1024)
            model = random_llama(self.tokenizer)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(options.model)
            if self.tokenizer.pad_token_id is None:
                self.tokenizer.pad_token = self.tokenizer.eos_token
            model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
        self.model = model.to(self.device)
        self.exact = Compute(self.device)
        config = EvaluationConfig(rows=options.rows, max_new_tokens=options.max_new_tokens)
        self.suite = Suite(splits.evaluated, Encoder(self.tokenizer), config, self.exact)
        self.examples = [answer.example for answer in self.suite.answers]
        self.rows, self.pad = options.batch_size, self.tokenizer.pad_token_id
        one_thread = self.device.type == "cpu" and torch.get_num_threads() == 1
        self.clock = time.process_time if one_thread else time.perf_counter

    def seconds(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Return the time of `work` and what it returns, the device's queue included."""
        self._wait()
        started = self.clock()
        result = work()
        self._wait()
        return self.clock() - started, result

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def plain(self) -> Measured:
        """Measure the plain loop."""
        ends, config = end_tokens(self.model, self.suite.encoder), self.suite.config
        score_s, means = self.seconds(
            lambda: plain_scores(self.model, self.examples, self.pad, self.rows, self.exact)
        )
        answer_s, (answers, computed) = self.seconds(
            lambda: plain_answers(
                self.model,
                self.suite.prompts,
                self.pad,
                ends,
                config.max_new_tokens,
                self.rows,
                self.exact,
            )
        )
        # The last token of an answer, its end where it has one, is never read again.
        read = [
            len(answer) - (len(answer) == config.max_new_tokens) + len(prompt)
            for answer, prompt in zip(answers, self.suite.prompts, strict=True)
        ]
        said = [self.tokenizer.decode(a, skip_special_tokens=True).strip() for a in answers]
        padding = plain_padding(self.examples, self.rows)
        return Measured(score_s, answer_s, means, said, padding, 1 - sum(read) / computed)

    def ours(self) -> Measured:
        """Measure what a run does."""
        starts = GreedyStarts()
        score_s, table = self.seconds(lambda: self.suite.score(self.model, "bench", starts))
        with counted_tokens(self.model) as counts:
            answer_s, said = self.seconds(lambda: self.answers(starts))
        means = (table["nll_sum"] / table["tokens"]).tolist()
        unique = list(dict.fromkeys(self.examples))
        start = prefix_cache(self.model, [example.prompt for example in unique], self.exact)
        if start is not None:
            unique = start.behind(unique)
        with torch.no_grad():
            found = passes(self.model, unique, self.exact, start)
        padding = 1 - counts["real"] / max(1, counts["computed"])
        return Measured(score_s, answer_s, means, said, padding_share(found, unique), padding)

    def answers(self, starts: GreedyStarts | None) -> list[str]:
        """Answer all questions as a run does."""
        config = self.suite.config
        return generate(
            self.model,
            self.suite.encoder,
            self.suite.prompts,
            self.exact,
            config.max_new_tokens,
            starts=starts,
        )

    def by_parts(self, plain: Measured, ours: Measured) -> Table:
        """Return what each part of ours gives: seconds with one more at a time."""
        table = Table(title="one part after the other")
        for column in ("what", "seconds", "plain / this"):
            table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)

        def add(what: str, seconds: float, of: float) -> None:
            table.add_row(what, f"{seconds:.1f}", f"{of / seconds:.2f}")

        add("scoring: plain", plain.score_s, plain.score_s)
        in_order = [Pass(list(part), []) for part in parts(len(self.examples), self.rows)]
        add("+ logits of answers only", self._scoring(in_order), plain.score_s)
        budget = self.suite.config.score_tokens
        if self.device.type == "cpu":
            budget = min(budget, CPU_TOKENS)
        lengths = [len(example) for example in self.examples]
        by_length = [Pass(rows, []) for rows in batches_by_length(lengths, budget)]
        add("+ batches by length", self._scoring(by_length), plain.score_s)
        with patch("unlearn.evaluation.scoring.prefix_cache", return_value=None):
            sharing = self.seconds(lambda: self.suite.score(self.model, "bench"))[0]
        add("+ questions shared", sharing, plain.score_s)
        add("+ common beginning read once: ours", ours.score_s, plain.score_s)
        table.add_section()
        add("answering: plain", plain.answer_s, plain.answer_s)
        with patch("unlearn.forward.generation.prefix_cache", return_value=None):
            with patch("unlearn.forward.decoding.fits_slots", return_value=False):
                leaving = self.seconds(lambda: self.answers(None))[0]
            refilled = self.seconds(lambda: self.answers(None))[0]
        unknown = self.seconds(lambda: self.answers(None))[0]
        add("+ by length, finished rows leave", leaving, plain.answer_s)
        add("+ slots, refilled", refilled, plain.answer_s)
        add("+ common beginning read once", unknown, plain.answer_s)
        add("+ answers known from the scores: ours", ours.answer_s, plain.answer_s)
        return table

    @torch.no_grad()
    def _scoring(self, found: list[Pass]) -> float:
        def work() -> None:
            for part in found:
                losses_and_choices(part.run(self.model, self.examples, self.exact))

        return self.seconds(work)[0]


@contextmanager
def counted_tokens(model: Any) -> Iterator[dict[str, int]]:
    """Count the tokens that enter the model, and those of them that are no padding."""
    counts = {"computed": 0, "real": 0}

    def count(_module: Any, _positional: Any, given: dict[str, Any]) -> None:
        ids = given["input_ids"]
        counts["computed"] += ids.numel()
        counts["real"] += int(given["attention_mask"][:, -ids.shape[1] :].sum())

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


def comparison(bench: Bench, plain: Measured, ours: Measured) -> Table:
    """Return the table of both loops."""
    tokens = sum(
        len(bench.tokenizer.encode(text, add_special_tokens=False)) for text in plain.texts
    )
    table = Table(title="evaluation")
    for column in ("what", "plain", "ours", "plain / ours"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)

    def add(what: str, one: float, other: float, number: str, ratio: float | None) -> None:
        shown = "" if ratio is None else f"{ratio:.2f}"
        table.add_row(what, format(one, number), format(other, number), shown)

    scored = len(bench.examples)
    add("scored rows/s", scored / plain.score_s, scored / ours.score_s, ".1f", None)
    add("generated tokens/s", tokens / plain.answer_s, tokens / ours.answer_s, ".1f", None)
    add("padding of scoring", plain.score_padding, ours.score_padding, ".1%", None)
    add("padding of answering", plain.answer_padding, ours.answer_padding, ".1%", None)
    add("seconds, scoring", plain.score_s, ours.score_s, ".1f", plain.score_s / ours.score_s)
    add("seconds, answering", plain.answer_s, ours.answer_s, ".1f", plain.answer_s / ours.answer_s)
    both = plain.score_s + plain.answer_s, ours.score_s + ours.answer_s
    add("seconds, both", *both, ".1f", both[0] / both[1])
    return table


def main(arguments: list[str] | None = None) -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--model", help="folder of a model (default: a tiny random Llama)")
    parser.add_argument("--data", help="forget01, forget05, forget10 of TOFU (default: generated)")
    parser.add_argument("--rows", type=int, help="most rows a split (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows of the plain loop")
    parser.add_argument("--max-new-tokens", type=int, default=200, help="of an answer")
    parser.add_argument("--parts", action="store_true", help="also measure each part of ours")
    options = parser.parse_args(arguments)
    for name in ("rows", "batch_size", "max_new_tokens"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')}: {value}; allowed: 1 or more")
    bench = Bench(options)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    parameters = sum(p.numel() for p in bench.model.parameters())
    console.print(
        f"{date.today()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{bench.device.type}, threads: {torch.get_num_threads()}, clock: {bench.clock.__name__}\n"
        f"{type(bench.model).__name__} of {parameters / 1e6:.1f} M parameters, float32; "
        f"{len(bench.examples)} answers scored, {len(bench.suite.prompts)} questions answered; "
        f"plain: {bench.rows} rows a batch",
        soft_wrap=True,
    )
    plain_scores(bench.model, bench.examples[: bench.rows], bench.pad, bench.rows, bench.exact)
    ours, plain = bench.ours(), bench.plain()
    console.print(comparison(bench, plain, ours))
    largest = max(abs(a - b) for a, b in zip(plain.means, ours.means, strict=True))
    unlike = sum(a != b for a, b in zip(plain.texts, ours.texts, strict=True))
    console.print(
        f"largest difference of a score: {largest:.1e} nats a token; "
        f"answers that differ: {unlike} of {len(plain.texts)}"
    )
    if options.parts:
        console.print(bench.by_parts(plain, ours))


if __name__ == "__main__":
    main()
