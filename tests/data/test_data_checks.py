"""The checks that all readers share: what they refuse, what they say, and what they let pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from unlearn.data import Row, Splits
from unlearn.data.blank import is_blank
from unlearn.data.own_files import Files
from unlearn.data.row_checks import checked, count_problems, cut
from unlearn.data.sameness import learnt, letters_of
from unlearn.data.telling import shown, together
from unlearn.data.tofu import Tofu
from unlearn.errors import DataError


def rows(prefix: str, count: int) -> list[Row]:
    return [Row(f"{prefix} question {i}?", f"{prefix} answer {i}.") for i in range(count)]


def splits(forget: list[Row], retain: list[Row], **evaluated: list[Row]) -> Splits:
    return Splits("test", forget, retain, {"forget": forget, "retain": retain} | evaluated)


def test_sound_splits_come_back_as_they_are() -> None:
    sound = splits(rows("f", 3), rows("r", 5), holdout=rows("h", 2))
    assert checked(sound) is sound


def test_same_question_with_another_answer_is_another_row() -> None:
    forget, retain = [Row("Who wrote it?", "Ann.")], [Row("Who wrote it?", "Bob.")]
    assert checked(splits(forget, retain)).forget == forget
    assert learnt(forget + retain, retain) == retain


def test_same_answer_to_another_question_is_another_row() -> None:
    forget, retain = [Row("Capital of France?", "Paris.")], [Row("Where is the Louvre?", "Paris.")]
    assert checked(splits(forget, retain)).forget == forget
    assert learnt(forget + retain, retain) == retain


def test_empty_sets_are_told_together() -> None:
    with pytest.raises(DataError) as error:
        checked(splits([], [], holdout=[]))
    assert [problem.split(" set")[0] for problem in error.value.problems] == [
        "The forget",
        "The retain",
        "The evaluated holdout",
    ]


def test_a_row_in_both_sets_is_shown_with_the_count_and_the_way_out() -> None:
    forget, retain = rows("same", 4), rows("kept", 3) + rows("same", 2)
    with pytest.raises(DataError) as error:
        checked(splits(forget, retain))
    (problem,) = error.value.problems
    assert "2 rows stand in both the forget and the retain set" in problem
    assert "same question 0?" in problem
    assert "take it out of one of the two" in problem


def test_white_space_does_not_hide_a_row_in_both_sets() -> None:
    forget, retain = [Row("Who?", "Ann  Lee.\n")], [Row(" Who?", "Ann Lee.")]
    with pytest.raises(DataError, match="1 row stands in both"):
        checked(splits(forget, retain))


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\u200b\u2060\ufeff", "\u3164 \uffa0", "\u2800", "\ufe0f\u00ad", "\u202e\x00"],
)
def test_a_text_with_nothing_to_see_is_blank(text: str) -> None:
    assert is_blank(text)
    with pytest.raises(DataError, match="answer is blank"):
        checked(splits([Row("Who?", text)], [Row("Where?", "At sea.")]))


@pytest.mark.parametrize(
    "text", ["a", ".", "日本", "🙂\ufe0f", "\u200bx", "न\u094d\u200d", "\u0301"]
)
def test_a_text_with_something_to_see_is_not(text: str) -> None:
    assert not is_blank(text)


def test_plain_text_rows_are_compared_by_their_text() -> None:
    passage = "Once upon a time " * 40
    with pytest.raises(DataError, match="1 row stands in both") as error:
        checked(splits([Row("", passage)], [Row("", passage), Row("", "other")]))
    assert len(str(error.value)) < 300  # a long passage is shortened
    assert "text 'Once upon" in str(error.value)


def test_holdout_rows_must_be_unseen() -> None:
    forget, retain = rows("f", 2), rows("r", 2)
    with pytest.raises(DataError) as error:
        checked(splits(forget, retain, holdout=[forget[0], retain[0], retain[1]]))
    assert "1 row stands in both the holdout and the forget set" in error.value.problems[0]
    assert "2 rows stand in both the holdout and the retain set" in error.value.problems[1]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (Row("q?", ""), "the answer is blank"),
        (Row("q?", " \n\t"), "the answer is blank"),
        (Row("q?", 42), "the answer is not a string but int"),  # type: ignore[arg-type]
        (Row("q?", None), "the answer is not a string but NoneType"),  # type: ignore[arg-type]
        (Row(["q"], "a"), "the question is not a string but list"),  # type: ignore[arg-type]
        (Row("q?", "a", paraphrased_answer=""), "the paraphrased answer is blank"),
        (Row("q?", "a", perturbed_answers=("b", "", " ")), "the perturbed answer is blank"),
        (Row("q?", "a", paraphrased_question=" "), "the paraphrased question is blank"),
    ],
)
@pytest.mark.parametrize("place", ["forget", "retain", "evaluated real_authors", "general"])
def test_a_faulty_field_is_told_once_with_place_and_row(row: Row, fault: str, place: str) -> None:
    parts = {
        name: rows(name, 2) for name in ("forget", "retain", "evaluated real_authors", "general")
    }
    parts[place].append(row)
    forget, retain, authors, general = parts.values()
    evaluated = {"forget": forget, "retain": retain, "real_authors": authors}
    with pytest.raises(DataError) as error:
        checked(Splits("test", forget, retain, evaluated, general))
    (problem,) = error.value.problems
    assert problem.startswith(f"{place}: {fault} in 1 of 3 rows, first in row 3,")


def test_every_problem_is_in_one_error() -> None:
    forget = [*rows("same", 1), Row("q?", "")]
    with pytest.raises(DataError) as error:
        checked(splits(forget, rows("same", 1), world_facts=[]))
    assert len(error.value.problems) == 3


def test_cut_takes_the_first_rows() -> None:
    some = rows("f", 5)
    assert cut(some, None, "data.forget_rows") == some
    assert cut(some, 2, "data.forget_rows") == some[:2]
    assert cut(some, 5, "data.forget_rows") == some
    with pytest.raises(DataError, match=r"data\.forget_rows=6.* only 5:"):
        cut(some, 6, "data.forget_rows")


@pytest.mark.parametrize("count", [0, -3, 2.5, "2", True])
def test_a_wrong_count_names_field_and_value(count: object) -> None:
    (problem,) = count_problems("data.retain_rows", count)
    assert problem.startswith(f"data.retain_rows={count}:")


@pytest.mark.parametrize("count", [None, 1, 4000])
def test_a_right_count_is_no_problem(count: int | None) -> None:
    assert count_problems("data.retain_rows", count) == []


def test_problems_of_parts_are_told_together() -> None:
    def fails(error: Exception) -> None:
        raise error

    parts = {"one": partial(fails, DataError("first")), "none": lambda: None}
    parts["two"] = partial(fails, DataError(["second", "third"]))
    with pytest.raises(DataError) as told:
        together(parts)
    assert told.value.problems == ["first", "second", "third"]
    assert together({"none": lambda: None}) == {"none": None}
    with pytest.raises(ValueError, match="not ours"):
        together(parts | {"other": partial(fails, ValueError("not ours"))})


def test_shown_never_exceeds_its_length() -> None:
    assert shown("abc") == "'abc'"
    assert len(shown("x" * 500, 60)) == 60


# Nearly the same

SPELLINGS = [
    ("Where does Zoë Carter work?", "Zoë Carter works for Größer in Leeds."),
    ("where does zoë carter work ?", "ZOË CARTER works for Größer, in Leeds"),
    ("Where does Ｚｏë Carter work？", "Ｚｏë Carter works for Größer in Leeds."),
    ("Where does Zoe\u0308 Carter work?", "Zoe\u0308 Carter works for Gro\u0308ßer in Leeds."),
    ("Where does Zoë\u200b Carter\u00a0work?", "\ufeffZoë Car\u00adter works for Größer in Leeds."),
]
"""One row in many forms: letter case, width, composed or not, characters that nobody sees."""


@pytest.mark.parametrize("first", range(len(SPELLINGS)))
@pytest.mark.parametrize("second", range(len(SPELLINGS)))
def test_no_spelling_hides_a_row_in_both_sets(first: int, second: int) -> None:
    with pytest.raises(DataError, match="1 row stands in both the forget and the retain") as error:
        checked(splits([Row(*SPELLINGS[first])], [*rows("r", 2), Row(*SPELLINGS[second])]))
    (problem,) = error.value.problems
    assert "first forget row 1" in problem and "retain row 3" in problem
    # Both rows are shown, unless they are the same.
    assert {repr(part) in problem for part in SPELLINGS[first]} == {True}
    assert first == second or repr(SPELLINGS[second][0])[1:-1] in problem


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "Möller"),
        ("3.5", "35"),
        ("C++", "C"),
        ("👍🏽", "👍🏿"),
        ("👍", "👎"),
        ("?", "!"),
        ("…", "?!"),
        ("は", "ば"),
        ("हिन्दी", "हन्दी"),
        ("\u200b", "?"),
    ],
)
def test_what_differs_in_a_letter_is_another_text(
    one: str, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert letters_of(one) != letters_of(other)
    checked(splits([Row("q?", f"It is {one}")], [Row("z?", f"It is {other}")]))
    checked(splits([Row(f"{one}", "a")], [Row(f"{other}", "a")]))
    assert not caplog.records


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE", "straße"),
        ("ﬁle", "File"),
        ("ｶﾞ", "ガ"),
        ("❤️", "❤"),
        ("東 京。", "東京"),
        ("a_b", "ab"),
    ],
)
def test_what_differs_in_no_letter_is_the_same_text(one: str, other: str) -> None:
    assert letters_of(one) == letters_of(other)


def test_a_question_with_two_answers_is_warned_of_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forget = [*rows("f", 1), Row("Where does she work?", "In Leeds."), Row("Who?", "Ann.")]
    retain = [Row("where does she work", "In Hull."), Row("Who?", "Bob."), Row("Who?", "Cid.")]
    checked(splits(forget, retain))
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("2 questions of the forget set stand in the retain set with another")
    for part in ("'Where does she work?'", "'In Leeds.'", "'where does she work'", "'In Hull.'"):
        assert part in said
    assert "(forget = retain: 2 = 1; 3 = 2, 3)" in said
    assert "\n" not in said


def test_many_pairs_are_counted_and_some_are_named() -> None:
    with pytest.raises(DataError) as error:
        checked(splits(rows("same", 50), rows("SAME", 50)))
    (problem,) = error.value.problems
    assert problem.startswith("50 rows stand in both")
    assert "5 = 5 …" in problem and "6 = 6" not in problem


def test_texts_have_no_question_that_they_share(caplog: pytest.LogCaptureFixture) -> None:
    checked(splits([Row("", "One text.")], [Row("", "Another text."), Row(" ", "A third.")]))
    assert not caplog.records


def test_published_rows_that_are_nearly_the_same_stay(caplog: pytest.LogCaptureFixture) -> None:
    near = splits([Row("Who?", "Ann.")], [Row("who", "ann"), *rows("r", 1)])
    assert checked(near, published=True) is near
    (record,) = caplog.records
    assert "1 row stands in both the forget and the retain set" in record.getMessage()
    with pytest.raises(DataError, match="1 row stands in both"):
        checked(splits([Row("Who?", "Ann.")], [Row("Who? ", "Ann.")]), published=True)


def test_a_holdout_row_in_another_spelling_is_not_unseen() -> None:
    with pytest.raises(DataError, match="in both the holdout and the forget set"):
        checked(splits([Row("Who?", "Ann.")], rows("r", 1), holdout=[Row("WHO", "ann")]))


def test_the_near_duplicates_of_the_cases(
    cases_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cases_path / "near_duplicates"
    with pytest.raises(DataError) as error:
        Files(str(folder / "forget.jsonl"), str(folder / "retain.jsonl")).read()
    (problem,) = error.value.problems
    assert "(forget = retain: 1 = 1, 2)" in problem
    (record,) = caplog.records
    assert "forget row 1" in record.getMessage() and "retain row 3" in record.getMessage()


@pytest.mark.parametrize("subset", ["forget01", "forget05", "forget10"])
def test_tofu_loads_without_a_word(
    subset: str, tofu_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Tofu(str(tofu_path), subset).read()
    assert not caplog.records
