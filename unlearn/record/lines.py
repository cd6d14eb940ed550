"""The record of a run and its copy on a dashboard.

The record is ``metrics.jsonl`` in the run folder: one JSON object a line, complete whatever happens
to the network. A tracker (Weights & Biases) is a sink that receives the same names. Every call into
it is guarded: a tracker that fails says so once and falls silent, and the run goes on.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.record.sink import Sink
from unlearn.storage.files import plain, write_bytes_atomic, writing

log = logging.getLogger(__name__)


class Record(AbstractContextManager["Record"]):
    """Appends to ``<run>/metrics.jsonl``, one object a line, and forwards each line to a sink.

    An existing file is continued; a half-written last line, as a killed process leaves it, goes.
    """

    def __init__(self, run: Path, sink: Sink | None = None) -> None:
        self.path = run / "metrics.jsonl"
        self.sink = sink or Sink()
        self.stages: set[str] = set()
        """Stages that are in the record already, where a run goes on."""
        self._keep(self._whole_lines())

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one line, on disk when this returns; non-finite numbers are written as null."""
        line = plain({"step": step, **values})
        text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
        with writing(self.path):
            self._file.write(text.encode())
            self._file.flush()
        self._count += 1
        self._hash.update(text.encode())
        self.sink.log(step, {name: value for name, value in line.items() if name != "step"})

    @property
    def known(self) -> dict[str, Any]:
        """How many lines there are and their SHA-256, as a checkpoint notes it."""
        return {"lines": self._count, "sha256": self._hash.hexdigest()}

    def begin_anew(self) -> None:
        """Drop every line: the run writes them again."""
        self._file.close()
        self._keep([])

    def go_on(self, known: Mapping[str, Any]) -> None:
        """Drop the lines beyond those that a checkpoint knows: a resumed run writes them again.

        Raises ConfigurationError where those that it knows are not there, or are others.
        """
        lines, count = self._whole_lines(), known["lines"]
        kept = lines[:count]
        if hashlib.sha256(b"".join(kept)).hexdigest() != known["sha256"]:
            what = "are not as they were written" if len(kept) == count else f"{len(kept)} are left"
            raise ConfigurationError(
                f"hydra.run.dir: of the first {count} lines of {str(self.path)!r}, which the run's "
                f"checkpoint knows, {what}; put the file back, or give a new folder"
            )
        self._file.close()
        self._keep(kept)
        self.stages = {json.loads(line).get("stage") for line in kept} - {None}

    def close(self) -> None:
        """Close the file; the sink has its own end, :meth:`Sink.finish`."""
        with writing(self.path):
            self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _whole_lines(self) -> list[bytes]:
        content = self.path.read_bytes() if self.path.exists() else b""
        return [line + b"\n" for line in content.split(b"\n")[:-1]]

    def _keep(self, lines: list[bytes]) -> None:
        """Let the file hold these lines alone, and open it for more."""
        content = b"".join(lines)
        if self.path.exists() and self.path.read_bytes() != content:
            write_bytes_atomic(self.path, content)
        self._count, self._hash = len(lines), hashlib.sha256(content)
        self._file = self.path.open("ab")
