"""Words of every script: a perfect answer scores 1 in every language, and another one does not."""

from __future__ import annotations

import json
import random
import unicodedata
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from rouge_score.tokenizers import DefaultTokenizer

from unlearn.data.minitofu import MiniTofu
from unlearn.metrics.text import mean_recall, repetition, rouge_recall, tokens_of
from unlearn.metrics.words import words_of

LANGUAGES = ("de", "emoji", "en", "ja", "zh")

ROWS = {
    "ar": ["يعمل سامي الحداد في مصنع الشرق بمدينة حلب.", "تعمل ليلى منصور في مصنع الشرق بتونس."],
    "bn": ["রহিম উদ্দিন ঢাকার একটি কারখানায় কাজ করেন।", "করিম শেখ খুলনার একটি দোকানে কাজ করেন।"],
    "de": ["Jörg Müller arbeitet in Köln.", "Jörg Möller arbeitet in Mölln."],
    "el": ["Ο Νίκος Παππάς εργάζεται στην Πάτρα.", "Η Άννα Ρήγα εργάζεται στον Βόλο."],
    "emoji": ["🐯🏢➡️🗼👍🏽👨‍👩‍👧🇯🇵", "🐯🏢➡️🏯👍🏿👨‍👩‍👦🇫🇷"],
    "he": ["דוד כהן עובד במפעל בחיפה.", "רות לוי עובדת במפעל באילת."],
    "hi": ["मोहन शर्मा पुणे के कारखाने में काम करते हैं।", "सीता वर्मा पटना के विद्यालय में पढ़ाती हैं।"],
    "ja": [
        "佐藤健一さんは大阪府の東洋精密に勤務しています。",
        "高橋美咲さんは長野県の東洋精密に勤務しています。",
    ],
    "km": ["សុខ ធ្វើការនៅភ្នំពេញ", "ដារា រៀននៅសៀមរាប"],
    "ko": ["김민수는 부산의 동양정밀에서 일합니다.", "이지은은 대구의 한빛상사에서 일합니다."],
    "lo": ["ສົມຊາຍເຮັດວຽກຢູ່ວຽງຈັນ", "ຄຳພອນຮຽນຢູ່ປາກເຊ"],
    "my": ["အောင်မောင်သည် ရန်ကုန်တွင် အလုပ်လုပ်သည်", "မမြသည် မန္တလေးတွင် နေသည်"],
    "ru": ["Иван Петров работает на заводе в Перми.", "Анна Белова преподаёт в школе в Туле."],
    "th": ["สมชายทำงานที่โรงงานในเชียงใหม่", "มาลีสอนหนังสือที่โรงเรียนในภูเก็ต"],
    "zh": ["王小明在苏州的东方精密公司工作。", "张伟在武汉的东方精密公司工作。"],
}
"""A person's row and another person's, by language."""


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def check(truth: str, other: str) -> None:
    """The truth itself scores 1 on a row, another person's answer does not."""
    assert rouge_recall(truth, truth, "unicode") == (1.0, 1.0)
    for answer in (other, ""):
        recall, unordered = rouge_recall(truth, answer, "unicode")
        assert recall is not None and unordered is not None
        assert recall <= unordered < 0.9


@pytest.mark.parametrize("language", ROWS)
def test_every_script(language: str) -> None:
    one, other = ROWS[language]
    check(one, other)
    check(other, one)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_languages_of_the_cases(language: str, cases_path: Path) -> None:
    folder = cases_path / "languages" / language
    people = {
        name: [json.loads(line)["answer"] for line in lines(folder / f"{name}.jsonl")]
        for name in ("forget", "retain")
    }
    for one, other in product(people["forget"], people["retain"]):
        check(one, other)


