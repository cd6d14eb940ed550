"""The figures of a run.

They are built without pyplot: no global state, no display, nothing for the caller to close.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.record.layout import read_run
from unlearn.report.curves import training_figure
from unlearn.report.drawing import STYLE, save_figure
from unlearn.report.evaluations import evaluations_figure
from unlearn.report.fonts import make_legible
from unlearn.report.plane import plane_figure


def draw_figures(run: Path, summary: Mapping[str, Any] | None = None) -> list[Path]:
    """Draw plane, evaluations and training into ``figures/``, each where the run has its numbers.

    Returns the files that were written. `summary`: what ``summary.json`` will hold; null reads it.
    """
    import matplotlib

    record = read_run(run, summary)
    folder = run / "figures"
    folder.mkdir(exist_ok=True)
    drawn = []
    with matplotlib.rc_context(STYLE):
        for name, draw in (
            ("plane", plane_figure),
            ("evaluations", evaluations_figure),
            ("training", training_figure),
        ):
            figure = draw(record)
            if figure is not None:
                drawn.append(folder / f"{name}.png")
                make_legible(figure)
                save_figure(figure, drawn[-1])
    return drawn
