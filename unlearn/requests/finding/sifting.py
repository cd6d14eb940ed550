"""From training data and a subject to a folder with what to forget, to retain, and to decide.

Two passes over the data, in a memory that does not grow with it. The first finds rows that name the
subject and counts in how many rows each word stands; the second compares all other rows with those
that were found, and draws rows to retain.
"""

from __future__ import annotations

import heapq
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from unlearn.data.columns import missing_columns
from unlearn.data.records import Record, Table
from unlearn.data.telling import few
from unlearn.errors import ConfigurationError, DataError
from unlearn.requests.finding.cells import BECAUSE, IN, text_of, written_row
from unlearn.requests.finding.drawn import Candidate, Drawn
from unlearn.requests.finding.embedded import COMPARED, Embedded, Words, load_words
from unlearn.requests.finding.evidence import Detector, Evidence
from unlearn.requests.finding.folding import fold, tokens_of
from unlearn.requests.finding.found_page import write_found_page
from unlearn.requests.finding.frequencies import Frequencies
from unlearn.requests.finding.kindred import SEEDS, Kindred, Seed, features_of, pieces_of
from unlearn.requests.finding.outcome import Finding
from unlearn.requests.finding.sources import Data, Reading
from unlearn.requests.finding.spool import Found, Spool
from unlearn.requests.finding.subject import Subject
from unlearn.storage.files import whole_folder

log = logging.getLogger(__name__)

SPLITS = ("forget", "unsure", "retain")
SHOWN = 25
"""Rows of each kind that the page shows; the files hold all."""
NAMED = 20
"""Rows that no model can be trained on, of those that are named."""


@dataclass(frozen=True)
class Retained:
    """How many rows to retain, and which."""

    near: int = 200
    """Rows near the subject: about the same things, of others."""
    anywhere: int = 200
    """Rows from everywhere, drawn by `seed`."""
    seed: int = 0


def find(
    data: Sequence[str],
    subject: Subject,
    out: Path,
    reading: Reading | None = None,
    retained: Retained | None = None,
    model: str | None = None,
) -> Finding:
    """Search training data and write forget.jsonl, retain.jsonl, unsure.jsonl and found.html.

    Args:
        data: Files, folders of texts or data sets, in any form that `data=files` reads.
        subject: What to look for.
        out: The folder to make; it may not be there yet.
        reading: How the columns are called, where that is not to be found out.
        retained: How many rows to retain.
        model: Folder or hub id of a model whose embeddings tell paraphrases; null does without.

    Returns:
        What was found. Raises ConfigurationError, and writes nothing, where nothing can be found.
    """
    if out.exists() or out.is_symlink():
        raise ConfigurationError(
            f"--out={out}: it is there already, and may hold rows that somebody sorted by hand; "
            "give a new folder, or remove it"
        )
    if out.absolute().parent.exists() and not out.absolute().parent.is_dir():
        raise ConfigurationError(f"--out={out}: {out.parent} is a file; give a folder in a folder")
    read = Data(data, reading or Reading())
    _check_columns(subject, read)
    words = load_words(model) if model else None
    began = time.monotonic()
    finding = Finding(out, subject, [stream.source for stream in read.streams])
    with whole_folder(out) as folder, ExitStack() as stack:
        search = _Search(read, subject, retained or Retained(), finding, folder)
        stack.callback(search.close)
        search.find(words)
        finding.seconds = time.monotonic() - began
        search.write()
        write_found_page(folder / "found.html", finding, read.kind)
    return finding


def _check_columns(subject: Subject, read: Data) -> None:
    missing = [column for column, _ in subject.where if column not in read.names]
    if missing:
        table = Table(few([s.source for s in read.streams]), [dict.fromkeys(read.names)], ["1"])
        told = missing_columns(table, missing, "Name one of them: --where COLUMN=VALUE.")
        raise DataError(f"--where: {told}")


