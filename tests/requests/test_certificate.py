"""Certificates and decision pages: what they tell, in every language, and as they are opened."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command import files_in

from unlearn.requests import Ledger
from unlearn.requests.certificate.facts import facts_of
from unlearn.requests.certificate.lights import is_share, light_of, shown
from unlearn.requests.certificate.sheets import label, rendered, rule
from unlearn.requests.options import Reporting
from unlearn.requests.phrases import languages, words_in

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = '<script>document.title="run"</script>{{ 7 * 7 }}'


def condition(metric: str, rule: str, bound: Any, value: float | None, met: bool) -> dict[str, Any]:
    return {"metric": metric, "rule": rule, "bound": bound, "value": value, "met": met}


def facts(ledger: Ledger, language: str = "en", **changes: Any) -> dict[str, Any]:
    found = facts_of(ledger, "B", Reporting(language, 60.0), texts=False)
    return {**found, **changes}


def fields(value: Any, prefix: str = "") -> dict[str, set[str]]:
    """The places for values in every phrase, by the phrase's key."""
    if isinstance(value, dict):
        return {
            k: v for key, one in value.items() for k, v in fields(one, f"{prefix}.{key}").items()
        }
    return {prefix: set(re.findall(r"{(\w+)}", str(value)))}


def test_every_language_has_every_phrase_with_the_same_values() -> None:
    assert set(languages()) >= {"en", "ja"}
    for language in languages():
        assert words_in(language)["code"] == language
        assert fields(words_in(language)) == fields(words_in("en"))


def test_the_certificate_tells_what_was_asked_measured_and_decided(ledger: Ledger) -> None:
    found = facts(ledger)
    accepted = ledger.requests["B"].accepted
    assert found["models"]["before"] == accepted["head"]
    assert found["models"]["after"] == found["models"]["in_use"] == ledger.head.sha256
    assert [run["outcome"] for run in found["runs"]] == ["refused", "accepted"]
    assert found["earlier"] == {"checked": ["A"], "rows": 2, "unchecked": []}
    assert found["metrics"] == accepted["metrics"]
    seconds = sum(
        event["cost"][part]
        for event in ledger.requests["B"].runs
        for part in ("prepare_s", "train_s", "evaluate_s")
    )
    assert found["cost"]["money"] == pytest.approx(seconds / 60, abs=1e-3), "an hour costs 60"
    assert found["command"].startswith("unlearn data=requests method=ngdiff_guarded")
    page = rendered("certificate", found, words_in("en"))
    for told in (found["models"]["after"], found["book"]["sha256"], "price", "GDPR"):
        assert (told in page) is (told != "GDPR")


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("page", ["certificate", "decision"])
def test_a_page_asks_nothing_of_a_network_and_obeys_no_text(
    ledger: Ledger, page: str, language: str
) -> None:
    found = facts(ledger, language)
    found["request"] = {**found["request"], "reason": HOSTILE, "subject": HOSTILE}
    text = rendered(page, found, words_in(language))
    assert "<script" not in text
    assert "{{ 7 * 7 }}" in text
    assert not re.search(r"""(src|href|url)\s*[=(]""", text)
    assert f'<html lang="{language}">' in text


def test_without_texts_no_row_is_told_and_with_them_rows_are(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "ledger", tmp_path / "ledger")
    ledger = Ledger(tmp_path / "ledger")
    paths = ledger.report("A")
    assert [path.name for path in paths] == [
        "certificate.html",
        "certificate.json",
        "decision.html",
    ]
    assert not any("Ana" in path.read_text(encoding="utf-8") for path in paths)
    assert json.loads(paths[1].read_text(encoding="utf-8"))["request"]["rows"] == 2
    ledger.report("A", texts=True, reporting=Reporting("ja"))
    assert "Where does Ana live?" in paths[0].read_text(encoding="utf-8")
    assert ledger.verify() == []
    paths[2].write_text("another decision", encoding="utf-8")
    assert ledger.verify() == [f"{paths[2]}: it is not as it was written"]
    ledger.forget_texts("A")
    assert not any(b"Where does Ana live?" in one for one in files_in(ledger.folder).values())


def test_a_light_is_yellow_where_a_condition_is_met_narrowly() -> None:
    share, rule = "retain/rougeL_recall", "at least 0.95"
    assert light_of(condition(share, rule, 0.95, 0.94, False)) == "red"
    assert light_of(condition(share, rule, 0.95, None, False)) == "red"
    assert light_of(condition(share, rule, 0.95, 0.96, True)) == "yellow"
    assert light_of(condition(share, rule, 0.95, 0.99, True)) == "green"
    assert light_of(condition("forget/probability", "within", [-0.1, 0.1], 0.0, True)) == "green"
    assert light_of(condition("kpi/tickets", "at most 100", 100, 99, True)) == "yellow"


def test_numbers_and_rules_are_told_in_words() -> None:
    words = words_in("en")
    assert shown("retain/rougeL_recall", 0.957) == "96 %"
    assert shown("forget/probability", 0.0021) == "0.2 %"
    assert shown("forget/probability", 0.0001) == "< 0.1 %"
    assert shown("kpi/tickets", 12.345) == "12.3"
    assert shown("forget/loss", None) == "–"
    assert not is_share("forget/loss")
    assert rule(condition("forget/probability", "", [-0.1, 0.1], 0, True), words) == "at most 10 %"
    assert rule(condition("forget/probability", "", [0.2, 0.4], 0, True), words) == "20 % to 40 %"
    assert label("forget/rougeL_recall", words).endswith("records to forget")
    assert label("retain/unheard_of", words) == "retain/unheard_of"


def test_the_figure_has_the_box_of_the_conditions(ledger: Ledger) -> None:
    asked = [
        condition("forget/rougeL_recall", "at most 0.25", 0.25, 0.2, True),
        condition("retain/rougeL_recall", "at least 0.5", 0.5, 0.9, True),
    ]
    text = rendered(
        "decision",
        facts(ledger, conditions=[{**a, "light": "green"} for a in asked]),
        words_in("en"),
    )
    (x, y, width, height), *_ = re.findall(
        r'class="box" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/></?[a-z]', text
    )
    plane = 360 - 46 - 18, 300 - 10 - 42
    assert float(width) == pytest.approx(plane[0] / 4, abs=0.2)
    assert float(height) == pytest.approx(plane[1] / 2, abs=0.2)
    assert (float(x), float(y)) == (46, 10)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")
def test_pages_fit_their_windows_and_print_on_two_pages(ledger: Ledger, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for language in languages():
            for name in ("certificate", "decision"):
                file = tmp_path / f"{name}-{language}.html"
                page_text = rendered(name, facts(ledger, language), words_in(language))
                file.write_text(page_text, encoding="utf-8")
                for width in (1280, 390):
                    page = browser.new_page(viewport={"width": width, "height": 900})
                    said: list[str] = []
                    page.on("console", lambda message, said=said: said.append(message.text))
                    page.goto(file.as_uri())
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
                    assert said == []
                printed = page.pdf(prefer_css_page_size=True)
                assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 2
        browser.close()
