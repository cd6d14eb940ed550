"""What is asked of every model of a run: ids that are made once, and the tables of the answers."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import pandas as pd

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.console.once import warn_once
from unlearn.data.splits import Judged, Quiz, Row, as_record, judgement, unseen_of
from unlearn.data.tokens import Encoder
from unlearn.evaluation.asking import asked_of
from unlearn.evaluation.cut import REQUEST, capped_notes, cut_notes, scored_rows, shortened_notes
from unlearn.evaluation.gradient_norms import gradient_norms
from unlearn.evaluation.quizzes import ask
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.scoring import Scored, answers_to_score, score
from unlearn.evaluation.summarising import summarise
from unlearn.forward.generation import said
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.metrics.catalogue import WordRule
from unlearn.options.schema import EvaluationConfig, Words

log = logging.getLogger(__name__)


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
            for form in (self.judged[name].form,)
            for answer in answers_to_score(
                *(encoder, name, rows), form != "text", form == "continuation"
            )
        ]
        questions = {name: rows for name, rows in self.rows.items() if self.judged[name].asked}
        self.asked = asked_of(encoder, questions, self.answers, config.max_new_tokens)
        named = (quizzes or {}).items()
        self.quizzes = [ask(name, quiz, encoder, config) for name, quiz in named]
        self.prompts = [one.prompt for one in self.asked]
        self.notes = [*cut_notes(encoder, self.rows), *shortened_notes(encoder, self.rows)]
        for note in self.notes:
            log.warning("%s", note)
        unseen = unseen_of([name for name, rows in self.rows.items() if rows], self.judged)
        self.attacked = (REQUEST, unseen) if self.rows.get(REQUEST) and unseen else ()

    @property
    def alone(self) -> Suite:
        """The same for what one of several processes does by itself."""
        if not self.compute.together:
            return self
        suite = copy(self)
        suite.compute = self.compute.alone
        return suite

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
        if not self.config.end_token:  # the tables then hold the hits of every split
            asked += "hits of all"
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
            "end_token": self.config.end_token,
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
        generations = [
            one.judge(answer, self.words) for one, answer in zip(self.asked, answers, strict=True)
        ]
        for quiz, texts in zip(self.quizzes, quizzes, strict=True):
            generations += quiz.judge(texts, self.config.stemmer, self.words)
        return self.summarised(scores, generations, reference)

    @property
    def cuts_truths(self) -> bool:
        """Whether a true answer is longer than a model may answer."""
        asked = {(one.split, one.row) for one in self.asked if one.passage is None}
        return any(
            len(one.example.answer) > self.config.max_new_tokens + 1  # the end counts as a token
            for one in self.answers
            if one.kind == "answer" and (one.split, one.index) in asked
        )

    def summarised(
        self,
        scores: pd.DataFrame,
        generations: list[dict[str, Any]],
        reference: Evaluation | None,
    ) -> Evaluation:
        """Return what the tables of this suite give, with what is to be said of it."""
        found = summarise(
            *(scores, generations, reference),
            self.config.min_k,
            self.judged,
            self.words,
            self.config.end_token,
        )
        capped = capped_notes(generations, self.config.max_new_tokens)
        # A model that babbles is cut as well, and that is no fault of the limit.
        if capped and self.cuts_truths:
            for note in capped:
                warn_once(log, note)
        return replace(found, notes=[*found.notes, *self.notes, *capped])

    def score_answers(
        self, model: LanguageModel, answers: Sequence[Scored], title: str
    ) -> pd.DataFrame:
        """Return the plain score table of some answers."""
        return score(model, answers, self.compute, title)

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
            hits_of=[
                n for n, how in self.judged.items() if how.recited or not self.config.end_token
            ],
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
