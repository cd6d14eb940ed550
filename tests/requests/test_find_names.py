"""Names in every script: what is found, as what, and what is no mention at all."""

from __future__ import annotations

import unicodedata

import pytest

from unlearn.requests.finding.evidence import Detector
from unlearn.requests.finding.folding import fold, spans_of, tokens_of
from unlearn.requests.finding.mentions import apart
from unlearn.requests.finding.sifting import decided
from unlearn.requests.finding.subject import Subject


def mentions(name: str, text: str) -> list[tuple[str, str]]:
    detector = Detector(Subject(names=(name,)))
    folded = fold(text)
    tokens = tokens_of(folded)
    found = []
    if detector.spellings.words and detector.spellings.touches(tokens):
        found += detector.spellings.mentions(text, folded, tokens)
    if detector.unspaced.starts and detector.unspaced.touches(folded):
        found += detector.unspaced.mentions(text, folded)
    return [(one.kind, one.told) for one in apart(found)]


SMITH, IVAN, YUAN = "John Smith", "Иван Петров", "渡辺太郎"
KIND = {
    (SMITH, "I met John Smith."): "exact",
    (SMITH, "JOHN SMITH'S house"): "exact",
    (SMITH, "ＪＯＨＮ　ＳＭＩＴＨ"): "exact",
    (SMITH, "@JohnSmith"): "exact",
    (SMITH, "Smith, John (1970)"): "order",
    (SMITH, "Smith John"): "turned",
    (SMITH, "J. Smith said"): "initials",
    (SMITH, "Smith, J. Q."): "initials",
    (SMITH, "Jonh Smith"): "misspelt",
    (SMITH, "Jon Smith"): "misspelt",
    (SMITH, "John Smit"): "ending",
    (SMITH, "John Q. Smith"): "between",
    (SMITH, "John Quincy Smith"): "between",
    (SMITH, "John Smith-Jones"): "double",
    (SMITH, "John Smith Jr. came"): "suffix",
    ("Jürgen Müller", "Juergen Mueller"): "exact",
    ("Jürgen Müller", "JURGEN MULLER"): "exact",
    ("Gabriel García Márquez", "Garcia Marquez wrote, Gabriel Garcia too"): "without",
    ("Anna-Maria Keller", "Annamaria Keller"): "exact",
    ("Seán O'Brien", "Sean O’Brien"): "exact",
    ("Li Na", "Li Na won"): "exact",
    ("Li Na", "li na won"): "short",
    (IVAN, "Иваном Петровым"): "exact",
    (IVAN, "ИВАН ПЕТРОВ"): "exact",
    (IVAN, "Ивана Петрова"): "ending",
    (IVAN, "И. С. Петров"): "initials",
    (IVAN, "Петров И. С."): "initials",
    (IVAN, "Иван Сергеевич Петров"): "between",
    ("محمد حسن", "قال مُحَمَّد حسن"): "exact",
    ("محمد حسن", "ومحمد حسن"): "exact",
    ("أحمد علي", "احمد على"): "exact",
    ("דוד כהן", "דָּוִד כהן"): "exact",
    ("דוד כהן", "ודוד כהן"): "exact",
    ("अनिल शर्मा", "अनिल शर्मा ने कहा"): "exact",
    ("अनिल शर्मा", "अ. शर्मा"): "initials",
    ("ज़ाकिर हुसैन", "जाकिर हुसैन"): "exact",
    ("김민수", "김민수는 서울에"): "exact",
    (YUAN, "昨日、渡邊太郎さんが来た"): "exact",
    (YUAN, "渡辺　太郎"): "exact",
    (YUAN, "渡辺太朗が"): "ending",
    ("マリア・ケラー", "マリアケラーは"): "exact",
    ("マリア・ケラー", "ﾏﾘｱ･ｹﾗｰ"): "exact",
    ("マリア・ケラー", "ケラー、マリア"): "order",
    ("マリア・ケラー", "マリヤ・ケラー"): "ending",
    ("李明", "（李明）"): "exact",
    ("李明", "李明博总统"): "within",
    ("สมชาย ใจดี", "นายสมชาย ใจดีทำงาน"): "exact",
}