class _Search:
    """One search: its state between the passes."""

    def __init__(
        self,
        data: Data,
        subject: Subject,
        retained: Retained,
        finding: Finding,
        folder: Path,
    ) -> None:
        self.data, self.subject, self.finding, self.folder = data, subject, finding, folder
        self.detector = Detector(subject)
        self.frequencies = Frequencies()
        self.drawn = Drawn(retained.near, retained.anywhere, retained.seed)
        self.named, self.kin, self.close_ones = (
            Spool(folder / f".{name}.jsonl") for name in ("named", "kin", "close")
        )
        self.sample = Drawn(0, COMPARED, retained.seed)
        """Rows that do not name the subject, for the embeddings to be told from."""
        self.spelt: Counter[str] = Counter()
        """Rows with a misspelt word of the subject's."""

    def find(self, words: Words | None) -> None:
        """Make both passes."""
        self._first()
        kindred = self._kindred()
        self._second(kindred, self._embedded(words) if words else None)

    def close(self) -> None:
        """Remove what was on the disk in the meantime."""
        for spool in (self.named, self.kin, self.close_ones):
            spool.close()

    def _first(self) -> None:
        filled = {column: 0 for column, _ in self.subject.where}
        for number, source, place, record in self.data.rows("first pass"):
            text = text_of(record)
            folded = fold(text)
            tokens = tokens_of(folded)
            self.frequencies.add(set(features_of(tokens)))
            for column in filled:
                filled[column] += record.get(column) not in (None, "")
            evidence = self.detector.evidence(record, text, folded, tokens)
            if evidence is not None:
                self.spelt.update(set(evidence.changed))
                self.named.add(Found(number, source, place, record, evidence))
            else:
                self.sample.offer(Candidate(number, source, place, record), 0.0, "")
        self.finding.rows = self.frequencies.rows
        empty = [column for column, rows in filled.items() if not rows]
        if empty:
            raise DataError(
                f"--where: the column {few([repr(name) for name in empty])} is empty in all "
                f"{self.finding.rows:,} rows; name another one"
            )

    def _kindred(self) -> Kindred:
        """Index the rows that are surely the subject's, and the passages."""
        passages = [fold(text) for text in self.subject.passages]
        seeds = [seed for n, folded in enumerate(passages) for seed in pieces_of(folded, n)]
        for found in self.named:
            if len(seeds) >= SEEDS:
                break
            if self._settled(found.evidence).certain and not found.evidence.against:
                features = features_of(tokens_of(fold(text_of(found.record))))
                seeds.append(Seed(found.place, frozenset(features)))
        return Kindred(seeds, passages, self.frequencies, self.detector.words)

    def _embedded(self, words: Words) -> Embedded | None:
        """Embed the rows that are surely the subject's; None where there are none."""
        seeds = [
            (found.place, self._unnamed(text_of(found.record)))
            for found in islice((f for f in self.named if not f.evidence.against), COMPARED)
        ]
        others = [self._unnamed(text_of(one.record)) for one in self.sample.anywhere()]
        return Embedded(words, seeds, others) if seeds else None

    def _unnamed(self, text: str) -> str:
        """Return a text without the words that name the subject, which paraphrases lack."""
        words = self.detector.words
        return " ".join(token for token in tokens_of(fold(text)) if token not in words)

    def _settled(self, evidence: Evidence) -> Evidence:
        """Make a misspelling certain where nobody else is called so in the data."""
        if not evidence.changed or evidence.certain:
            return evidence
        lone = all(self.frequencies.of(word) - self.spelt[word] <= 0 for word in evidence.changed)
        if lone:
            told = f"names “{few(list(evidence.spelt))}”, which is “{evidence.name}” misspelt"
            evidence.certain = [f"{told}: nobody else is called so in the data"]
        return evidence

    def _second(self, kindred: Kindred, embedded: Embedded | None) -> None:
        found = iter(self.named)
        next_found = next(found, None)
        rows = 0
        for number, source, place, record in self.data.rows("second pass"):
            rows += 1
            if next_found is not None and next_found.number == number:
                next_found = next(found, None)
                continue
            folded = fold(text_of(record))
            tokens = tokens_of(folded)
            features = features_of(tokens)
            kin = kindred.kin(tokens, features)
            if kin is None:
                candidate = Candidate(number, source, place, record)
                if embedded is None or not embedded.offer(candidate, " ".join(tokens)):
                    self.drawn.offer(candidate, kindred.nearness(set(features)), folded)
                continue
            evidence = Evidence(kind=kin.kind)
            (evidence.certain if kin.sure else evidence.perhaps).append(kin.reason)
            self.kin.add(Found(number, source, place, record, evidence))
        for close, told in embedded.close() if embedded else ():
            self.close_ones.add(Found(*close, Evidence(perhaps=[told], kind="close")))
        if rows != self.finding.rows:
            raise DataError(
                f"DATA: {self.finding.rows:,} rows at the first reading and {rows:,} at the "
                "second: something writes into the files; search again when it has ended"
            )

    def write(self) -> None:
        """Write the three files."""
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    (self.folder / f"{split}.jsonl").open("w", encoding="utf-8")
                )
                for split in SPLITS
            }
            for found in heapq.merge(
                self.named, self.kin, self.close_ones, key=lambda one: one.number
            ):
                evidence = self._settled(found.evidence)
                split, reason = decided(evidence)
                for spelling in evidence.spelt:
                    self.finding.spellings[split, spelling] += 1
                self._put(files[split], split, evidence.kind, found, reason)
            for kind, candidate, reason in self._retained():
                self._put(files["retain"], "retain", kind, candidate, reason)
        self.close()

    def _retained(self) -> Iterator[tuple[str, Candidate, str]]:
        for candidate in self.drawn.near():
            yield "near", candidate, "is about the same things as the subject's rows, and of others"
        for candidate in self.drawn.anywhere():
            yield "anywhere", candidate, "drawn from all other rows"

    def _put(
        self, file: IO[str], split: str, kind: str, row: Found | Candidate, reason: str
    ) -> None:
        record: Record = row.record
        try:
            written = written_row(record, self.data.columns[row.source], row.place, reason)
        except DataError as error:
            # Of a row to retain, another one does as well.
            if split != "retain":
                self.finding.untrainable_rows += 1
                if len(self.finding.untrainable) < NAMED:
                    self.finding.untrainable.append(f"{error} It {reason}.")
            return
        file.write(json.dumps(written, ensure_ascii=False, default=str) + "\n")
        self.finding.counts[split] += 1
        self.finding.kinds[split, kind] += 1
        shown = self.finding.shown.setdefault((split, kind), [])
        if len(shown) < SHOWN:
            shown.append({"text": text_of(record), "because": written[BECAUSE], "in": written[IN]})


def decided(evidence: Evidence) -> tuple[str, str]:
    """Return where a row goes, and why in one sentence."""
    if evidence.against:
        return "unsure", evidence.against[0]
    if evidence.certain:
        return "forget", evidence.certain[0]
    return "unsure", evidence.perhaps[0]
