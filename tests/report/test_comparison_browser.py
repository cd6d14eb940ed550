"""`comparison.html` as a person uses it, in headless Chromium without a network.

Needs a Chromium on the machine (Debian: apt install chromium); skipped with that reason elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fabricated_sweep import HOSTILE, fabricate_job, fabricate_sweep, say

from unlearn.report.comparison import compare, write_comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

WHERE = """(chart, run) => {
    const of = chart.data.find((trace) => trace.customdata && trace.customdata.includes(run));
    const [place, box] = [of.customdata.indexOf(run), chart.getBoundingClientRect()];
    const { xaxis, yaxis } = chart._fullLayout;
    return [box.x + xaxis._offset + xaxis.d2p(of.x[place]),
            box.y + yaxis._offset + yaxis.d2p(of.y[place])];
}"""
"""Where the symbol of a run is drawn, in pixels of the window."""
SMALL = """() => [...document.querySelectorAll("main *")].filter((one) =>
    one.children.length === 0 && one.textContent.trim() && !one.closest("svg")
    && one.getBoundingClientRect().width > 0 && parseFloat(getComputedStyle(one).fontSize) < 10.5
).map((one) => one.textContent)"""
"""What is written too small to read."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"),
]

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fabricate_sweep(tmp_path_factory.mktemp("sweep"))
    say(folder / "0-linear-minitofu-tiny", "after", 0, HOSTILE)
    fabricate_job(folder / "80-x", f"method.note='{HOSTILE}'", forget=0.9, retain=0.2)
    fabricate_job(folder / "82-x", "method=near", forget=0.09, retain=0.95)
    fabricate_job(folder / "81-x", "method=other", identity={"max_new_tokens": 200})
    write_comparison(compare([folder]), folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """The page, and all that it complained about or asked for."""

    def __init__(self, browser: Any, file: Path, width: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("[data-chart=plane] .points path")


@pytest.fixture(scope="module", params=[1280, 390], ids=["wide", "narrow"])
def opened(browser: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The page in a wide and a narrow window; each test uses another part of it."""
    opened = Opened(browser, folder / "comparison.html", request.param)
    yield opened
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert opened.page.title().startswith("Comparison: "), "no text has run as a script"
    opened.context.close()


def column(page: Any, title: str) -> tuple[Any, list[str]]:
    """Return the head of a column of the first table, and the values below it."""
    table = page.locator("section.kind table.sortable").first
    heads = table.locator("thead th")
    titles = [text.split("\n")[0] for text in heads.all_inner_texts()]
    place = titles.index(title)
    cells = table.locator(f"tbody tr > :nth-child({place + 1})")
    return heads.nth(place), cells.evaluate_all("cells => cells.map(c => c.dataset.value)")


def test_columns_sort_by_mouse_and_keyboard(opened: Opened) -> None:
    page = opened.page
    head, values = column(page, "forget ROUGE-L")
    assert head.get_attribute("aria-sort") is None
    head.locator("button").click()
    found = [float(value) for value in column(page, "forget ROUGE-L")[1]]
    assert found == sorted(map(float, values))
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert [float(value) for value in column(page, "forget ROUGE-L")[1]] == found[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    other, _ = column(page, "retain ROUGE-L")
    other.locator("button").focus()
    page.keyboard.press("Space")
    best = [float(value) for value in column(page, "retain ROUGE-L")[1]]
    assert best == sorted(best, reverse=True), "what is better stands first"
    assert head.get_attribute("aria-sort") is None


def test_pointing_shows_the_run_its_command_and_its_answers(opened: Opened) -> None:
    page = opened.page
    card = page.locator(".card").first
    chart = page.locator("[data-chart=plane]").first
    chart.scroll_into_view_if_needed()
    for run in (0, 11):
        page.mouse.move(*chart.evaluate(WHERE, run))
        seed, share = run % 3, (run // 3 + 1) / 5
        api.expect(card).to_contain_text(f"{run}-linear-minitofu-tiny, seed {seed}")
        told = f"seed={seed} tracker=none method=linear method.weighting.retain_share={share:.3g}"
        api.expect(card.locator("pre")).to_have_text(f"unlearn {told}")
        api.expect(card).to_contain_text("forget: What did author 0 of the forget rows write?")
        api.expect(page.locator(".hoverlayer .hovertext").first).to_contain_text("across 0.")
        if run == 0:
            api.expect(card).to_contain_text(HOSTILE)
    assert page.locator("img").count() == 0


def test_a_name_in_the_table_shows_the_run_without_a_mouse(opened: Opened) -> None:
    name = opened.page.locator("tbody button.show", has_text="method.note").first
    name.press("Enter")
    card = opened.page.locator(".card").first
    api.expect(card).to_contain_text(HOSTILE)
    api.expect(card).to_contain_text("80-x, seed 0")


def test_the_plane_marks_front_target_and_reference(opened: Opened) -> None:
    legend = opened.page.locator("[data-chart=plane] .legend").first
    for word in ("front, hypervolume 0.", "target", "reference"):
        api.expect(legend).to_contain_text(word)


def test_the_plane_is_chosen(opened: Opened) -> None:
    root = opened.page.locator("section.kind").first
    title = root.locator("[data-chart=plane] .xtitle")
    chosen = root.locator("[data-plane]")
    assert chosen.locator("option").all_inner_texts() == [
        "forget distance × retain",
        "forget quality × model utility",
    ]
    api.expect(title).to_contain_text("distance from the reference's (less is better)")
    chosen.select_option("1")
    api.expect(title).to_contain_text("forget quality, a p-value (higher is better)")
    api.expect(root.locator("[data-of-plane]:visible")).to_contain_text("forget quality")
    chosen.select_option("0")
    api.expect(title).to_contain_text("ROUGE-L recall on forget rows")
    for word in ("recommended", "hollow: below the reference, over-forgotten"):
        api.expect(root.locator("[data-chart=plane] .legend")).to_contain_text(word)


def test_questions_are_searched_filtered_and_sorted(opened: Opened) -> None:
    page = opened.page
    root = page.locator("section.kind").first
    found, items = root.locator("[data-found]"), root.locator(".question")
    assert "20 questions" in found.inner_text(), "the forget rows at first"
    root.locator("[data-split]").select_option("")
    assert "56 questions, 20 shown" in found.inner_text()
    root.locator("[data-more]").click()
    assert items.count() == 40
    root.locator("[data-search]").fill("author 13 retain")
    assert "1 questions" in found.inner_text()
    api.expect(items.first).to_contain_text("What did author 13 of the retain rows write?")
    root.locator("[data-search]").fill("")
    root.locator("[data-split]").select_option("forget")
    root.locator("[data-sort]").select_option("highest")
    scores = items.locator("dt", has_text="after").all_inner_texts()
    assert "1.000" in scores[0]
    assert "0.100" in scores[-1]
    root.locator("[data-sort]").select_option("row")
    root.locator("[data-run=second]").select_option(index=2)
    assert items.first.locator("dt").count() == 5, "truth, before, two runs, reference"
    api.expect(items.first).to_contain_text(HOSTILE)


def test_curves_are_drawn_for_what_is_ticked(opened: Opened) -> None:
    root = opened.page.locator("section.kind").first
    lines = root.locator("[data-chart=forget] .scatterlayer .trace")
    api.expect(lines).to_have_count(14)
    root.locator("[data-all='']").click()
    api.expect(lines).to_have_count(0)
    root.locator(".choices input").first.check()
    for name in ("forget", "retain", "rate"):
        api.expect(root.locator(f"[data-chart={name}] .scatterlayer .trace")).to_have_count(3)
    assert root.locator("[data-chart=rate]").evaluate("c => c._fullLayout.yaxis.type") == "log"


def test_the_page_is_no_wider_than_the_window(opened: Opened) -> None:
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= opened.page.viewport_size["width"]
    small = opened.page.evaluate(SMALL)
    assert small == [], "no text is too small to read"


def test_unlike_runs_have_a_plane_of_their_own(opened: Opened) -> None:
    assert opened.page.locator("section.kind").count() == 2
    api.expect(opened.page.locator("h2").nth(1)).to_contain_text("max_new_tokens: 200 here, 80")
    assert opened.page.locator("[data-chart=plane]").count() == 2