@pytest.mark.parametrize(("name", "text"), KIND)
def test_a_name_is_found_as_what_it_is(name: str, text: str) -> None:
    assert {kind for kind, _ in mentions(name, text)} == {KIND[name, text]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (SMITH, "Johnson Smithers"),
        (SMITH, "Goldsmith Johnny, blacksmith John"),
        (SMITH, "It was John. Smith left."),
        (SMITH, "John and Smith"),
        (SMITH, "Ron Smithe"),
        (SMITH, "Johann Schmidt"),
        ("Anna Berg", "a berg of ice"),
        ("Al Roy", "royal alroyd"),
        (IVAN, "Петровка, ивановский"),
        ("محمد حسن", "محمود حسين"),
        ("김민수", "김민숙"),
        ("マリア・ケラー", "マリア・ケラーマン"),
        ("マリ", "マリア"),
        ("ดี", "ดี้"),
    ],
)
def test_other_words_are_no_mention(name: str, text: str) -> None:
    assert mentions(name, text) == []


@pytest.mark.parametrize("name", [name for name, _ in KIND])
def test_a_name_is_found_in_every_normal_form_and_case(name: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for text in (name, name.upper(), name.title(), f"({name})", f"x {name}, y"):
            found = mentions(name, unicodedata.normalize(form, text))
            assert [kind for kind, _ in found] == ["exact"], (form, text)


def test_folding_is_done_once_and_words_stand_where_their_spans_say() -> None:
    for code in range(1, 0x3400):
        folded = fold(f"a{chr(code)}b")
        assert [folded[start:end] for start, end in spans_of(folded)] == tokens_of(folded), code


def judged(text: str, record: dict[str, object] | None = None, **subject: object) -> str:
    folded = fold(text)
    detector = Detector(Subject(names=(SMITH,), **subject))  # type: ignore[arg-type]
    evidence = detector.evidence(record or {}, text, folded, tokens_of(folded))
    return "nothing" if evidence is None else decided(evidence)[0]


@pytest.mark.parametrize(
    ("text", "subject", "split"),
    [
        ("John Smith came", {}, "forget"),
        ("J. Smith came", {}, "unsure"),
        ("J. Smith came to Leeds", {"about": ("Leeds",)}, "forget"),
        ("Mr Smith of Leeds", {"about": ("Leeds",)}, "unsure"),
        ("Mr Smith of York", {"about": ("Leeds",)}, "nothing"),
        ("John Smith the carpenter", {"not_about": ("carpenter",)}, "unsure"),
        ("John Smith and Mary Stone met", {}, "unsure"),
        ("Mary Stone and John Smith met", {}, "unsure"),
        ("John Smith met Ann Lee", {}, "forget"),
        ("John Smith met Ann Lee", {"keep": ("Ann Lee",)}, "unsure"),
        ("John Smith, j@x.org", {"emails": ("j@x.org",)}, "forget"),
        ("John Smith, k@x.org", {"emails": ("j@x.org",)}, "unsure"),
        ("mail to J@X.ORG", {"emails": ("j@x.org",)}, "forget"),
        ("mail to aj@x.org", {"emails": ("j@x.org",)}, "nothing"),
        ("no. c 4711", {"ids": ("C-4711",)}, "forget"),
        ("no. C-47112", {"ids": ("C-4711",)}, "nothing"),
        ("John Smith, C-4712", {"ids": ("C-4711",)}, "unsure"),
        ("call (0151) 23 45-678", {"ids": ("0151 2345678",)}, "forget"),
        ("fits sm12", {"patterns": (r"sm\d+",)}, "forget"),
    ],
)
def test_what_is_known_decides(text: str, subject: dict[str, object], split: str) -> None:
    assert judged(text, **subject) == split


def test_a_column_finds_and_tells_people_apart() -> None:
    where = (("cid", "7"),)
    assert judged("somebody", {"cid": 7}, where=where) == "forget"
    assert judged("John Smith", {"cid": 8}, where=where) == "unsure"
    assert judged("John Smith", {"cid": None}, where=where) == "forget"
