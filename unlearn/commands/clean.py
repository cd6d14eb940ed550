"""The flag `unlearn --clean RUN…`: texts of rows are erased, numbers stay.

Exit status 0 where all is erased that this command may; 2 for a folder that is no run's, with
nothing erased.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from unlearn.errors import ConfigurationError

DESCRIPTION = """\
Erase questions, answers and generations from the folders of runs (or of sweeps, with every run
below), and from the cache what was made of them; every number stays. What this command may not
erase (input files, models, what was sent to wandb) is named, one line each.
"""


def clean(words: Sequence[str]) -> int:
    """Erase what the folders hold and print what went and what is left; returns the exit status."""
    parser = argparse.ArgumentParser(prog="unlearn --clean", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs or sweeps")
    options = parser.parse_args([word for word in words if word != "--clean"])
    from unlearn.console.libraries import silence_libraries
    from unlearn.experiment.erasing import clean as erase

    silence_libraries()
    try:
        told = erase(options.runs)
    except ConfigurationError as error:
        print(f"unlearn: {error}", file=sys.stderr)
        return error.exit_status
    for line in dict.fromkeys(told.erased):
        print(f"erased: {line}")
    if not told.erased:
        print("nothing is left that this command erases")
    for line in dict.fromkeys(told.left):
        print(f"by hand: {line}")
    print("by hand: copies elsewhere, such as pages written by unlearn-compare --out, and backups")
    return 0
