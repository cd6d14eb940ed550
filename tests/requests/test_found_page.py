"""`found.html` in headless Chromium, wide and narrow; skipped without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from unlearn.requests.finding import Subject, find

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)"),
]
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def test_the_page_fits_every_window_and_asks_for_nothing(tmp_path: Path) -> None:
    texts = ["Maria Keller </p><script>document.title = 'x'</script>", "M. Keller " + "long" * 200]
    rows = [{"text": text} for text in [*texts, *map(str, range(40))]]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    find([str(data)], Subject(names=("Maria Keller",)), tmp_path / "found")
    complaints: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto((tmp_path / "found" / "found.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.title() == "Rows found: found"
            assert page.locator(".unsure article").first.is_visible()
            assert not page.locator(".forget article").first.is_visible()
            page.locator(".forget summary").first.click()
            assert page.locator(".forget mark").first.inner_text() == "Maria Keller"
        browser.close()
    assert complaints == []
