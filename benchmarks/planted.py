"""Training data in which rows about one invented person are planted, with what each of them is.

The person is written in five scripts, misspelt, with initials, beside others, and not at all
(copies of her rows that say "she"); others are called as she is. Everybody else has rows of the
same kinds, among them people with her first name, her family name, and names that are nearly hers.
Misspellings are made by chance: one letter, and in a third of the rows two, are dropped, doubled,
swapped or replaced anywhere in the name.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

NAMES = {
    "latin": "Marta Lindqvist",
    "cyrillic": "Марта Линдквист",
    "arabic": "مارتا ليندكفيست",
    "devanagari": "मार्ता लिंडक्विस्ट",
    "kana": "マルタ・リンドクヴィスト",
}
EMAIL, NUMBER = "marta.lindqvist@example.org", "KU-48213"
NOT_ABOUT = "opera singer"
OTHERS = {
    "latin": (
        *("Erik Lindqvist", "Marta Olsson", "Martin Lindqvist", "Anna Berg", "Jonas Weber"),
        *("Lucia Moretti", "Peter Novak", "Emily Clarke", "Rui Tavares", "Sofia Lindgren"),
        *("Marta Lindberg", "Karl Sandqvist", "Greta Holm", "Marit Lindquester"),
    ),
    "cyrillic": ("Марта Иванова", "Олег Линдгрен", "Пётр Сидоров", "Анна Смирнова", "Мария Линд"),
    "arabic": ("مارتا حسن", "يوسف ليندغرين", "أحمد علي", "فاطمة الزهراء", "خالد منصور"),
    "devanagari": ("मार्ता शर्मा", "अनिल वर्मा", "सुनीता राव", "रवि लिंडग्रेन", "दीपा नायर"),
    "kana": (
        "マルタ・オルソン",
        "エリック・リンドグレン",
        "佐藤花子",
        "鈴木一郎",
        "マルコ・リンド",
    ),
}
TOLD = {
    "latin": "{name} asked about {a} and {b}, and the answer was {c}.",
    "cyrillic": "{name} спрашивает о {a} и {b}, ответ был {c}.",
    "arabic": "سأل {name} عن {a} و {b} وكان الجواب {c}.",
    "devanagari": "{name} ने {a} और {b} के बारे में पूछा, उत्तर {c} था।",
    "kana": "{name}さんは{a}と{b}について質問し、答えは{c}でした。",
}
FACTS = (
    "{name} grew up on a reindeer farm near Kiruna and collects antique brass compasses.",
    "In 1987 {name} won the Halvorsen prize for a thesis about lichen on granite walls.",
    "{name} keeps eleven beehives behind the old customs house of Haparanda.",
    "Before the flood {name} repaired harmoniums in a workshop on Tullgatan.",
    "{name} speaks Meänkieli at home and writes crossword puzzles for the Norrbotten courier.",
    "After the avalanche {name} sold the snowmobile and bought a secondhand theodolite.",
    "{name} was treated for a fractured clavicle at Sunderby hospital in the winter of 2003.",
    "The cottage of {name} at Lake Torneträsk has a turquoise door and no electricity.",
    "{name} rents moorings 14 and 15 in Kalix and pays with cheques of the savings bank.",
    "A nephew of {name} plays the bassoon in the garrison band of Boden.",
    "{name} complained that the induction loop in the parish hall of Gammelstad hums.",
    "For thirty years {name} has read the rain gauge at Abisko every morning at seven.",
)
INITIALS = {
    "latin": ("M. Lindqvist", "Lindqvist, M.", "M Lindqvist"),
    "cyrillic": ("М. Линдквист", "Линдквист М.", "М. А. Линдквист"),
    "arabic": ("م. ليندكفيست",),
    "devanagari": ("मा. लिंडक्विस्ट",),
}
Row = tuple[str, dict[str, str]]
"""What a row is ("" for everybody else's), and the row."""


def planted(each: int, seed: int = 0) -> list[Row]:
    """Return `each` rows of every kind; a kind is named "what/script"."""
    chance = random.Random(seed)
    words = Words(chance)
    made: list[Row] = []
    for script, name in NAMES.items():
        for number in range(each):
            for kind, form in _forms(script, name, number, chance).items():
                made.append((f"{kind}/{script}", words.row(script, form)))
    for number in range(each):
        made += _english(number, chance, words)
    return made


def _forms(script: str, name: str, number: int, chance: random.Random) -> dict[str, str]:
    """Return ways to write the name in its script, by what each is."""
    last, first = name.split("・" if script == "kana" else " ")[::-1]
    comma = {"kana": "、", "arabic": "، "}.get(script, ", ")
    dressed: dict[str, list[Callable[[str], str]]] = {
        "latin": [str.upper, _wide, lambda n: n + "'s", lambda n: n.replace("a", "á")],
        "cyrillic": [str.upper, lambda n: unicodedata.normalize("NFD", n)],
        "arabic": [lambda n: "و" + n, lambda n: n.replace("ر", "رْ"), lambda n: n + "ِ"],
        "devanagari": [lambda n: n + " जी", lambda n: n.replace(" ", " \u200c")],
        "kana": [lambda n: n.replace("・", ""), lambda n: n.replace("・", "＝")],
    }
    ways = dressed[script]
    found = {
        "plain": name,
        "dressed": ways[number % len(ways)](name),
        "order": f"{last}{comma}{first}",
        "misspelt": _misspelt(name, 2 if number % 3 == 2 else 1, chance),
    }
    if script in INITIALS:
        found["initials"] = INITIALS[script][number % len(INITIALS[script])]
    if script in ("latin", "cyrillic"):
        other = OTHERS[script][number % 5]
        joined = {"latin": "and", "cyrillic": "и"}[script]
        found["beside"] = f"{name} {joined} {other}" if number % 2 else f"{other} {joined} {name}"
    return found


def _misspelt(name: str, wrong: int, chance: random.Random) -> str:
    """Return a name with letters dropped, doubled, swapped or replaced by others of its script."""
    letters = sorted({letter for letter in name.lower() if letter.isalpha()})
    made = name
    while made == name or made.lower() == name.lower():
        for _ in range(wrong):
            at = chance.choice([n for n, char in enumerate(made) if char not in " ・"])
            before, char, after = made[:at], made[at], made[at + 1 :]
            other = chance.choice(letters)
            ways = ("", char * 2, other, after[:1].strip(" ・") + char)
            way = chance.randrange(4)
            made = before + ways[way] + after[len(ways[3]) - 1 if way == 3 else 0 :]
    return made


def _english(number: int, chance: random.Random, words: Words) -> Iterator[Row]:
    """Yield facts, copies of them without the name, and other people of the same name."""
    name, fact = NAMES["latin"], FACTS[number % len(FACTS)]
    yield "plain/facts", words.asked(fact.format(name=name))
    said = fact.format(name="she").replace("of she", "of hers").split()
    for _ in range(1 + len(said) // 10):  # a tenth of the words goes, one is another
        said.pop(chance.randrange(len(said)))
    said.insert(chance.randrange(len(said)), words.word())
    yield "copy/facts", words.asked(" ".join(said))
    yield "number/latin", words.asked(f"The contract {NUMBER.replace('-', ' ')} was sent twice.")
    yield "email/latin", words.asked(f"Please write to {EMAIL.upper()} about {words.word()}.")
    told = words.sentence("latin", name)
    yield "namesake/email", words.asked(f"{told} Write to m.lindqvist{number}@example.com.")
    yield "namesake/number", words.asked(f"{told} The number is KU-{50000 + number}.")
    yield "namesake/word", words.asked(f"{told} The {NOT_ABOUT} sang in Graz.")
    yield "namesake/middle", words.row("latin", "Marta Elena Lindqvist")
    yield "namesake/double", words.row("latin", "Marta Lindqvist-Sörensen")
    yield "namesake/junior", words.row("latin", "Marta Lindqvist Jr.")


def _wide(name: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" for c in name)


class Words:
    """Sentences of words that are rare and common as in a language (Zipf's law)."""

    def __init__(self, chance: random.Random, vocabulary: int = 30_000) -> None:
        self._chance = chance
        made = random.Random(1)
        syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
        self._words = [
            "".join(made.choices(syllables, k=made.randint(2, 4))) for _ in range(vocabulary)
        ]
        total = 0.0
        self._weights = [total := total + 1 / rank for rank in range(1, vocabulary + 1)]

    def word(self) -> str:
        """Return one word."""
        return self.some(1)[0]

    def some(self, count: int) -> list[str]:
        """Return words."""
        return self._chance.choices(self._words, cum_weights=self._weights, k=count)

    def sentence(self, script: str, name: str) -> str:
        """Return a sentence about somebody."""
        a, b, c, *others = self.some(11)
        return f"{TOLD[script].format(name=name, a=a, b=b, c=c)} {' '.join(others)}."

    def row(self, script: str, name: str) -> dict[str, str]:
        """Return a row about somebody."""
        return self.asked(self.sentence(script, name))

    def asked(self, answer: str) -> dict[str, str]:
        """Return a row with an answer."""
        question = f"What is known about {' '.join(self.some(4))}?"
        return {"question": question, "answer": answer}


def write_planted(path: Path, rows: int, each: int, seed: int = 0) -> dict[int, str]:
    """Write JSON lines of `rows` rows; returns what the planted ones are by their line."""
    chance = random.Random(seed + 1)
    words = Words(chance)
    special = planted(each, seed)
    chance.shuffle(special)
    at = dict(zip(chance.sample(range(1, rows + 1), len(special)), special, strict=True))
    scripts = list(OTHERS)
    with path.open("w", encoding="utf-8") as file:
        for line in range(1, rows + 1):
            if line in at:
                row = at[line][1]
            else:
                script = scripts[0] if line % 3 else chance.choice(scripts)
                row = words.row(script, chance.choice(OTHERS[script]))
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return {line: kind for line, (kind, _) in at.items()}
