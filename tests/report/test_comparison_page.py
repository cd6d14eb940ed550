"""`comparison.html` as a file: self-contained, safe whatever a model says, and small."""

from __future__ import annotations

import cProfile
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.fabricated_sweep import HOSTILE, fabricate_job, fabricate_sweep, say

from unlearn.record.layout import read_run
from unlearn.report.comparison import compare
from unlearn.report.comparison.asked import Answers, Texts
from unlearn.report.comparison.html import embedded, write_page
from unlearn.report.comparison.payload import curves, payload
from unlearn.report.comparison.styles import style
from unlearn.report.samples import evenly


class Elements(HTMLParser):
    """Collects elements, their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a small sweep, in which a model, an option and an error are hostile."""
    folder = fabricate_sweep(tmp_path_factory.mktemp("sweep"), groups=2, seeds=2)
    say(folder / "0-linear-minitofu-tiny", "after", 0, HOSTILE)
    fabricate_job(folder / "90-x", f"method.note='{HOSTILE}'", forget=0.3)
    fabricate_job(folder / "91-x", "method=y", error=HOSTILE)
    return write_page(folder / "comparison.html", compare([folder]), HOSTILE).read_text()


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def test_nothing_comes_from_elsewhere(elements: Elements) -> None:
    named = [
        (tag, name, value)
        for tag, attributes in elements.found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster")
        or "url(" in str(value)
        or "http" in str(value).replace("http-equiv", "")
    ]
    assert named == []
    own = [script for script in elements.scripts if "plotly.js" not in script[:200]]
    assert len(own) == 2
    assert not re.search(r"https?:|//[a-z]|\bfetch\b|XMLHttp|import\(|innerHTML", "".join(own))
    policy = next(a["content"] for tag, a in elements.found if tag == "meta" and "content" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_what_a_model_says_stays_text(page: str, elements: Elements) -> None:
    tags = {tag for tag, _ in elements.found}
    assert "img" not in tags
    assert len(elements.scripts) == 3, "no text has ended a script or begun one"
    assert not any(name.startswith("on") for _, one in elements.found for name in one)
    data = json.loads(elements.scripts[1])
    assert HOSTILE in data["texts"]
    assert HOSTILE in "".join(elements.words), "the error is shown as it is"
    assert page.count("<body>") == page.count("</body></html>") == 1


@pytest.mark.parametrize("text", [HOSTILE, "\u2028\u2029", "<!--<script>", "]]>", '"\\'])
def test_embedded_data_come_back_and_end_nothing(text: str) -> None:
    written = embedded({"texts": [text]})
    assert "<" not in written
    assert json.loads(written) == {"texts": [text]}


def test_a_column_says_the_way_that_all_its_runs_recorded(tmp_path: Path) -> None:
    """Older records have none, and the package's own declarations stand in."""
    ways = [{"kpi/a": "lower", "kpi/b": "lower"}, {"kpi/a": "lower", "kpi/b": 0}]
    for number, better in enumerate(ways):
        job = fabricate_job(tmp_path / f"{number}-x", f"optimizer.lr={number}")
        summary = json.loads((job / "summary.json").read_text())
        (job / "summary.json").write_text(json.dumps({**summary, "better": better}))
    (section,) = compare([tmp_path]).sections
    assert section.better("kpi/a") == section.better("forget_distance") == "lower"
    assert section.better("forget/probability") == "as reference", "where there is one"
    assert section.better("kpi/b") == section.better("kpi/c") == ""
    assert section.better("overshoot") == "near 0"


def test_tables_have_a_number_to_sort_by_and_what_is_needed_to_read_them(page: str) -> None:
    rows = Elements(page.split("<script>")[0]).found
    heads = [attributes for tag, attributes in rows if tag == "th" and "data-better" in attributes]
    assert {"lower", "higher"} <= {attributes["data-better"] for attributes in heads}
    assert all("data-value" in attributes for tag, attributes in rows if tag == "td")
    assert "method.forget.beta: -1 is out of range" in page
    assert "NumericalError: step 3" in page
    assert "kpi/bits_a_second" in page


def test_unlike_runs_are_sections_with_their_difference(tmp_path: Path) -> None:
    fabricate_job(tmp_path / "0-x", "method=x")
    fabricate_job(tmp_path / "1-x", "method=x", identity={"max_new_tokens": 200})
    page = write_page(tmp_path / "p.html", compare([tmp_path]), "two").read_text()
    assert page.count('<section class="kind"') == 2
    assert "max_new_tokens: 200 here, 80 there" in page
    data = json.loads(Elements(page).scripts[1])
    assert [len(section["runs"]) for section in data["sections"]] == [1, 1]


# The data.


def test_the_answers_are_those_of_the_runs_and_each_text_is_kept_once(tmp_path: Path) -> None:
    folder = fabricate_sweep(tmp_path, groups=2, seeds=2)
    say(folder / "2-linear-minitofu-tiny", "after", 5, "An answer of its own.")
    data = payload(compare([folder]))
    (section,) = data["sections"]
    assert len(data["texts"]) == len(set(data["texts"]))
    assert len(section["sets"]) == 4, "before, reference, after, and one after of its own"
    place = next(
        number
        for number, (split, index, *_) in enumerate(section["questions"])
        if (split, index) == ("forget", 5)
    )
    told = [
        data["texts"][section["sets"][run["answers"]["after"]][0][place]] for run in section["runs"]
    ]
    assert [text == "An answer of its own." for text in told] == [False, False, True, False]
    split, index, question, _ = section["questions"][place]
    assert data["texts"][question] == f"What did author {index} of the {split} rows write?"


def test_too_many_questions_are_thinned_evenly_and_long_texts_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fabricate_sweep(tmp_path, groups=2, seeds=2)
    say(folder / "0-linear-minitofu-tiny", "after", 0, "long " * 1000)
    monkeypatch.setattr("unlearn.report.comparison.asked.BUDGET", 160)
    texts = Texts()
    (section,) = compare([folder]).sections
    answers = Answers(section.runs, texts)
    assert answers.asked == 56
    chosen = [index for split, index, *_ in answers.questions if split == "retain"]
    assert len(chosen) == 10
    assert (chosen[0], chosen[-1]) == (0, 23)
    assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 1
    assert texts.cut == 1
    assert max(map(len, texts.numbers)) < 610
    sampled = [answers.questions[place][0] for place in answers.samples]
    assert sampled == ["forget"] * 3 + ["retain"] * 2
    assert evenly([1, 2], 5) == [1, 2]


def test_curves_are_thinned_without_losing_their_mean(tmp_path: Path) -> None:
    lines = [
        {"step": s, "train/lr": 1 / s, "train/forget_loss": float(s), "train/retain_loss": None}
        for s in range(1, 1001)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    thin = curves(read_run(tmp_path), 100)
    assert len(thin["step"]) == 100
    assert thin["step"][-1] == 1000
    assert thin["rate"][-1] == 0.001
    assert np.mean(np.array(thin["forget"], dtype=float)) == pytest.approx(500.5)
    assert set(thin["retain"]) == {None}
    run = fabricate_job(tmp_path / "0-x", "method=x")
    whole = curves(read_run(run), 100)
    assert whole["step"] == list(range(1, 31))


def test_the_stairs_enclose_the_hypervolume(tmp_path: Path) -> None:
    for job, (auc, utility) in enumerate(((0.5, 0.5), (0.7, 0.6))):
        extra = {"mia_min_k": auc, "model_utility": utility}
        fabricate_job(tmp_path / f"{job}-x", f"method=m{job}", forget=0.2 + job / 9, extra=extra)
    (section,) = compare([tmp_path]).sections
    for drawn in section.planes[0], section.planes[2]:
        stairs = drawn.stairs
        area = sum((right[0] - left[0]) * left[1] for left, right in pairwise(stairs))
        assert stairs[-1][0] == 1.0
        assert area == pytest.approx(drawn.hypervolume)


def test_groups_look_different_with_and_without_colour() -> None:
    looks = [style(place) for place in range(70)]
    assert len(set((look.colour, look.marker) for look in looks)) == 70
    assert len(set(look.marker for look in looks[:10])) == 10


@pytest.mark.slow
def test_120_runs_make_a_page_that_can_be_sent(tmp_path: Path) -> None:
    one = fabricate_job(tmp_path / "one", "method=x")
    summary = json.loads((one / "summary.json").read_text())
    leave_out = shutil.ignore_patterns("model", "*.parquet")
    for number in range(120):
        run = tmp_path / "sweep" / f"{number}-linear"
        shutil.copytree(one, run, ignore=leave_out)
        told = [f"optimizer.lr={number // 3}e-5", f"seed={number % 3}"]
        (run / "summary.json").write_text(
            json.dumps(summary | {"overrides": told, "seed": number % 3})
        )
        file = run / "evaluations" / "after" / "generations.jsonl"
        file.write_text(file.read_text().replace("a <quiet> river", f"river {number}, " * 9))
    folder = tmp_path / "sweep"
    page = write_page(folder / "comparison.html", compare([folder]), "120 runs")
    own = page.stat().st_size - len(
        max(re.findall(r"<script>(.*?)</script>", page.read_text(), re.DOTALL), key=len).encode()
    )
    assert own < 2e6, "besides the charts' library"


def calls_for(folder: Path, groups: int) -> int:
    """Return how many functions are called to compare so many groups and to write their page."""
    counted = cProfile.Profile()
    compared = [folder / f"{job}-linear-minitofu-tiny" for job in range(2 * groups)]
    with counted:
        write_page(folder / "comparison.html", compare(compared), "some runs")
    return sum(entry.callcount for entry in counted.getstats())


@pytest.mark.slow
def test_a_page_of_more_runs_takes_as_much_more_work(tmp_path: Path) -> None:
    """A count, as a time would be the machine's: twice the groups, twice what is not fixed."""
    fabricate_sweep(tmp_path, groups=12, seeds=2)
    calls_for(tmp_path, 3)  # what is computed once in a process
    few, some, many = (calls_for(tmp_path, groups) for groups in (3, 6, 12))
    assert many - some < 2.5 * (some - few)
