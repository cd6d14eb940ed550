"""Conversations as rows: the last answer, what was asked, and the turns before.

A turn is {"role": …, "content": …} as in chat files, or {"from": …, "value": …} as in ShareGPT's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from unlearn.data.blank import is_blank
from unlearn.data.splits import Turn
from unlearn.data.telling import shown

_KEYS = (("role", "content"), ("from", "value"))
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_ALLOWED = "system, user (human) and assistant (gpt)"


def is_turns(cell: object) -> bool:
    """Whether a cell holds a list of turns, which need not be whole."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(turn, dict) for turn in cell)


def unpacked(cell: object) -> object:
    """Return the list that a cell of CSV holds as JSON, and any other cell as it is."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            return json.loads(cell)
    return cell


def turns_of(cell: object, column: str) -> list[Turn]:
    """Read a cell that holds a list of turns; raises ValueError for one that is none."""
    if not isinstance(cell, list) or not cell:
        raise ValueError(
            f'{column!r} is not a list of turns such as [{{"role": "user", "content": "…"}}, '
            '{"role": "assistant", "content": "…"}]'
        )
    return [_turn(turn, f"turn {number} of {column!r}") for number, turn in enumerate(cell, 1)]


def unread_of(cell: object) -> list[str]:
    """Name what the turns of a cell hold besides role and content, such as tool calls."""
    turns = [turn for turn in cell if isinstance(turn, dict)] if isinstance(cell, list) else []
    read = {key for keys in _KEYS for key in keys}
    found = (key for turn in turns for key, value in turn.items() if value and key not in read)
    return list(dict.fromkeys(map(str, found)))


def parted(turns: Sequence[Turn]) -> tuple[tuple[Turn, ...], str, str]:
    """Return (turns before, question, answer): the answer is the last turn, the assistant's.

    Raises ValueError for a conversation that ends otherwise, or whose last answer nobody asked for.
    """
    if turns[-1].role != "assistant":
        raise ValueError(
            f"the conversation ends with a turn of the {turns[-1].role}, not of the assistant: "
            "take it out, since the last turn is the answer that is forgotten or kept"
        )
    if len(turns) < 2 or turns[-2].role != "user":
        raise ValueError("no turn of the user stands ahead of the conversation's last answer")
    for number, turn in enumerate(turns[1:], start=2):
        if turn.role == "system":
            raise ValueError(f"turn {number} is a system turn; only the first one may be")
    return tuple(turns[:-2]), turns[-2].content, turns[-1].content


def _turn(turn: object, place: str) -> Turn:
    keys = next((pair for pair in _KEYS if isinstance(turn, dict) and pair[0] in turn), None)
    if keys is None or not isinstance(turn, dict):
        raise ValueError(f'{place} has neither "role" and "content" nor "from" and "value"')
    role = _ROLES.get(str(turn[keys[0]]).strip().lower())
    if role is None:
        raise ValueError(f"{place} is of the role {shown(turn[keys[0]])}; allowed are {_ALLOWED}")
    content = _content(turn.get(keys[1]))
    if content is None:
        raise ValueError(f"{place} is not text but {shown(turn.get(keys[1]))}")
    if is_blank(content):
        raise ValueError(f"{place} is blank")
    return Turn(role, content)


def _content(content: object) -> str | None:
    """Return the text of a turn, which may be in parts; None where a part is none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    parts = [part.get("text") if isinstance(part, dict) else None for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else None
