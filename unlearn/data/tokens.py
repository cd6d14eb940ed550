"""From text to ids: prompt and answer are tokenised separately, once, and then concatenated.

A prompt tokenised alone and a prompt tokenised together with its answer can differ at the border;
separate tokenisation keeps the answer's ids the same in training, scoring and generation. With a
chat template an answer is what the rendered conversation has beyond its prompt, up to the end of
the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from unlearn.data.splits import Row, Turn
from unlearn.data.turns import ChatTemplate
from unlearn.errors import DataError, said_by, translating


@dataclass(frozen=True)
class Example:
    """Token ids of one question with one answer; the answer includes its end token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def choose_template(tokenizer: Any, wanted: str) -> tuple[str, str]:
    """Return the template, `chat`, `plain` or `raw`, and the reason for it."""
    if wanted == "plain":
        return "plain", "model.template=plain"
    if wanted == "raw":
        return "raw", "model.template=raw"
    if getattr(tokenizer, "chat_template", None):
        return "chat", "the tokenizer has a chat template"
    if wanted == "chat":
        raise DataError(
            "model.template: 'chat', but the tokenizer has no chat template; "
            "allowed here: auto, plain, raw"
        )
    return "plain", "the tokenizer has no chat template"


_PLAIN = {
    "system": "{}\n\n",
    "user": "Question: {}\n",
    "assistant": "Answer: {}\n\n",
}
"""How the plain template writes the turns ahead of a question."""


