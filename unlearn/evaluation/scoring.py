"""The teacher-forced pass: every scored answer once, into one table.

Answers with the same ids are computed once, a question once for all its answers, and the beginning
of all questions once. Batches hold rows of similar length and a fixed budget of padded tokens. A
score depends on its row alone: padding stands to the right, where causal attention never looks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from unlearn.compute.casting import weights_cast_once
from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import gathered, summed
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.progress import progress
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder, Example
from unlearn.evaluation.token_scores import TokenScores
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.passes import Pass, passes, run_within_memory
from unlearn.forward.predicted import losses_and_choices
from unlearn.forward.prefix import prefix_cache
from unlearn.metrics.table import HITS, LIKELIHOODS


@dataclass(frozen=True)
class Scored:
    """One answer to score: where it belongs, and its ids."""

    split: str
    index: int
    kind: str
    """answer, paraphrase or perturbed."""
    number: int
    example: Example
    later: tuple[Example, ...] = ()
    """The windows of a long text behind its first."""

    @property
    def windows(self) -> tuple[Example, ...]:
        """What is scored, and counts as one answer: nearly always one example."""
        return (self.example, *self.later)

    @property
    def tokens(self) -> int:
        """Answer tokens of all windows."""
        return sum(len(window.answer) for window in self.windows)


def answers_to_score(
    encoder: Encoder,
    split: str,
    rows: Sequence[Row],
    whole: bool = True,
    continued: bool = False,
) -> list[Scored]:
    """Return every answer of every row of a split: the true, the paraphrased and the wrong ones.

    A text that is longer than `model.max_length` has several windows, as in training; with `whole`
    false its first alone is scored, which is how MUSE's numbers were published. With `continued`
    an answer goes on with the question outside any template, as lm-evaluation-harness has it.
    """
    if not continued:
        asked = [row for row in rows if row.question or not whole]
        encoder.encode_all([(r.question, a[-1], r.before) for r in asked for a in _answers_of(r)])
    scored = []
    for index, row in enumerate(rows):
        for kind, number, text in _answers_of(row):
            if continued:
                windows = [encoder.continuation(row.question, f" {text}")]
            elif row.question or not whole:
                windows = [encoder.encode(row.question, text, row.before)]
            else:
                windows = encoder.windows(text)
            first, *later = windows
            scored.append(Scored(split, index, kind, number, first, tuple(later)))
    return scored


def _answers_of(row: Row) -> list[tuple[str, int, str]]:
    """Return kind, number and text of every answer of a row."""
    answers = [("answer", 0, row.answer)]
    if row.paraphrased_answer is not None:
        answers.append(("paraphrase", 0, row.paraphrased_answer))
    return answers + [("perturbed", n, text) for n, text in enumerate(row.perturbed_answers)]


@torch.no_grad()
def score(
    model: LanguageModel,
    answers: Sequence[Scored],
    compute: Compute,
    title: str = "scoring",
    hits_of: Collection[str] = (),
    likelihoods_of: Collection[str] = (),
    starts: GreedyStarts | None = None,
) -> pd.DataFrame:
    """Return the score table: one row per answer, in the order given.

    Columns split, index, kind, number, `nll_sum` (nats, float32 losses summed in float64), `tokens`
    (end token included), `hits` (answer tokens that are the argmax given the true prefix).
    `hits_of` and `likelihoods_of` name splits whose true answers have lists besides, one entry a
    token: `token_hits`, and `token_log_p` with `token_mean_log_p` and `token_variance_log_p` under
    the vocabulary; null in other rows. `starts` is told what the pass shows of the model's own
    answers. Seven parameters: what is scored and how (three), a title, and what is kept besides the
    sums (three, optional).
    """
    numbers: dict[Example, int] = {}
    of = [
        [numbers.setdefault(window, len(numbers)) for window in answer.windows]
        for answer in answers
    ]
    examples = list(numbers)
    asked = {HITS: _asked(answers, hits_of)} | {
        name: _asked(answers, likelihoods_of) for name in LIKELIHOODS
    }
    kept = [{n for place in asked[name] for n in of[place]} for name in (HITS, LIKELIHOODS[0])]
    lists = TokenScores([len(example.answer) for example in examples], *kept)
    told: list[tuple[list[int], list[int]]] = []
    sums = torch.zeros(len(examples), dtype=torch.float64)
    hits = torch.zeros(len(examples), dtype=torch.long)
    with in_evaluation_mode(model):
        start = prefix_cache(model, [example.prompt for example in examples], compute)
        behind = examples if start is None else start.behind(examples)
        found = passes(model, behind, compute, start)
        with progress(title, len(examples)) as bar:

            def take(part: Pass) -> None:
                batch = part.run(model, behind, fixed, start)
                moments = lists.moments(batch)
                losses, choices = losses_and_choices(batch, moments.look if moments else None)
                hit = choices == batch.labels
                lists.add(batch, losses, hit, moments)
                owner = torch.tensor(part.rows)[batch.owner.cpu()]
                loss, right = losses.double().cpu(), hit.long().cpu()
                # Nothing is counted before all of it is there: what does not fit comes again.
                sums.index_add_(0, owner, loss)
                hits.index_add_(0, owner, right)
                if starts is not None:
                    told.append((part.rows, choices.tolist()))
                bar.advance(by=len(part.rows))

            with weights_cast_once(model, compute) as fixed:
                run_within_memory(compute.share(found), behind, take, title)
    if compute.split:  # an example is scored in one pass by one process: the rest of a sum is zeros
        sums, hits = summed(sums), summed(hits)
        lists.merge(gathered(lists.lists))
        told = [one for part in gathered(told) for one in part]
    if starts is not None:
        for rows, choices in told:
            starts.add([examples[row] for row in rows], choices)
    table = _table(answers, of, sums.tolist(), hits.tolist())
    for name in [HITS] * bool(hits_of) + list(LIKELIHOODS) * bool(likelihoods_of):
        # An array of objects: pandas would take equally long lists for the rows of a matrix.
        column = np.full(len(answers), None, dtype=object)
        for place in asked[name]:
            column[place] = np.concatenate([lists.lists[name][number] for number in of[place]])
        table[name] = column
    return table


def _table(
    answers: Sequence[Scored],
    of: Sequence[Sequence[int]],
    nll: Sequence[float],
    hits: Sequence[int],
) -> pd.DataFrame:
    """Return the table of answers, each the sum of its windows `of` those that were scored."""
    return pd.DataFrame(
        {
            "split": [a.split for a in answers],
            "index": [a.index for a in answers],
            "kind": [a.kind for a in answers],
            "number": [a.number for a in answers],
            "nll_sum": [sum(nll[number] for number in windows) for windows in of],
            "tokens": [a.tokens for a in answers],
            "hits": [sum(hits[number] for number in windows) for windows in of],
        }
    )


def _asked(answers: Sequence[Scored], splits: Collection[str]) -> list[int]:
    """Return the places of the true answers of these splits."""
    return [n for n, a in enumerate(answers) if a.kind == "answer" and a.split in splits]
