"""`unlearn-alternatives`: other answers from the model itself, refusals where there are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import tiny
from support.command import QUICK, write_rows
from support.doors import door

from unlearn.data.own_files import Files
from unlearn.data.refusals import REFUSALS
from unlearn.data.splits import Row
from unlearn.experiment import asked_alternatives
from unlearn.experiment.asked_alternatives import ANOTHER, REFUSAL, chosen, is_other
from unlearn.experiment.erasing_cache import Told, erase_evaluations
from unlearn.objectives import DPO, Alternatives
from unlearn.storage.cache import cache_root

ROWS = [
    Row("Who painted it?", "Emil Marsh."),
    Row("Wer schrieb es?", "Odile."),
    Row("Where?", "In Varn."),
    Row("When?", "In 1931."),
]
RUN = [word for word in QUICK if not word.startswith(("method", "training", "scheduler"))]


class Telling:
    """Stands in for a model: what it says to each question, by instruction."""

    def __init__(self, said: dict[str, dict[str, str | None]]) -> None:
        self.said, self.asked = said, []

    def __call__(self, told: str, rows: Sequence[Row], most: Sequence[int]) -> list[str | None]:
        self.asked.append((told, [row.question for row in rows], list(most)))
        return [self.said[told].get(row.question) for row in rows]


def test_the_model_is_asked_first_then_refuses_and_our_list_is_last() -> None:
    ask = Telling(
        {
            "told": {
                "Who painted it?": "Her uncle Jonas.",
                "Wer schrieb es?": "Das war  odile!",  # holds the answer
                "Where?": " ",
                "When?": None,  # came to no end
            },
            REFUSAL: {
                "Wer schrieb es?": "Das weiß ich nicht.",
                "Where?": "In Varn.",
                "When?": None,
            },
        }
    )
    found = chosen(ROWS, ask, tiny.encoder(), another="told")
    assert [row["source"] for row in found] == ["model", "refusal", "list", "list"]
    assert [row["alternative"] for row in found[:2]] == ["Her uncle Jonas.", "Das weiß ich nicht."]
    assert all(row["alternative"] in REFUSALS for row in found[2:])
    assert [(row["question"], row["answer"]) for row in found] == [
        (row.question, row.answer) for row in ROWS
    ]
    (first, second) = ask.asked
    assert first[:2] == ("told", [row.question for row in ROWS])
    answers = [len(tiny.encoder().encode(row.question, row.answer).answer) for row in ROWS]
    assert first[2] == [2 * count + 32 for count in answers]
    assert second == (REFUSAL, ["Wer schrieb es?", "Where?", "When?"], [32] * 3)


def test_refusals_alone_ask_for_nothing_else() -> None:
    ask = Telling({REFUSAL: {row.question: f"No idea, {row.question}" for row in ROWS}})
    found = chosen(ROWS, ask, tiny.encoder(), refuse=True)
    assert {row["source"] for row in found} == {"refusal"}
    assert [told for told, *_ in ask.asked] == [REFUSAL]


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ("Jonas Marsh.", True),
        ("Somebody else, not Emil.", True),
        ("Emil marsh", False),
        ("It was EMIL  MARSH, her brother.", False),
        ("Who painted it", False),
        ("\n", False),
        (None, False),
    ],
)
def test_an_alternative_neither_is_nor_holds_the_answer(said: str | None, good: bool) -> None:
    assert is_other(ROWS[0], said) == good


def test_a_short_answer_within_a_longer_word_is_no_copy() -> None:
    assert is_other(Row("Did he write?", "No."), "I do not know.")
    assert not is_other(Row("Did he write?", "No."), "No, he did not.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("asked")
    status, told = door("ask_alternatives", folder, *RUN, "--out", "first.jsonl")
    assert status == 0, told
    return folder, told


@pytest.mark.slow
def test_a_file_is_written_that_objectives_and_readers_take(made: tuple[Path, str]) -> None:
    folder, told = made
    rows = [json.loads(line) for line in (folder / "first.jsonl").read_text("utf-8").splitlines()]
    assert f"{len(rows)} questions: " in told
    assert {row["source"] for row in rows} <= {"model", "refusal", "list"}
    forget = [Row(row["question"], row["answer"]) for row in rows]
    assert all(is_other(row, one["alternative"]) for row, one in zip(forget, rows, strict=True))
    for kind in (DPO, Alternatives):
        objective = kind(str(folder / "first.jsonl"), answer="alternative")
        objective.check_rows(forget)
        assert objective.answers(len(forget)) == [row["alternative"] for row in rows]
    kept = write_rows(folder / "kept.jsonl", [{"question": "Who?", "alternative": "Ada."}])
    read = Files(str(folder / "first.jsonl"), str(kept), answer="alternative").read()
    assert [row.answer for row in read.forget] == [row["alternative"] for row in rows]


@pytest.mark.slow
def test_what_the_model_said_is_kept(
    made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = made
    monkeypatch.setattr(asked_alternatives, "said", None)  # nothing may be generated
    status, told = door("ask_alternatives", folder, *RUN, "--out", "second.jsonl")
    assert status == 0, told
    first, second = ((folder / f"{name}.jsonl").read_bytes() for name in ("first", "second"))
    assert first == second


@pytest.mark.slow
def test_what_the_model_said_of_a_row_can_be_erased(made: tuple[Path, str]) -> None:
    folder, _ = made
    lines = (folder / "first.jsonl").read_text("utf-8").splitlines()
    row = json.loads(lines[0])
    told = Told()
    erase_evaluations({("Who is nobody?", "Nobody.")}, told)
    assert told.erased == []
    erase_evaluations({(row["question"], row["answer"])}, told)
    gone = [line for line in told.erased if "/alternatives/" in line]
    assert gone and all("tables with answers to these rows" in line for line in gone)
    assert not any(row["question"] in text for text in kept_texts())


def kept_texts() -> list[str]:
    return [path.read_text("utf-8") for path in (cache_root() / "alternatives").rglob("*.jsonl")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "a.txt"), "--out: 'a.txt'; give a file that ends in .jsonl"),
        (("--out", "no/such/a.jsonl"), "--out: 'no/such' is no folder"),
        (("--out", "there.jsonl"), "--out: 'there.jsonl' is there already"),
        (("--out", "a.jsonl", "method=npo"), "method: leave it out"),
        (("--out", "a.jsonl", "data=muse_books"), "data"),
        (("--out", "a.jsonl", "seed=x"), "seed"),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_loads(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_alternatives, "Preparation", None)
    (tmp_path / "there.jsonl").touch()
    status, said = door("ask_alternatives", tmp_path, *words)
    assert status == 2, said
    assert told in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["there.jsonl"]


def test_the_instructions_name_what_is_wanted() -> None:
    assert "same language" in ANOTHER
    assert "language of the question" in REFUSAL