class Encoder:
    """Turns question and answer into an :class:`Example` for one tokenizer and one template.

    plain:  ``Question: …\\nAnswer:`` and the answer with its leading space;
    raw:    the question as it is written, and the answer with its leading space, as of a text that
            goes on;
    chat:   the tokenizer's template with one user turn, under a fixed clock (many templates print
            today's date), after the turns that stand before a row's question; a system turn only
            where the row has one, or else `system_prompt` gives one. The answer is what
            the template makes of it, up to the end of its turn; the tokenizer's end token is put
            behind it only where the template ends a turn with none;
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
        chat_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`chat_options`: variables of the chat template, such as enable_thinking."""
        if tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has no end token; a model must be able to end an answer")
        self.tokenizer = tokenizer
        self.template, self.reason = choose_template(tokenizer, template)
        self.max_length = max_length
        self.cut: dict[tuple[str, str], int] = {}
        """Question and answer of every row that lost its tail → tokens that the row has. A text
        loses none where it is learnt: it has windows."""
        # A row is asked for by training, scoring, levels and reports: its text is read once.
        self._known: dict[tuple[str, str, tuple[Turn, ...]], Example] = {}
        self._known_windows: dict[str, list[Example]] = {}
        self.shortened: dict[str, int] = {}
        """Prompt of every continuation that lost its beginning → tokens that it has with it."""
        self.system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self.chat_date, self.chat_options = chat_date, dict(chat_options or {})
        self.chat: ChatTemplate | None = None
        if self.template == "chat":
            self.chat = ChatTemplate(tokenizer, self.system, chat_date, self.chat_options)
            if not self.chat.continues:
                self.reason += ", whose conversations do not begin with its prompts: answers follow"
                self.reason += " the prompt as they are"
        # SentencePiece tokenizers put the leading space in by themselves; a second would be wrong.
        first = tokenizer.convert_ids_to_tokens(tokenizer.encode("x", add_special_tokens=False))[0]
        self._space = "" if first.startswith("▁") else " "
        start = tokenizer.bos_token_id
        adds_start = start is not None and tokenizer.encode("x")[0] == start
        self._start = [start] if adds_start else []

    def prompt(self, question: str, before: Sequence[Turn] = ()) -> list[int]:
        """Ids up to the point where the answer begins; `before`: turns ahead of the question."""
        return [*self._ahead(question), *self._ids(self._prompt_text(question, before))]

    def _ahead(self, question: str) -> list[int]:
        """Return the start token, where there is one; a template writes its own."""
        return [] if question and self.chat is not None else self._start

    def _prompt_text(self, question: str, before: Sequence[Turn]) -> str:
        if not question:
            return ""
        if self.chat is not None:
            return self.chat.prompt(question, before)
        if self.template == "raw":
            return "".join(f"{turn.content}\n\n" for turn in before) + question
        ahead = "".join(_PLAIN[turn.role].format(turn.content) for turn in before)
        return f"{ahead}Question: {question}\nAnswer:"

    def plain(self, text: str) -> list[int]:
        """Ids of a prompt as it is written, after the start token where there is one."""
        return self._start + self._ids(text)

    def continuation(self, text: str, more: str) -> Example:
        """Return the ids of a prompt as it is written and of what goes on with it, no end token.

        They are cut apart as lm-evaluation-harness does: white space at the border goes to the
        second part, which is what both together have beyond the tokens of the first. A prompt that
        is too long loses its beginning.
        """
        ahead = text.rstrip()
        more = text[len(ahead) :] + more
        prompt = self.plain(ahead)
        answer = self.plain(ahead + more)[len(prompt) :]
        room = self.max_length - len(answer)
        if not prompt or not answer or room < 1:
            raise DataError(
                f"a prompt or a continuation without tokens, or one over model.max_length="
                f"{self.max_length}: {text[-80:]!r}, {more[:80]!r}"
            )
        if len(prompt) > room:
            self.shortened[text] = len(prompt) + len(answer)
        return Example(tuple(prompt[-room:]), tuple(answer))

    @property
    def rendering(self) -> dict[str, Any]:
        """Return what tells one chat template from another; empty for the plain one."""
        if self.chat is None:
            return {}
        options = {"chat_options": self.chat_options} if self.chat_options else {}
        return {"prompt_sha256": self.chat.sha256, **options}

    @property
    def ends(self) -> set[int]:
        """Every id that ends an answer."""
        ids = {self.tokenizer.eos_token_id}
        return ids if self.chat is None or self.chat.end is None else ids | {self.chat.end}

    def text(self, answer: Sequence[int]) -> str:
        """Return a generated answer as text, without special tokens and without an empty thought.

        The end token is expected to be gone already.
        """
        text = self.tokenizer.decode(answer, skip_special_tokens=True)
        thought = self._thought.strip()
        if thought and text.lstrip().startswith(thought):
            return text.lstrip().removeprefix(thought)
        return text

    @cached_property
    def _thought(self) -> str:
        """What a decoded answer begins with where the template itself begins it."""
        if self.chat is None or not self.chat.ahead.strip():
            return ""
        return self.tokenizer.decode(self._ids(self.chat.ahead), skip_special_tokens=True)

    def _ids(self, text: str) -> list[int]:
        # verbose=False: a text may well be longer than the model's context, and is cut later.
        with translating(_unreadable):
            return self.tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def examples(self, row: Row) -> list[Example]:
        """Return what is learnt of a row: a question's one example, or the windows of a text."""
        if not row.question:
            return self.windows(row.answer)
        return [self.encode(row.question, row.answer, row.before)]

    def windows(self, text: str) -> list[Example]:
        """Cut a text into the fewest examples of at most `max_length` tokens, of like size.

        The answers of the windows, in order, are the tokens of the text and the end token: none is
        lost and none is learnt twice. The prompt of each is the start token; where there is none,
        the token before its answer, so that only the very first token of a text goes unpredicted.
        Windows never span two texts: a text is forgotten by itself, whatever stands beside it.

        Raises DataError for a text without tokens.
        """
        if text not in self._known_windows:
            self._known_windows[text] = self._windows(text)
        return list(self._known_windows[text])

    def _windows(self, text: str) -> list[Example]:
        ids = self._ids(text)
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

    def encode(self, question: str, answer: str, before: Sequence[Turn] = ()) -> Example:
        """Return the ids; an answer over `max_length` loses its tail and with it the end token.

        `before`: the turns of a conversation ahead of the question.

        Raises DataError for an answer without tokens and for a prompt that fills `max_length`.
        """
        return self.encode_all([(question, answer, before)])[0]

    def encode_all(self, rows: Sequence[tuple[str, str, Sequence[Turn]]]) -> list[Example]:
        """Return :meth:`encode` of each; a tokenizer reads many texts in a third of the time."""
        asked = [(question, answer, tuple(before)) for question, answer, before in rows]
        new = [row for row in dict.fromkeys(asked) if row not in self._known]
        prompts = {key: self._prompt_text(*key) for key in {(row[0], row[2]): None for row in new}}
        behind = [self._behind(*row) for row in new]
        read = self._read([*prompts.values(), *(text for text, _ in behind)])
        for row, (text, alone) in zip(new, behind, strict=True):
            question, answer, before = row
            prompt = [*self._ahead(question), *read[prompts[question, before]]]
            ids = read[text]
            if alone is not None:
                # A token across the border would change the prompt; the answer then stands alone.
                border = len(prompt)
                ids = ids[border:] if ids[:border] == prompt else self._ids(alone)
            self._known[row] = self._example(question, answer, prompt, ids)
        return [self._known[row] for row in asked]

    def _read(self, texts: Sequence[str]) -> dict[str, list[int]]:
        """Return the ids of each text."""
        if len(texts) < 8:
            return {text: self._ids(text) for text in texts}
        several = list(dict.fromkeys(texts))
        options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        with translating(_unreadable):
            return dict(zip(several, self.tokenizer(several, **options)["input_ids"], strict=True))

    def _behind(self, question: str, answer: str, before: Sequence[Turn]) -> tuple[str, str | None]:
        """Return the text whose ids are those of the answer.

        With a template that text begins with the prompt; the answer by itself comes second.
        """
        if not question or not answer.strip():
            return answer, None
        if self.chat is None:
            return self._space + answer, None
        asked, text = self.chat.parts(question, answer, before)
        return asked + text, text

    def _example(self, question: str, answer: str, prompt: list[int], ids: list[int]) -> Example:
        """Return prompt and answer with its end, cut where both are too long."""
        if not ids or not answer.strip():
            raise DataError(f"answer without tokens: question {question!r}, answer {answer!r}")
        if not prompt:  # without a start token nothing predicts the first token of a text
            prompt, ids = ids[:1], ids[1:]
        if len(prompt) >= self.max_length:
            raise DataError(
                f"the prompt alone has {len(prompt)} tokens, model.max_length is "
                f"{self.max_length}: question {question[:80]!r}; raise model.max_length or "
                "leave the row out"
            )
        if not question or self.chat is None or self.chat.end is None:
            ids = [*ids, self.tokenizer.eos_token_id]
        if question and len(prompt) + len(ids) > self.max_length:
            self.cut[question, answer] = len(prompt) + len(ids)
        return Example(tuple(prompt), tuple(ids[: self.max_length - len(prompt)]))


def _unreadable(error: BaseException) -> DataError:
    return DataError(
        f"the tokenizer cannot read a text ({said_by(error)}); give another with model.tokenizer=…"
    )


def encode_rows(encoder: Encoder, rows: list[Row]) -> list[Example]:
    """Return the ids of every row's question and answer; a long text is several windows."""
    asked = [(row.question, row.answer, row.before) for row in rows if row.question]
    encoder.encode_all(asked)  # which keeps them
    return [example for row in rows for example in encoder.examples(row)]
