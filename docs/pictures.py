"""Make README's picture of the terminal: what a command prints, in its colours, as an SVG.

    python docs/pictures.py docs/figures/terminal.svg unlearn hydra.run.dir=runs/default

A run that is complete prints its table again, so the picture costs no second run.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100


def picture(words: list[str]) -> str:
    """Run a command and return what it printed to standard output as an SVG."""
    done = subprocess.run(
        words,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(words)}", style="bold"))
    console.print(Text.from_ansi(done.stdout.strip("\n")))
    return console.export_svg(title=words[0])


if __name__ == "__main__":
    place, *command = sys.argv[1:]
    Path(place).write_text(picture(command), encoding="utf-8")
