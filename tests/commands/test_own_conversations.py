"""Conversations of one's own, through the real command: what is read, said and trained on."""

from __future__ import annotations

import json

from support.command import QUICK, Command


def conversation(name: str, town: str) -> str:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"I am {name}."},
        {"role": "assistant", "content": f"Hello {name}."},
        {"role": "user", "content": "Where do I live?"},
        {"role": "assistant", "content": f"In {town}."},
    ]
    return json.dumps({"id": 1, "messages": turns}) + "\n"


def test_a_run_on_conversations(unlearn: Command) -> None:
    forget = conversation("Ann", "Oslo") + conversation("Bo", "Bergen<|end|>")
    (unlearn.folder / "forget.jsonl").write_text(forget)
    (unlearn.folder / "kept.jsonl").write_text(conversation("Cy", "Varn"))
    words = [word for word in QUICK if not word.startswith("data")]
    done = unlearn(*words, "data=files", "data.forget=forget.jsonl", "data.retain=kept.jsonl")
    assert done.status == 0, done.said
    (line,) = [line for line in done.log.splitlines() if "data.forget" in line]
    assert "2 rows of forget.jsonl; conversations from 'messages'" in line
    assert "earlier answers, in 2 rows, are prompt alone; not read: 'id'" in line
    (warned,) = [line for line in done.log.splitlines() if "control tokens" in line]
    assert "1 row of the data, rows forget 2, holds strings" in warned
