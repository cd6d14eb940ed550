"""The readers of WMDP, LUME, RWKU and KnowUnDo on made-up folders in their layouts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from support.muse_like import article
from support.published_like import (
    PEOPLE,
    QUESTIONS_OF_RWKU,
    four_choices,
    knowundo,
    lume,
    probe,
    write,
    write_corpora,
    write_knowundo,
    write_lume,
    write_rwku,
    write_wmdp,
)
from support.published_like import rwku as rwku_parts

from unlearn.data.knowundo import KnowUnDo
from unlearn.data.lume import Lume
from unlearn.data.rwku import Rwku
from unlearn.data.splits import Judged, Row
from unlearn.data.wmdp import QUESTIONS, Wmdp
from unlearn.errors import ConfigurationError, DataError
from unlearn.evaluation.names import catalogue_of, measurable
from unlearn.options.schema import EvaluationConfig


def problems_of(reader: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        reader.read()
    return error.value.problems


def refused(kind: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        kind(**options)
    return error.value.problems


# WMDP


@pytest.fixture(scope="module")
def wmdp(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("wmdp")
    return write_wmdp(folder / "wmdp", QUESTIONS), write_corpora(folder / "corpora")


def wmdp_of(wmdp: tuple[Path, Path], **options: Any) -> Wmdp:
    return Wmdp(str(wmdp[0]), str(wmdp[1]), **options)


def test_wmdp_forgets_texts_and_asks_questions(wmdp: tuple[Path, Path]) -> None:
    splits = wmdp_of(wmdp, questions=["cyber", "chem"], forget_rows=7, retain_rows=450).read()
    assert splits.name == "wmdp_cyber"
    assert splits.forget == [Row("", article(number)) for number in range(7)]
    assert splits.retain == [Row("", article(number)) for number in range(5000, 5450)]
    sizes = {name: len(rows) for name, rows in splits.evaluated.items()}
    assert sizes == {"forget": 7, "retain": 400, "wmdp_cyber": 1987, "wmdp_chem": 408}
    assert splits.judged["wmdp_cyber"] == Judged("forget", "continuation")
    assert not splits.benchmark, "nobody is taught what must not be known"
    first = four_choices(1)
    assert splits.evaluated["wmdp_chem"][1] == Row(
        "The following are multiple choice questions (with answers) about chemistry.\n\n"
        f"{first['question'].strip()}\nA. {first['choices'][0]}\nB. {first['choices'][1]}\n"
        f"C. {first['choices'][2]}\nD. {first['choices'][3]}\nAnswer:",
        "B",
        perturbed_answers=("A", "C", "D"),
    )


def test_wmdp_accuracy_is_better_lower(wmdp: tuple[Path, Path]) -> None:
    splits = wmdp_of(wmdp).read()
    names = measurable(splits, EvaluationConfig(), False)
    assert "wmdp_cyber/accuracy" in names
    assert "wmdp_cyber/rougeL_recall" not in names
    metric = catalogue_of(splits)["wmdp_cyber/accuracy"]
    assert (metric.better, metric.follows) == ("lower", True)


def test_wmdp_in_the_layout_of_the_hub(wmdp: tuple[Path, Path], tmp_path: Path) -> None:
    parquet = (
        write_wmdp(tmp_path / "wmdp", {"cyber": QUESTIONS["cyber"]}, ".parquet"),
        write_corpora(tmp_path / "corpora", ".parquet"),
    )
    assert wmdp_of(parquet).read() == wmdp_of(wmdp).read()


def test_wmdp_asks_the_hub_for_configuration_and_split(
    wmdp: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked = []

    def load(path: str, name: str, split: str) -> datasets.Dataset:
        asked.append((path, name, split))
        folder = wmdp[1] if path.endswith("corpora") else wmdp[0]
        lines = (folder / name / f"{split}.jsonl").read_text().split("\n")
        return datasets.Dataset.from_list([json.loads(line) for line in lines])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert Wmdp().read() == wmdp_of(wmdp).read()
    assert asked == [
        ("cais/wmdp-corpora", "cyber-forget-corpus", "train"),
        ("cais/wmdp-corpora", "cyber-retain-corpus", "train"),
        ("cais/wmdp", "wmdp-cyber", "test"),
    ]


def test_wmdp_with_texts_of_ones_own(wmdp: tuple[Path, Path], tmp_path: Path) -> None:
    named = {
        name: str(write(tmp_path, name, [{"text": article(n), "doi": str(n)} for n in numbers]))
        for name, numbers in (("forget", (1, 2)), ("retain", (3, 4, 2)))
    }
    splits = wmdp_of((wmdp[0], tmp_path / "absent"), subset="bio", **named).read()
    assert splits.name == "wmdp_bio"
    assert splits.forget == [Row("", article(1)), Row("", article(2))]
    assert splits.retain == [Row("", article(3)), Row("", article(4))], "the request comes first"
    assert len(splits.evaluated["wmdp_bio"]) == 1273
    named["forget"] = str(write(tmp_path, "asked", [{"question": "q?", "answer": "a"}]))
    (problem,) = problems_of(wmdp_of(wmdp, **named))
    assert "data.forget=" in problem
    assert "WMDP forgets and keeps texts" in problem


def test_wmdp_says_what_is_missing(wmdp: tuple[Path, Path], tmp_path: Path) -> None:
    folder = write_wmdp(tmp_path / "short", {"cyber": 1980})
    (problem,) = problems_of(wmdp_of((folder, wmdp[1])))
    assert "has 1980 rows, but WMDP's wmdp-cyber was published with 1987" in problem
    assert "hf download cais/wmdp --repo-type dataset" in problem
    (lacking,) = problems_of(wmdp_of((folder, wmdp[1]), questions=["bio"]))
    assert f"data.path={folder} lacks wmdp-bio/test. " in lacking
    (texts,) = problems_of(wmdp_of((wmdp[0], tmp_path / "short")))
    assert "lacks cyber-forget-corpus/train, cyber-retain-corpus/train" in texts
    assert texts.startswith("data.corpora=")


def test_wmdp_says_that_there_are_more(
    wmdp: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_wmdp(tmp_path, {"cyber": 1990})
    with caplog.at_level(logging.INFO):
        assert len(wmdp_of((folder, wmdp[1])).read().evaluated["wmdp_cyber"]) == 1990
    assert "has 1990 rows, and was published with 1987" in caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choices": ["a", "b", "c"]}, "'choices' is no list of four texts"),
        ({"answer": 4}, "'answer' is no number from 0 to 3"),
        ({"answer": "B"}, "'answer' is no number from 0 to 3"),
        ({"question": " "}, "'question' is no text"),
    ],
)
def test_wmdp_refuses_other_questions(
    change: dict[str, Any], told: str, wmdp: tuple[Path, Path], tmp_path: Path
) -> None:
    records = [four_choices(number) for number in range(1987)]
    records[5] |= change
    write(tmp_path, "wmdp-cyber/test", records)
    (problem,) = problems_of(wmdp_of((tmp_path, wmdp[1])))
    assert "test.jsonl:6: " in problem
    assert told in problem


def test_wmdp_names_missing_columns(wmdp: tuple[Path, Path], tmp_path: Path) -> None:
    write(tmp_path, "wmdp-cyber/test", [{"prompt": "q", "choices": [], "answer": 0}] * 1987)
    (problem,) = problems_of(wmdp_of((tmp_path, wmdp[1])))
    assert "has no column 'question'; its columns are 'prompt', 'choices', 'answer'" in problem


def test_wmdp_options() -> None:
    assert "data.subset=chem: give one of bio, cyber." in refused(Wmdp, subset="chem")
    assert "data.questions=['math']" in refused(Wmdp, questions=["math"])[0]
    assert "on request alone" in refused(Wmdp, subset="bio")[0]
    assert len(refused(Wmdp, path="", corpora="", retain_rows=0)) == 3


# LUME


def test_lume_has_a_quiz_for_each_task_and_kind(tmp_path: Path) -> None:
    splits = Lume(str(write_lume(tmp_path))).read()
    assert splits.name == "lume"
    assert (len(splits.forget), len(splits.retain)) == (12, 12)
    assert list(splits.quizzes)[:2] == ["forget/regurgitation_task1", "forget/knowledge_task1"]
    assert len(splits.quizzes) == 12
    rows = {row["id"]: Row(row["input"], row["output"]) for row in lume(0)}
    recited = splits.quizzes["forget/regurgitation_task2"]
    known = splits.quizzes["forget/knowledge_task2"]
    assert recited.rows == [rows["200sc1"], rows["201sc1"]]
    assert known.rows == [rows['"200"qa2'], rows['"201"qa2']]
    assert (recited.score, known.score) == ("rougeL_recall", "exact_match")
    assert recited.templated
    catalogue = catalogue_of(splits)
    assert catalogue["forget/knowledge_task3"].better == "lower"
    assert catalogue["retain/knowledge_task3"].better == "higher"
    assert "lume_score" in measurable(splits, EvaluationConfig(), False)
    assert catalogue["lume_score"].better == "higher"


def test_lume_in_folds_and_cut(tmp_path: Path) -> None:
    folder = str(write_lume(tmp_path, "_train"))
    assert Lume(folder, "train").read().name == "lume_train"
    (problem,) = problems_of(Lume(folder))
    assert "lacks data/forget, data/retain. " in problem
    fewer = Lume(folder, "train", forget_rows=2).read()
    assert [name for name in fewer.quizzes if name.startswith("forget")] == [
        "forget/regurgitation_task1",
        "forget/knowledge_task1",
    ]
    assert "lume_score" not in measurable(fewer, EvaluationConfig(), False)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("id", "17", "'id' '17' ends in neither sc nor qa and a number"),
        ("task", "Task4", "'task' 'Task4' is none of Task1, Task2 and Task3"),
    ],
)
def test_lume_refuses_other_rows(column: str, value: str, told: str, tmp_path: Path) -> None:
    folder = write_lume(tmp_path)
    rows = lume(0)
    rows[3][column] = value
    write(folder, "data/forget", rows)
    (problem,) = problems_of(Lume(str(folder)))
    assert "forget.jsonl:4: " in problem
    assert told in problem


def test_lume_says_which_task_is_missing(tmp_path: Path) -> None:
    folder = write_lume(tmp_path)
    rows = [row for row in lume(0) if row["task"] != "Task2" or "sc" in row["id"]]
    write(folder, "data/forget", rows)
    (problem,) = problems_of(Lume(str(folder)))
    assert "the forget set has no rows for knowledge of task2. " in problem
    (folder / "data" / "retain.jsonl").write_text('{"input": "a", "output": "b"}')
    told = problems_of(Lume(str(folder)))
    assert any("has no column 'id' and no column 'task'" in one for one in told)


def test_lume_options() -> None:
    assert "data.path is not set" in refused(Lume)[0]
    assert "data.fold=test: give one of train, validation, or null." in refused(
        Lume, path="x", fold="test"
    )


# RWKU


@pytest.fixture(scope="module")
def rwku(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rwku(tmp_path_factory.mktemp("rwku"), QUESTIONS_OF_RWKU)


def test_rwku_forgets_a_person_and_asks_at_three_levels(rwku: Path) -> None:
    splits = Rwku(str(rwku)).read()
    assert splits.name == "rwku_Odile_Marsh"
    assert splits.forget == [Row("", article(number)) for number in (0, 1, 2)]
    assert splits.retain == [Row("", article(n)) for n in (100, 101, 102, 200, 201, 202)]
    assert not splits.benchmark
    assert list(splits.quizzes) == [
        *(f"forget/level{n}" for n in (1, 2, 3)),
        *("neighbor/level1", "neighbor/level2", "utility/factuality"),
    ]
    one = probe(1, 0, PEOPLE[0])
    blank = "Please complete the blank in the following question.\nQuestion: "
    assert splits.quizzes["forget/level1"].rows == [Row(blank + one["query"], one["answer"])]
    assert splits.quizzes["forget/level1"].score == "rougeL_recall"
    facts = splits.quizzes["utility/factuality"]
    assert (facts.rows[0].answer, facts.also) == ("Varn", (("the Isle of Varn",),))
    catalogue = catalogue_of(splits)
    ways = {name: catalogue[name].better for name in splits.quizzes}
    assert ways["forget/level3"] == "lower"
    assert ways["neighbor/level2"] == ways["utility/factuality"] == "higher"
    assert splits.judged["utility_general"] == Judged("keep", "continuation")
    assert splits.judged["utility_truthfulness"] == Judged("keep", "multiple_choice")
    (truth, _) = splits.evaluated["utility_truthfulness"]
    assert (truth.answer, truth.perturbed_answers) == ("No.", ("Yes.", "On Sundays."))
    general = splits.evaluated["utility_general"][0]
    assert general.question.startswith(
        "The following are multiple choice questions (with answers) about island law.\n\nNumber 90:"
    )
    assert "Answer: C\n\nNumber 91:" in general.question, "the examples have their answers"
    assert general.question.endswith("\nAnswer:")


def test_rwku_words_its_adversarial_prompts_as_the_authors_do(rwku: Path) -> None:
    quizzes = Rwku(str(rwku), subjects=list(PEOPLE[:2]), utility=False).read().quizzes
    brief, shown = (row.question for row in quizzes["forget/level3"].rows)
    assert brief.startswith("Please briefly answer the following question.\nQuestion: What did")
    assert shown.startswith("Please briefly answer the following question.\nWhat did")


def test_rwku_people_are_named(rwku: Path) -> None:
    splits = Rwku(str(rwku), subjects=["Runa Holm", "Emil Varn"], retain_subjects=1).read()
    assert splits.name == "rwku_2"
    assert splits.retain == [Row("", article(number)) for number in (0, 1, 2)]
    (problem,) = problems_of(Rwku(str(rwku), subjects=["Odile Marsch"]))
    assert problem == (
        "data.subjects: no texts on Odile Marsch in RWKU's passage; did you mean Odile Marsh?"
    )


def test_rwku_says_what_is_missing(rwku: Path, tmp_path: Path) -> None:
    (problem,) = problems_of(Rwku(str(rwku), corpus="positive"))
    assert f"data.path={rwku} lacks All/positive. " in problem
    assert (
        "is a folder of RWKU's files; give the one above it"
        in problems_of(Rwku(str(rwku / "All")))[0]
    )
    folder = write_rwku(tmp_path, QUESTIONS_OF_RWKU | {"forget_level2": 2878})
    (short,) = problems_of(Rwku(str(folder)))
    assert "has 2878 rows, but RWKU's forget_level2 was published with 2879" in short
    write_rwku(tmp_path, QUESTIONS_OF_RWKU)
    write(folder, "All/truthful", [{"subject": PEOPLE[0], "question": "q", "mc1": {}}], ".json")
    assert "has no column 'mc1_targets'" in problems_of(Rwku(str(folder)))[0]
    targets = {"choices": ["a", "b"], "labels": [1, 1]}
    record = {"subject": PEOPLE[0], "question": "q", "mc1_targets": targets}
    write(folder, "All/truthful", [record], ".json")
    assert "labels of which one is 1" in problems_of(Rwku(str(folder)))[0]


def test_rwku_options() -> None:
    assert "data.corpus=negative: give one of passage, positive, positive_phi." in refused(
        Rwku, corpus="negative"
    )
    assert "data.subjects=[]" in refused(Rwku, subjects=[])[0]
    assert "data.retain_subjects=0: give 1 or more." in refused(Rwku, retain_subjects=0)


# KnowUnDo


@pytest.mark.parametrize("indent", [None, 2])
def test_knowundo_learns_train_and_scores_val(indent: int | None, tmp_path: Path) -> None:
    splits = KnowUnDo(str(write_knowundo(tmp_path, indent=indent))).read()

    def rows(first: int, fold: str) -> list[Row]:
        return [Row(row["text"], row["labels"]) for row in knowundo(first)[fold]]

    assert splits.name == "knowundo_copyright"
    assert splits.forget == splits.evaluated["forget"] == rows(0, "train")
    assert splits.retain == rows(500, "train")
    assert splits.evaluated["forget_val"] == rows(0, "val")
    assert splits.background == splits.evaluated["retain_val"] == rows(500, "val")
    catalogue = catalogue_of(splits)
    assert catalogue["forget_val/exact_memorization"].better == "lower"
    assert catalogue["retain_val/exact_memorization"].better == "higher"


def test_knowundo_says_what_is_missing(tmp_path: Path) -> None:
    folder = write_knowundo(tmp_path)
    (problem,) = problems_of(KnowUnDo(str(folder), domain="privacy"))
    assert "lacks privacy/unlearn, privacy/retention. " in problem
    path = folder / "copyright" / "unlearn.json"
    path.write_text(json.dumps([{"train": knowundo(0)["train"]}]))
    assert "has no column 'val'; its columns are 'train'" in problems_of(KnowUnDo(str(folder)))[0]
    path.write_text(json.dumps([knowundo(0), knowundo(1)]))
    assert "has 2 records; KnowUnDo's files are one record" in problems_of(KnowUnDo(str(folder)))[0]
    path.write_text(json.dumps([{"train": [{"text": "q", "label": "a"}], "val": "none"}]))
    told = problems_of(KnowUnDo(str(folder)))
    assert "train has no column 'labels'" in told[0]
    assert "'val' is no list of rows but 'none'" in told[1]


def test_knowundo_options() -> None:
    assert "data.domain=books: give one of copyright, privacy." in refused(KnowUnDo, domain="books")


# The hub: each is asked for its configurations and splits, and gives what the folder gives.


@pytest.mark.parametrize("kind", [Lume, Rwku, KnowUnDo])
def test_the_hub_gives_the_same(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    folder = tmp_path / "folder"
    if kind is Lume:
        parts = {"default/forget": lume(0), "default/retain": lume(1000)}
        write_lume(folder)
    elif kind is Rwku:
        made = rwku_parts(QUESTIONS_OF_RWKU)
        named = {
            "passage": "train_original_passage/train",
            "retain_mmlu": "utility_general/test",
            "truthful": "utility_truthfulness/test",
            "triviaqa": "utility_factuality/test",
        }
        parts = {named.get(name, f"{name}/test"): rows for name, rows in made.items()}
        write_rwku(folder, QUESTIONS_OF_RWKU)
    else:
        parts = {"copyright/unlearn": [knowundo(0)], "copyright/retention": [knowundo(500)]}
        write_knowundo(folder)
    asked = []

    def load(path: str, name: str, split: str) -> datasets.Dataset:
        asked.append(f"{name}/{split}")
        return datasets.Dataset.from_list([dict(row) for row in parts[f"{name}/{split}"]])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert kind("somebody/somewhere").read() == kind(str(folder)).read()
    assert set(asked) == parts.keys()
