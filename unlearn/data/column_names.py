"""Which column holds what, by the names that columns usually have."""

from __future__ import annotations

import unicodedata

from unlearn.data.columns import Columns, missing_columns
from unlearn.data.conversations import is_turns, unpacked
from unlearn.data.records import Table
from unlearn.errors import DataError

QUESTION = (
    *("question", "prompt", "instruction", "input", "query", "user"),
    *("質問", "質問文", "問題", "設問", "問い", "问题", "提问", "問題文", "frage", "pregunta"),
)
ANSWER = (
    *("answer", "response", "output", "completion", "reply", "assistant"),
    *("回答", "回答文", "答え", "解答", "応答", "答案", "antwort", "respuesta", "réponse"),
)
TEXT = ("text", "passage", "document", "article", "本文", "文章", "テキスト", "文本", "正文")
TURNS = ("messages", "conversations", "conversation")
"""Names in small letters; a column's may be in any case and form."""


def chosen_columns(
    table: Table,
    question: str | None = None,
    answer: str | None = None,
    text: str | None = None,
    messages: str | None = None,
) -> Columns:
    """Return the columns of a table: those named, the others by their usual names.

    `question` and `answer` by these very names go ahead of all other names, then Alpaca's
    `instruction` with `output`, behind whose instruction goes the `input` of a row. Raises
    DataError where two columns could be the same thing, or none could.
    """
    if text is not None:
        return Columns(question=None, answer=text)
    if messages is not None:
        return Columns(question=None, answer=messages, turns=True)
    named = {"question": question, "answer": answer}
    questions = [question] if question else _found(table, QUESTION)
    answers = [answer] if answer else _found(table, ANSWER)
    for name, found in (("question", questions), ("answer", answers)):
        if name in found and not named[name]:
            found[:] = [name]
    alpaca = {_plain(name): name for name in questions} if not question else {}
    if set(alpaca) == {"instruction", "input"} and len(answers) == 1:
        return Columns(alpaca["instruction"], answers[0], appended=alpaca["input"])
    pair = len(questions) == len(answers) == 1
    if pair and questions == answers:
        raise DataError(
            f"{table.source}: the column {answers[0]!r} is named as the question and taken for the "
            f"answer; {ADVICE}"
            if question
            else f"{table.source}: the column {questions[0]!r} is named as the answer and taken "
            f"for the question; {ADVICE}"
        )
    if pair and (question or answer or (questions, answers) == (["question"], ["answer"])):
        return Columns(questions[0], answers[0])
    texts, turns = ([], []) if question or answer else (_found(table, TEXT), _turns(table))
    if pair and not texts and not turns:
        return Columns(questions[0], answers[0])
    if not questions and not answers and len(texts) + len(turns) == 1:
        return Columns(None, (texts + turns)[0], turns=bool(turns))
    candidates = {"question": questions, "answer": answers, "text": texts, "messages": turns}
    raise DataError(_unclear(table, candidates))


def _unclear(table: Table, candidates: dict[str, list[str]]) -> str:
    found = {option: names for option, names in candidates.items() if names}
    if sum(map(len, found.values())) > 1:
        could = "; ".join(f"data.{o}={' or '.join(names)}" for o, names in found.items())
        return (
            f"{table.source}: its columns can be read in more than one way ({could}); name what is "
            "meant: data.question=… and data.answer=…, data.text=…, or data.messages=…"
        )
    missing = [name for name in ("question", "answer") if name not in found]
    return missing_columns(table, missing, ADVICE)


ADVICE = (
    "Name yours with data.question=… and data.answer=…, data.text=… for plain text, or "
    "data.messages=… for conversations; optional are data.paraphrased_answer, "
    "data.perturbed_answer, data.paraphrased_question."
)


def _turns(table: Table) -> list[str]:
    return [
        name
        for name in _found(table, TURNS)
        if any(is_turns(unpacked(record.get(name))) for record in table.records)
    ]


def _found(table: Table, names: tuple[str, ...]) -> list[str]:
    return [column for column in table.columns if _plain(column) in names]


def _plain(column: str) -> str:
    return unicodedata.normalize("NFKC", str(column)).strip().casefold()
