"""Names in any script on figures: drawn where a font has their letters, else marked and said."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from unlearn.console import once
from unlearn.report import fonts


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is known of fonts, and what was said once, is of one test."""
    yield
    for known in (fonts.families_for, fonts.letters_of):
        known.cache_clear()
    once.said.clear()


def named(name: str) -> Figure:
    figure = Figure(figsize=(2, 2))
    axis = figure.subplots()
    axis.plot([0, 1], [1e-3, 1], label=name)
    axis.set_yscale("log")
    axis.legend()
    figure.suptitle(name)
    return figure


def saved(figure: Figure) -> str:
    """Draw the figure, warnings being errors; return the title that it shows."""
    fonts.make_legible(figure)
    figure.savefig(io.BytesIO())
    return figure.get_suptitle()


@pytest.mark.parametrize("name", ["ngdiff", "Müller-Ökonomie", "модель", "cost $5 and $6", "a^$b"])
def test_what_the_own_font_has_is_shown(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert saved(named(name)) == name
    assert "figures:" not in caplog.text


def test_letters_that_no_font_has_are_marked_and_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [font for font in font_manager.fontManager.ttflist if "DejaVu" in font.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", kept)
    with caplog.at_level(logging.INFO):
        assert saved(named("山田-run")) == "??-run"
        assert saved(named("山田-run")) == "??-run"
    assert caplog.text.count("no font here has 山 田, shown as ?") == 1


def test_a_font_that_has_them_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = font_with("山田", tmp_path / "mountain.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", font_manager.fontManager.ttflist[:])
    font_manager.fontManager.addfont(path)
    figure = named("山田-run")
    assert saved(figure) == "山田-run"
    (title,) = [text for text in figure.texts if text.get_text() == "山田-run"]
    assert title.get_fontfamily()[1] == "Mountain"


def font_with(letters: str, path: Path) -> Path:
    """Make a font that has these letters, each a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(letter):X}" for letter in letters)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, letters), names[1:], strict=True)))
    square = pen.glyph()
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Mountain", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path
