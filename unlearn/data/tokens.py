"""From text to ids: prompt and answer are tokenised separately, once, and then concatenated.

A prompt tokenised alone and a prompt tokenised together with its answer can differ at the border;
separate tokenisation keeps the answer's ids the same in training, scoring and generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from unlearn.data.splits import Row
from unlearn.errors import DataError


@dataclass(frozen=True)
class Example:
    """Token ids of one question with one answer; the answer includes its end token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def choose_template(tokenizer: Any, wanted: str) -> tuple[str, str]:
    """Return the template, `chat` or `plain`, and the reason for it."""
    if wanted == "plain":
        return "plain", "model.template=plain"
    if getattr(tokenizer, "chat_template", None):
        return "chat", "the tokenizer has a chat template"
    if wanted == "chat":
        raise DataError(
            "model.template: 'chat', but the tokenizer has no chat template; "
            "allowed here: auto, plain"
        )
    return "plain", "the tokenizer has no chat template"


class Encoder:
    """Turns question and answer into an :class:`Example` for one tokenizer and one template.

    plain:  ``Question: …\\nAnswer:`` and the answer with its leading space;
    chat:   the tokenizer's template with one user turn and a fixed date (Llama-3's template would
            print today's); a system turn only where `system_prompt` gives one;
    text (an empty question): the start token, where there is one, and the text; a text that is
            longer than `max_length` is cut into windows.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str = "auto",
        max_length: int = 512,
        system_prompt: str | None = None,
        chat_date: str = "26 Jul 2024",
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has no end token; a model must be able to end an answer")
        self.tokenizer = tokenizer
        self.template, self.reason = choose_template(tokenizer, template)
        self.max_length = max_length
        self.system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self.chat_date = chat_date
        # SentencePiece tokenizers put the leading space in by themselves; a second would be wrong.
        first = tokenizer.convert_ids_to_tokens(tokenizer.encode("x", add_special_tokens=False))[0]
        self._space = "" if first.startswith("▁") else " "
        start = tokenizer.bos_token_id
        adds_start = start is not None and tokenizer.encode("x")[0] == start
        self._start = [start] if adds_start else []

    def prompt(self, question: str) -> list[int]:
        """Ids up to the point where the answer begins."""
        if not question:
            return list(self._start)
        if self.template == "chat":
            return self.tokenizer.apply_chat_template(
                [*self.system, {"role": "user", "content": question}],
                add_generation_prompt=True,
                return_dict=False,
                date_string=self.chat_date,
            )
        return self.plain(f"Question: {question}\nAnswer:")

    def plain(self, text: str) -> list[int]:
        """Ids of a prompt as it is written, after the start token where there is one."""
        # verbose=False: a text may well be longer than the model's context, and is cut later.
        return self._start + self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def examples(self, question: str, answer: str) -> list[Example]:
        """Return what is learnt of a row: a question's one example, or the windows of a text."""
        return [self.encode(question, answer)] if question else self.windows(answer)

    def windows(self, text: str) -> list[Example]:
        """Cut a text into the fewest examples of at most `max_length` tokens, of like size.

        The answers of the windows, in order, are the tokens of the text and the end token: none is
        lost and none is learnt twice. The prompt of each is the start token; where there is none,
        the token before its answer, so that only the very first token of a text goes unpredicted.
        Windows never span two texts: a text is forgotten by itself, whatever stands beside it.

        Raises DataError for a text without tokens.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        if not ids or not text.strip():
            raise DataError(f"text without tokens: {text!r}")
        stream = [*self._start, *ids, self.tokenizer.eos_token_id]
        answered = len(stream) - 1  # all but the first, which has nothing before it
        count = -(-answered // (self.max_length - 1))
        cuts = [1 + answered * number // count for number in range(count + 1)]
        return [
            Example(tuple(self._start or stream[begin - 1 : begin]), tuple(stream[begin:end]))
            for begin, end in pairwise(cuts)
        ]

    def encode(self, question: str, answer: str) -> Example:
        """Return the ids; an answer over `max_length` loses its tail and with it the end token.

        Raises DataError for an answer without tokens and for a prompt that fills `max_length`.
        """
        prompt = self.prompt(question)
        plain = bool(question) and self.template == "plain"
        text = self._space + answer if plain else answer
        ids = self.tokenizer.encode(text, add_special_tokens=False) if answer.strip() else []
        if not ids:
            raise DataError(f"answer without tokens: question {question!r}, answer {answer!r}")
        if not prompt:  # without a start token nothing predicts the first token of a text
            prompt, ids = ids[:1], ids[1:]
        if len(prompt) >= self.max_length:
            raise DataError(
                f"the prompt alone has {len(prompt)} tokens, model.max_length is "
                f"{self.max_length}: question {question[:80]!r}; raise model.max_length or "
                "leave the row out"
            )
        answer_ids = [*ids, self.tokenizer.eos_token_id][: self.max_length - len(prompt)]
        return Example(tuple(prompt), tuple(answer_ids))


def encode_rows(encoder: Encoder, rows: list[Row]) -> list[Example]:
    """Return the ids of every row's question and answer; a long text is several windows."""
    return [example for row in rows for example in encoder.examples(row.question, row.answer)]