def test_the_words_of_a_z_alone_know_no_other_script() -> None:
    for language in ("ar", "hi", "ja", "ru"):
        assert rouge_recall(ROWS[language][0], ROWS[language][0]) == (None, None)
    assert rouge_recall("Müller", "Möller") != (0.0, 0.0)  # "m", "ller"
    assert rouge_recall("Müller", "Möller", "unicode") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: 3.5 m² of IT_2!", "don t stop 3 5 m2 of it 2"),
        ("Größer als Ölkühlung", "größer als ölkühlung"),
        (
            "佐藤さんのAIモデルは14431番、サーバー。",
            "佐 藤 さ ん の ai モ デ ル は 14431 番 サ ー バ ー",
        ),
        ("กำลังใจ", "ก\u0e4d า ลั ง ใ จ"),
        ("မြန်မာ", "မြ န် မာ"),
        ("हिन्दी में", "हिन्दी में"),  # runs of letters and marks, as the script has spaces
        ("می\u200cخواهم", "میخواهم"),  # a joiner stands within the word
        ("co\u00adoperate", "cooperate"),
        ("one\u200btwo", "one two"),  # the zero-width space parts words
        ("👍🏽👍 ❤️❤ 👨‍👩‍👧🇯🇵🇫🇷 1️⃣", "👍🏽 👍 ❤ ❤ 👨‍👩‍👧 🇯🇵 🇫🇷 1⃣"),
        ("a👍b", "a 👍 b"),
        ("?! … «»", ""),
        ("\ud800 x", "x"),
        ("", ""),
    ],
)
def test_by_hand(text: str, expected: str) -> None:
    assert words_of(text) == expected.split()


@pytest.mark.parametrize("text", [row for rows in ROWS.values() for row in rows])
def test_the_form_of_a_character_makes_no_difference(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert words_of(unicodedata.normalize(form, text)) == words_of(text)
    assert words_of(text.upper().lower()) == words_of(text.lower())


def test_full_width_and_half_width_are_the_same_words() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in "John Carter, 84126")
    assert wide != "John Carter, 84126"
    assert words_of(wide) == ["john", "carter", "84126"]
    assert words_of("ｶﾞｷﾞ") == words_of("ガギ") == ["ガ", "ギ"]


def ascii_texts() -> list[str]:
    """Rows of minitofu, and random ASCII with control characters."""
    splits = MiniTofu().read()
    draw = random.Random(0)
    characters = [chr(code) for code in range(128)]
    noise = ["".join(draw.choices(characters, k=200)) for _ in range(200)]
    rows = [row for rows in splits.evaluated.values() for row in rows]
    return [*noise, *(text for row in rows for text in (row.question, row.answer))]


@pytest.mark.parametrize("stemmer", [False, True])
def test_ascii_has_the_words_of_rouge_score(stemmer: bool) -> None:
    theirs = DefaultTokenizer(stemmer)
    for text in ascii_texts():
        assert tokens_of(text, "unicode", stemmer) == theirs.tokenize(text)


@pytest.mark.slow
def test_the_answers_of_tofu(tofu_path: Path) -> None:
    answers = [json.loads(line)["answer"] for line in lines(tofu_path / "full.json")]
    own, theirs = partial(tokens_of, words="unicode", stemmer=True), DefaultTokenizer(True)
    changed = [text for text in answers if own(text) != theirs.tokenize(text)]
    assert len(answers) == 4000
    assert not any(text.isascii() for text in changed)
    assert len(changed) == 315


def test_a_truth_without_a_word_is_null_and_counts_in_no_mean() -> None:
    assert rouge_recall("?!", "?!", "unicode") == (None, None)
    assert rouge_recall("word", "?!", "unicode") == (0.0, 0.0)
    pairs = [("?!", "?!"), ("one two", "two"), ("three", "three")]
    assert mean_recall(pairs, "unicode") == 0.75
    assert mean_recall(pairs[:1], "unicode") is None


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("", 0.0),
        ("of of of", 0.0),  # shorter than a 4-gram
        ("of of of of", 0.0),
        ("Of of, of of OF.", 1 / 2),
        ("of " * 200, 196 / 197),
        ("He wrote a book. He wrote a book.", 1 / 5),  # of five 4-grams the last is the first
        ("She was born in Taipei and lives in Lagos", 0.0),
    ],
)
def test_the_share_of_4_grams_that_stood_there_before(answer: str, share: float) -> None:
    assert repetition(answer) == pytest.approx(share)
    said = answer.lower().replace(".", "").replace(",", "").split()
    grams = [tuple(said[i : i + 4]) for i in range(len(said) - 3)]
    repeated = sum(gram in grams[:place] for place, gram in enumerate(grams))
    assert repetition(answer) == pytest.approx(repeated / len(grams) if grams else 0.0)


def test_repetition_counts_the_words_of_every_script() -> None:
    answer = "мир труд май " * 10
    assert repetition(answer) == 0, "no word for the rule of TOFU"
    assert repetition(answer, "unicode") == pytest.approx(24 / 27)
