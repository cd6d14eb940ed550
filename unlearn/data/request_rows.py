"""Rows of a deletion request beside those of earlier ones: what a ledger's run reads.

The ledger writes a folder for each of its runs, with rows in this package's own form (a JSON line
each), so that questions, conversations and texts may stand in one request.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unlearn.data.own_files import rows_from
from unlearn.data.row_checks import checked
from unlearn.data.sameness import asked, letters_of
from unlearn.data.splits import Judged, Row, Splits, Turn, as_record
from unlearn.data.telling import counted
from unlearn.errors import ConfigurationError, DataError, first_line

log = logging.getLogger(__name__)

FORGET, FORGOTTEN, AGAIN, RETAIN = (
    f"{name}.jsonl" for name in ("forget", "forgotten", "again", "retain")
)
REQUESTED = "requested.json"
"""Salt and hashes of all rows that anybody asked to forget."""


def row_hash(row: Row, salt: str) -> str:
    """Return SHA-256 of a ledger's salt and the row's :func:`letters_of`, question and answer.

    The same row in other letters has the same hash.
    """
    text = json.dumps([salt, letters_of(asked(row)), letters_of(row.answer)], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def lines_of_rows(rows: Iterable[Row]) -> bytes:
    """Return rows as JSON lines, in the form that :func:`read_rows` reads."""
    lines = (json.dumps(as_record(row), ensure_ascii=False) + "\n" for row in rows)
    return "".join(lines).encode()


def read_rows(path: Path) -> list[Row]:
    """Read rows in the form of :func:`lines_of_rows`; none of a missing file. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be read ({first_line(error)})") from error
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            rows.append(_row(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}:{number}: it is not as the ledger wrote it") from error
    return rows


def _row(record: Mapping[str, Any]) -> Row:
    known = {one.name for one in fields(Row)}
    if not record.keys() <= known:
        raise ValueError("unknown field")
    before = tuple(Turn(str(role), str(content)) for role, content in record.get("before", ()))
    wrong = tuple(map(str, record.get("perturbed_answers", ())))
    return Row(**{**record, "before": before, "perturbed_answers": wrong})


@dataclass
class RequestRows:
    """Read the rows of a ledger's run: to forget, forgotten before, and to keep.

    The split `forgotten` is scored and judged as forget is. Rows that anybody asked to forget are
    left out of what is kept, wherever they stand there.
    """

    path: str | None = None
    """Folder that the ledger wrote for this run. Required."""
    retain: str | None = None
    """The rows to keep, in any form of data=files, beside those that came with the request."""
    general: str | None = None
    """What must keep working: scored and guarded like retain, but never trained on."""
    holdout: str | None = None
    """Rows like the forgotten ones that no model here has seen; they are only scored."""
    question: str | None = None
    """Column of the question in these files; null: a usual name."""
    answer: str | None = None
    """Column of the answer; null: a usual name."""
    text: str | None = None
    """Column of plain text; null: a usual name."""
    messages: str | None = None
    """Column of conversations; null: messages or conversations."""
    encoding: str | None = None
    """Encoding of text files; null: found out, and said unless UTF-8."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError where no folder is named."""
        if not self.path:
            raise ConfigurationError(
                "data.path is not set: the ledger names it (unlearn-requests run); rows of your "
                "own are data=files."
            )

    def read(self) -> Splits:
        """Read all rows; raises DataError."""
        folder = Path(self.path or "").expanduser()
        if not (folder / FORGET).is_file():
            raise DataError(f"data.path={self.path}: no {FORGET} there; a ledger's run writes it.")
        forget, again, forgotten = (read_rows(folder / n) for n in (FORGET, AGAIN, FORGOTTEN))
        kept = [*read_rows(folder / RETAIN), *self._own("retain")]
        retain = self._unrequested(folder, list(dict.fromkeys(kept)))
        evaluated = {"forget": forget, "retain": retain}
        evaluated |= {"forgotten": forgotten} if forgotten else {}
        evaluated |= {n: rows for n in ("general", "holdout") if (rows := self._own(n))}
        return checked(
            Splits(
                "requests",
                [*forget, *again],
                retain,
                evaluated=evaluated,
                judged={"forgotten": Judged("forget")},
            )
        )

    def _own(self, name: str) -> list[Row]:
        given = getattr(self, name)
        names = ("question", "answer", "text", "messages", "encoding")
        columns = {column: getattr(self, column) for column in names}
        return rows_from(given, f"data.{name}", columns) if given else []

    def _unrequested(self, folder: Path, rows: list[Row]) -> list[Row]:
        """Leave out the rows that a request asks to forget, and say how many they were."""
        known = json.loads((folder / REQUESTED).read_text(encoding="utf-8"))
        gone = set(known["hashes"])
        kept = [row for row in rows if row_hash(row, known["salt"]) not in gone]
        if len(kept) < len(rows):
            left = counted(len(rows) - len(kept))
            log.info("retain: %s left out, which a request asks to forget", left)
        return kept
