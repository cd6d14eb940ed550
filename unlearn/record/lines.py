"""The record of a run and its copy on a dashboard.

The record is ``metrics.jsonl`` in the run folder: one JSON object a line, complete whatever happens
to the network. A tracker (Weights & Biases) is a sink that receives the same names. Every call into
it is guarded: a tracker that fails says so once and falls silent, and the run goes on.
"""

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from unlearn.record.sink import Sink
from unlearn.storage.files import plain, write_text_atomic

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
        self._keep(lambda line: True)
        self._file = self.path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one line, on disk when this returns; non-finite numbers are written as null."""
        line = plain({"step": step, **values})
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        self.sink.log(step, {name: value for name, value in line.items() if name != "step"})

    def truncate_after(self, step: int, followed: bool = True) -> None:
        """Drop the lines beyond ``step``, and those of the end: a resumed run writes them again.

        Where what follows a step is still to come, so are its lines.
        """
        self._file.close()

        def earlier(line: dict[str, Any]) -> bool:
            if not followed and line["step"] == step and "train/lr" not in line:
                return False
            attacked = any(name.startswith("attack/") for name in line)
            return line["step"] <= step and line.get("stage") != "after" and not attacked

        self._keep(earlier)
        self._file = self.path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file; the sink has its own end, :meth:`Sink.finish`."""
        self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines if wanted(json.loads(line))]
        self.stages = {json.loads(line).get("stage") for line in kept} - {None}
        if "".join(kept) != text:
            write_text_atomic(self.path, "".join(kept))
