"""How a chat template writes question and answer: rendered under a fixed clock, and taken apart.

What a template puts around an answer is read off one rendered conversation: the text ahead of it
(an empty thought), the text behind it, and the token that ends the turn, which need not be the
tokenizer's own end token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from unlearn.data.rendering import LETTERS, TOO_LONG, TooMuch, limited_time, tried
from unlearn.data.splits import Turn
from unlearn.errors import DataError, first_line, said_by, translating

DATE_FORMATS = ("%d %b %Y", "%d %B %Y", "%Y-%m-%d")
"""``26 Jul 2024``, ``26 July 2024`` and ``2024-07-26``."""
CLOCK = (
    "{% macro strftime_now(format) %}{% set now = namespace(text=format) %}"
    "{% for directive, value in fixed_clock.items() %}"
    "{% set now.text = now.text | replace(directive, value) %}{% endfor %}"
    "{{ now.text }}{% endmacro %}\n"
)
"""Stands ahead of a template and hides transformers' function of this name, which reads the clock.

A macro, since transformers turns functions among the variables of a template into text. The newline
is not rendered: the template's own first line stays the first of a line.
"""
ARGUMENTS = frozenset(
    {
        *("conversation", "messages", "chat_template", "add_generation_prompt"),
        "sanitize_control_tokens",
        *("continue_final_message", "tokenize", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
        *("strftime_now", "fixed_clock", "raise_exception"),
    }
)
"""Names that `apply_chat_template` or this module needs, and no variable of a template can have."""
QUESTION, ANSWER = "Which word is asked for?", "Lighthouse."
"""A conversation that stands for all when a template is taken apart."""


def parse_date(text: str) -> datetime | None:
    """Return the day that `text` names, or None where it is in none of :data:`DATE_FORMATS`."""
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def directives(day: datetime) -> dict[str, str]:
    """Return what every directive of strftime gives on this day, ``%-d`` and its like included."""
    plain = {letter: day.strftime(f"%{letter}") for letter in "aAbBcdDeFGHIjmMpSTuUVwWxXyYzZ"}
    short = {f"%-{letter}": text.lstrip("0") or "0" for letter, text in plain.items()}
    return {f"%{letter}": text for letter, text in plain.items()} | short | {"%%": "%"}


class ChatTemplate:
    """The chat template of a tokenizer, with a system turn, a day and variables of its own."""

    def __init__(
        self,
        tokenizer: Any,
        system: list[dict[str, str]],
        date: str,
        options: Mapping[str, Any],
    ) -> None:
        """`date`: what templates read as today; `options`: further variables of the template.

        Raises DataError for a template that cannot be rendered or leaves the answer out.
        """
        self.tokenizer, self.system = tokenizer, system
        day = parse_date(date)
        if day is None:
            raise DataError(f"model.chat_date: {date!r} names no day; write it like 26 Jul 2024")
        self.variables = {"date_string": date, **options}
        with translating(lambda error: self._unusable(said_by(error))):
            self.text = tokenizer.get_chat_template()
            if not isinstance(self.text, str):
                raise TypeError(f"it is no text but {type(self.text).__name__}")
        if "strftime_now" in self.text:
            self.text = CLOCK + self.text
            self.variables["fixed_clock"] = directives(day)
        self._try()
        prompt, whole = self.prompt(QUESTION), self._conversation(QUESTION, ANSWER)
        self.sha256 = hashlib.sha256(f"{prompt}\0{whole}".encode()).hexdigest()
        before, found, self.behind = whole.rpartition(ANSWER)
        if not found:
            raise DataError(
                "the tokenizer's chat template does not write what the assistant says; "
                "model.template=plain does without it"
            )
        self.continues = whole.startswith(prompt)
        """Whether a conversation begins with its prompt; some templates write it anew."""
        self.ahead = before[len(prompt) :] if self.continues else ""
        """What stands between prompt and answer, such as an empty thought."""
        self.end = self._end_of_turn(prompt.rpartition(QUESTION)[2])
        """The token that ends a turn; None where the template has none."""
        self.closing = ""
        """What stands behind an answer, the end token included."""
        if self.end is not None:
            text, token = self.behind, tokenizer.convert_ids_to_tokens(self.end)
            self.closing = text[: text.index(token) + len(token)] if token in text else token

    def prompt(self, question: str, before: Sequence[Turn] = ()) -> str:
        """Return the text up to the point where the assistant begins."""
        return self._render([*before, Turn("user", question)], opened=True)

    def parts(self, question: str, answer: str, before: Sequence[Turn] = ()) -> tuple[str, str]:
        """Return the prompt, and what the conversation has beyond it up to the end of the turn.

        Where a conversation does not begin with its prompt, the answer follows it as it is.
        """
        prompt = self.prompt(question, before)
        whole = self._conversation(question, answer, before)
        if whole.startswith(prompt) and whole.endswith(self.behind):
            return prompt, whole[len(prompt) : len(whole) - len(self.behind)] + self.closing
        return prompt, answer + self.closing

    def _conversation(self, question: str, answer: str, before: Sequence[Turn] = ()) -> str:
        turns = [*before, Turn("user", question), Turn("assistant", answer)]
        return self._render(turns, opened=False)

    def _render(self, turns: Sequence[Turn], opened: bool) -> str:
        def told(error: BaseException) -> DataError:
            return self._unusable(self._reason(error), self._kind(turns))

        with translating(told), limited_time():  # whatever a template computes may fail
            text = self.tokenizer.apply_chat_template(
                self._written(turns),
                add_generation_prompt=opened,
                tokenize=False,
                chat_template=self.text,
                **self.variables,
            )
            if len(text) > LETTERS:
                raise TooMuch(f"it writes more than {LETTERS:,} letters")
        return text

    def _try(self) -> None:
        """Let a process that the system limits render first what is rendered next."""
        asked = [Turn("user", QUESTION)]
        whole = [*asked, Turn("assistant", ANSWER)]
        variables = {**self.tokenizer.special_tokens_map, **self.variables}
        with translating(lambda error: self._unusable(self._reason(error))):
            conversations = [(self._written(asked), True), (self._written(whole), False)]
            tried(self.text, conversations, variables)

    def _written(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        written = [turn._asdict() for turn in turns]
        # A row's own system turn goes ahead of the option.
        return written if turns[0].role == "system" else [*self.system, *written]

    def _reason(self, error: BaseException) -> str:
        from jinja2 import TemplateError

        if isinstance(error, TooMuch):  # raised from outside, it says nothing
            return str(error) or TOO_LONG
        # What a template raises itself is a TemplateError.
        return first_line(error) if isinstance(error, TemplateError) else said_by(error)

    def _unusable(self, why: str, kind: str = "") -> DataError:
        return DataError(
            f"the tokenizer's chat template cannot be rendered{kind}: {why}; model.template=plain "
            "does without it"
        )

    def _kind(self, turns: Sequence[Turn]) -> str:
        """Say which turns were asked of a template besides a question and an answer."""
        roles = [turn.role for turn in turns]
        if roles[0] == "system":
            last = next(t.content for t in reversed(turns) if t.role == "user")
            return f" with the system turn of a row (question {last[:80]!r}; take the turn out)"
        if roles.count("user") > 1:
            return f" with earlier turns of a row (of {', '.join(roles)})"
        return " with a system turn (model.system_prompt)" if self.system else ""

    def _end_of_turn(self, behind_question: str) -> int | None:
        """Return the first control token behind the answer, a user's turn's own before others."""
        control = [i for i in self._ids(self.behind) if i in self.tokenizer.added_tokens_decoder]
        control = [i for i in control if self.tokenizer.convert_ids_to_tokens(i).strip()]
        asked = set(self._ids(behind_question))
        return next((i for i in control if i in asked), control[0] if control else None)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)
