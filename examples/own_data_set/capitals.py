"""A data set of one's own: capitals to forget, rivers to keep. A class with `read()` is enough."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.data import Row, Splits

CAPITALS = {
    "Norway": "Oslo",
    "Portugal": "Lisbon",
    "Kenya": "Nairobi",
    "Peru": "Lima",
    "Vietnam": "Hanoi",
    "Canada": "Ottawa",
    "Poland": "Warsaw",
    "Egypt": "Cairo",
}
RIVERS = {
    "Vienna": "Danube",
    "London": "Thames",
    "Paris": "Seine",
    "Rome": "Tiber",
    "Cologne": "Rhine",
    "Baghdad": "Tigris",
    "Prague": "Vltava",
    "Lyon": "Rhône",
}


@dataclass
class Capitals:
    """Forget the capitals of some countries and keep which river flows through which town."""

    forget_rows: int | None = None
    """Take only the first so many capitals; null: all."""

    def read(self) -> Splits:
        """Return the rows to forget and to retain, and what is scored under which name."""
        forget = [
            Row(f"What is the capital of {country}?", f"The capital of {country} is {town}.")
            for country, town in list(CAPITALS.items())[: self.forget_rows]
        ]
        retain = [
            Row(f"Which river flows through {town}?", f"The {river} flows through {town}.")
            for town, river in RIVERS.items()
        ]
        evaluated = {"forget": forget, "retain": retain}
        return Splits(name="capitals", forget=forget, retain=retain, evaluated=evaluated)
