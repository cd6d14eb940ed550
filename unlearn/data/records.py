"""What every format becomes: records with the place where a person finds each."""

from __future__ import annotations

from dataclasses import dataclass

Record = dict[str, object]


@dataclass(frozen=True)
class Table:
    """The records of one source, each with its place, such as "forget.jsonl:12"."""

    source: str
    records: list[Record]
    places: list[str]
    remarks: tuple[str, ...] = ()
    """How the source was read, where that was found out rather than told: encoding, cells."""

    @classmethod
    def numbered(cls, source: str, records: list[Record], remarks: tuple[str, ...] = ()) -> Table:
        """Return a table of which a record's place is its number."""
        places = [f"{source}, row {number}" for number in range(1, len(records) + 1)]
        return cls(source, records, places, remarks)

    @property
    def columns(self) -> list[str]:
        """Every column name, in order of first appearance: JSON records need not agree."""
        return list(dict.fromkeys(name for record in self.records for name in record))
