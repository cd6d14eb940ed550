"""What a process holds at the end of each job of a sweep, noted by a callback of Hydra's."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from hydra.experimental.callback import Callback

NOTING = "+hydra.callbacks.note._target_=support.noting.Note"
"""The override that notes; UNLEARN_TEST_NOTES names the folder of the notes."""


class Note(Callback):
    """Notes threads and resident memory in bytes; the notes' names sort by time."""

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held = {"threads": torch.get_num_threads(), "rss": pages * os.sysconf("SC_PAGE_SIZE")}
        folder = Path(os.environ["UNLEARN_TEST_NOTES"])
        folder.mkdir(exist_ok=True)
        (folder / f"{time.monotonic_ns():024}.json").write_text(json.dumps(held))


def notes(folder: Path) -> list[dict[str, int]]:
    """Return the notes in the order of the jobs' ends."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
