"""Which split feeds which metric: TOFU's suite, for every data set of questions and answers.

A data set with quizzes (MUSE) has them besides: its texts are scored but not asked, and what it
measures of utility is a quiz, not TOFU's mean.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.console.once import warn_once
from unlearn.data.splits import Judged, Quiz, Row, as_record, judgement, unseen_of
from unlearn.data.tokens import Encoder
from unlearn.evaluation.asking import asked_of
from unlearn.evaluation.cut import REQUEST, capped_notes, cut_notes, scored_rows
from unlearn.evaluation.gradient_norms import gradient_norms
from unlearn.evaluation.membership import membership
from unlearn.evaluation.quizzes import ask
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.scoring import answers_to_score, score
from unlearn.forward.generation import said
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.choice import accuracy
from unlearn.metrics.memorization import exact_memorization, extraction_strength
from unlearn.metrics.muse import quiz_scores
from unlearn.metrics.privacy import PRIVLEAK_SHARE
from unlearn.metrics.table import HITS, sorted_once
from unlearn.metrics.text import rouge_recall
from unlearn.metrics.tofu import (
    RATIO_NAMES,
    UTILITY_SPLITS,
    TruthRatioForm,
    choice_probability,
    forget_quality,
    forget_truth_ratio,
    kept_truth_ratio,
    loss,
    model_utility,
    probability,
    truth_ratio_rows,
)
from unlearn.options.schema import EvaluationConfig, Words

log = logging.getLogger(__name__)

UTILITY_NAMES: dict[TruthRatioForm, str] = {
    "geometric": "model_utility",
    "arithmetic": "model_utility_arithmetic",
}
KEPT = ("retain", "general", *UTILITY_SPLITS[1:])
"""The splits whose knowledge is useful, in the order in which notes name them."""
NAMED = 10
"""Rows that a note names at most."""


class Suite:
    """Measures models on one data set; the ids are made once and serve every stage."""

    def __init__(
        self,
        evaluated: Mapping[str, Sequence[Row]],
        encoder: Encoder,
        config: EvaluationConfig,
        compute: Compute,
        quizzes: Mapping[str, Quiz] | None = None,
        judged: Mapping[str, Judged] | None = None,
        words: WordRule = "unicode",
    ) -> None:
        """`quizzes`, `judged` and `words`: what :class:`unlearn.data.Splits` has of them.

        The parameters are seven, as a suite may measure rows that are no request with a retain set.
        """
        self.config, self.encoder, self.compute = config, encoder, compute
        chosen: dict[Words, WordRule] = {Words.tofu: "tofu", Words.unicode: "unicode"}
        self.words = chosen.get(config.words, words)
        self.rows = {
            name: list(rows)[: scored_rows(name, config.rows)] for name, rows in evaluated.items()
        }
        self.judged = {name: judgement(name, judged) for name in self.rows}
        self.answers = [
            answer
            for name, rows in self.rows.items()
            for answer in answers_to_score(encoder, name, rows, self.judged[name].form != "text")
        ]
        questions = {name: rows for name, rows in self.rows.items() if self.judged[name].asked}
        self.asked = asked_of(encoder, questions, self.answers, config.max_new_tokens)
        named = (quizzes or {}).items()
        self.quizzes = [ask(name, quiz, encoder, config) for name, quiz in named]
        self.prompts = [one.prompt for one in self.asked]
        self.notes = cut_notes(encoder, self.rows)
        for note in self.notes:
            log.warning("%s", note)
        unseen = unseen_of([name for name, rows in self.rows.items() if rows], self.judged)
        self.attacked = (REQUEST, unseen) if self.rows.get(REQUEST) and unseen else ()

    @property
    def fingerprint(self) -> str:
        """Hash of all that is asked: every id, the true answers, the length of a generation, and
        what is a word of it.

        The budgets of a batch are no part of it, since they change no score.
        """
        answers = [(a.split, a.index, a.kind, a.number, a.windows) for a in self.answers]
        truths = [(a.split, a.index, a.question, a.truth, a.most) for a in self.asked]
        texts = [row.answer for name in self.attacked for row in self.rows[name]]
        options = self.config.max_new_tokens, self.config.gradient_norm, self.words
        asked = repr((answers, truths, texts, self.prompts, options))
        if self.quizzes:
            asked += repr((self.quizzes, self.config.stemmer))
        if self.unusual:
            asked += repr(sorted(self.unusual.items()))
        return hashlib.sha256(asked.encode()).hexdigest()

    @property
    def unusual(self) -> dict[str, list[Any]]:
        """What of the judgement changes a number, of splits that are judged unlike their names."""
        judged = {s: [how.role, how.among_choices] for s, how in self.judged.items()}
        usual = {s: [judgement(s).role, judgement(s).among_choices] for s in judged}
        return {split: how for split, how in judged.items() if how != usual[split]}

    @property
    def identity(self) -> dict[str, Any]:
        """Return what two evaluations must share for their numbers to be compared.

        The rows are hashed as text, so that models with other tokenizers share a key.
        """
        texts = {name: [as_record(row) for row in rows] for name, rows in self.rows.items()}
        quizzes = [
            (quiz.name, quiz.most, [as_record(row) for row in quiz.rows]) for quiz in self.quizzes
        ]
        unusual = [self.unusual] if self.unusual else []
        made_of = json.dumps([texts, quizzes, *unusual], sort_keys=True)
        return {
            "rows_sha256": hashlib.sha256(made_of.encode()).hexdigest(),
            "rows": {name: len(rows) for name, rows in self.rows.items()},
            "template": self.encoder.template,
            "system_prompt": "".join(turn["content"] for turn in self.encoder.system),
            "chat_date": self.encoder.chat_date if self.encoder.template == "chat" else "",
            **self.encoder.rendering,
            "max_length": self.encoder.max_length,
            "max_new_tokens": self.config.max_new_tokens,
            "stemmer": self.config.stemmer,
            "words": self.words,
            "min_k": self.config.min_k,
            "precision": self.compute.where,
        }

    def evaluate(
        self, model: LanguageModel, stage: str, reference: Evaluation | None
    ) -> Evaluation:
        """Measure `model`; forget quality needs the `reference`'s evaluation.

        Draws nothing at random, so evaluating changes nothing in a training that goes on.
        """
        starts = GreedyStarts(dict(one.passage for one in self.asked if one.passage))
        scores = self.score(model, stage, starts)
        answers = said(
            model,
            self.encoder,
            self.prompts,
            self.compute,
            [one.most for one in self.asked],
            f"{stage}: answering",
            starts,
        )
        quizzes = [quiz.ask(model, self.encoder, self.compute, stage) for quiz in self.quizzes]
        # The words are compared when the model has nothing left to do.
        generations = []
        for one, answer in zip(self.asked, answers, strict=True):
            text = answer.text.strip()
            rouge_l, rouge_1 = rouge_recall(one.truth, text, self.words)
            generations.append(
                {
                    "split": one.split,
                    "index": one.index,
                    **({"row": one.row} if one.passage else {"ended": answer.ended}),
                    "question": one.question,
                    "truth": one.truth,
                    "answer": text,
                    "rougeL_recall": rouge_l,
                    "rouge1_recall": rouge_1,
                }
            )
        for quiz, texts in zip(self.quizzes, quizzes, strict=True):
            generations += quiz.judge(texts, self.config.stemmer, self.words)
        return self.summarised(scores, generations, reference)

    def summarised(
        self,
        scores: pd.DataFrame,
        generations: list[dict[str, Any]],
        reference: Evaluation | None,
    ) -> Evaluation:
        """Return what the tables of this suite give, with what is to be said of it."""
        found = summarise(scores, generations, reference, self.config.min_k, self.judged)
        capped = capped_notes(generations, self.config.max_new_tokens)
        for note in capped:
            warn_once(log, f"{note} (said once)")
        return replace(found, notes=[*found.notes, *self.notes, *capped])

    def score(
        self, model: LanguageModel, stage: str, starts: GreedyStarts | None = None
    ) -> pd.DataFrame:
        """Return the score table, with what the membership attacks read where they can be made.

        `starts` is told what the pass shows of the model's own answers.
        """
        scores = score(
            model,
            self.answers,
            self.compute,
            f"{stage}: scoring",
            hits_of=[name for name, how in self.judged.items() if how.recited],
            likelihoods_of=self.attacked,
            starts=starts,
        )
        places = [
            place
            for place, answer in enumerate(self.answers)
            if answer.kind == "answer" and answer.split in self.attacked
        ]
        if not places:
            return scores
        # Null elsewhere, as the lists are.
        attacked = [self.answers[place] for place in places]
        texts = [self.rows[a.split][a.index].answer for a in attacked]
        sizes = [len(zlib.compress(text.encode())) for text in texts]
        scores["zlib_bytes"] = pd.Series(sizes, index=places, dtype="Int64")
        if self.config.gradient_norm:
            norms = gradient_norms(model, attacked, self.compute, f"{stage}: gradients")
            scores["gradient_norm"] = pd.Series(norms, index=places, dtype=float)
        return scores


@sorted_once()
def summarise(
    scores: pd.DataFrame,
    generations: list[dict[str, Any]],
    reference: Evaluation | None,
    min_k: float = PRIVLEAK_SHARE,
    judged: Mapping[str, Judged] | None = None,
) -> Evaluation:
    """Compute every metric that the tables allow: a pure function of them.

    `min_k` is the share of tokens that the membership attacks min_k and min_k_plus_plus read;
    `judged` is what the reader says of its splits.
    """
    metrics: dict[str, float | None] = {}
    notes: list[str] = []
    ratios: dict[str, pd.Series] = {}
    for split, table in scores.groupby("split", sort=False):
        how, has_wrong = judgement(split, judged), has_wrong_answers(table)
        metrics[f"{split}/loss"] = loss(table)
        if how.among_choices and has_wrong:
            metrics[f"{split}/probability"] = choice_probability(table)
        else:
            metrics[f"{split}/probability"] = probability(table)
        if how.form == "multiple_choice":
            metrics[f"{split}/accuracy"] = accuracy(table)
        metrics[f"{split}/exact_memorization"] = exact_memorization(table)
        if how.recited and HITS in table:
            metrics[f"{split}/extraction_strength"] = extraction_strength(table)
        if not has_wrong:
            notes.append(f"{split}: no truth ratio, as its rows have no wrong answers")
            continue
        for form, name in RATIO_NAMES.items():
            rows = truth_ratio_rows(table, form)
            ratio = forget_truth_ratio if how.role == "forget" else kept_truth_ratio
            metrics[f"{split}/{name}"] = ratio(rows)
            if split == REQUEST:
                ratios[form] = rows
    quizzes = quiz_scores(generations)
    metrics |= quizzes
    answers = pd.DataFrame([line for line in generations if "quiz" not in line])
    if len(answers):
        for split, rows in answers.groupby("split", sort=False):
            for name in ("rougeL_recall", "rouge1_recall"):
                known = rows[name].dropna()
                metrics[f"{split}/{name}"] = float(known.mean()) if len(known) else None
    notes += without_words(generations)
    if not quizzes:
        metrics |= utility(metrics, notes)
    metrics |= compare_with_reference(ratios, reference, notes)
    unseen = unseen_of(map(str, scores["split"].unique()), judged)
    theirs = None if reference is None else reference.scores
    metrics |= membership(scores, theirs, min_k, notes, unseen)
    finite = {k: v if v is not None and math.isfinite(v) else None for k, v in metrics.items()}
    broken = [name for name, value in metrics.items() if value is not None and finite[name] is None]
    if broken:
        notes.append(f"not finite, so null: {', '.join(broken)}")
    return Evaluation(scores, generations, finite, ratios, notes)


def utility(metrics: Mapping[str, float | None], notes: list[str]) -> dict[str, float | None]:
    """Return model utility in both forms, over the kept splits that the data have.

    With TOFU's splits it is TOFU's. One line notes what it is made of where that is less or other.
    """
    splits = [s for s in KEPT if any(name.startswith(f"{s}/") for name in metrics)]
    found = {name: model_utility(metrics, form, splits) for form, name in UTILITY_NAMES.items()}
    _, left_out = found["model_utility"]
    others = [] if set(splits) >= set(UTILITY_SPLITS) else [f"over {' and '.join(splits)} alone"]
    if left_out:
        others.append(f"without {', '.join(left_out)}")
    if not splits:
        others = ["not measured, as the data have no rows to keep"]
    if others:
        notes.append(f"model_utility: {', '.join(others)}")
    return {name: value for name, (value, _) in found.items()}


def without_words(generations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count and name the rows that have no ROUGE, by split or quiz: their truth has no word."""
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for line in generations:
        place = f"{line['split']}/{line['quiz']}" if "quiz" in line else str(line["split"])
        asked.setdefault(place, []).append(line)
    notes = []
    for place, lines in asked.items():
        null = [str(line["index"]) for line in lines if _rouge(line) is None]
        if null:
            named = ", ".join(null[:NAMED]) + (" …" if len(null) > NAMED else "")
            notes.append(
                f"{place}: {len(null)} of {len(lines)} rows have no ROUGE and are left out of its "
                f"mean, as their true answer has no word (index {named})"
            )
    return notes


def _rouge(line: Mapping[str, Any]) -> float | None:
    value: float | None = line["rougeL_f1" if "quiz" in line else "rougeL_recall"]
    return value


def has_wrong_answers(table: pd.DataFrame) -> bool:
    """Return whether every row of a split has wrong answers to compare its right one with."""
    wrong = table.loc[table["kind"] == "perturbed", "index"]
    return set(wrong) == set(table["index"])


def compare_with_reference(
    ratios: dict[str, pd.Series], reference: Evaluation | None, notes: list[str]
) -> dict[str, float]:
    """Return forget quality, p and D, where there is a reference to compare with."""
    if "geometric" not in ratios:
        return {}
    if reference is None:
        notes.append("forget_quality: not measured, as there is no reference model")
        return {}
    p, distance = forget_quality(ratios["geometric"], reference.ratios["geometric"])
    return {"forget_quality": p, "forget_quality_D": distance}
