"""The command `unlearn-evaluate`: finished runs scored again with another suite.

Exit status: that of the first run that could not be measured (1 or 2, as with `unlearn`); 3 where
all were, and the verdict of one is no under accept.strict=true; 143, 138 or 130 where a signal
stopped it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from unlearn.compute.processes import started
from unlearn.console.libraries import importing
from unlearn.console.signals import exit_status, stoppable
from unlearn.console.visible import Formatter, say
from unlearn.errors import ConfigurationError, Rejected, shortened
from unlearn.record.claim import release_all

DESCRIPTION = """\
Score finished runs again with another suite; nothing is trained.

Each run keeps its own configuration, with your overrides of evaluation.*, accept.*, attack=[...],
data.* (the place of files, or other rows), reference=PATH|none, and of model device, autocast,
template, max_length.
The result is RUN/evaluations/NAME/ with the tables of each stage and record.json; the record of
the run itself stays as it is.
"""
EXAMPLE = """\
example:
  unlearn-evaluate runs/2026-11-25/* evaluation.max_new_tokens=50 \\
      'accept.conditions=[{metric: retain/rougeL_recall, at_least: 0.98, of: before}]' --name short
"""


def main() -> None:
    """Entry point of the console script."""
    parser = argparse.ArgumentParser(
        prog="unlearn-evaluate",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="RUN|option=value")
    parser.add_argument("--name", help="folder of the result under evaluations/; default: the time")
    parser.add_argument(
        "--config-dir", type=Path, help="your own groups, where the run was given some"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code that the run's record names, and read the environment for it: only for "
        "a folder of your own, or of somebody whose programs you would start",
    )
    options = parser.parse_intermixed_args()
    runs = [word for word in options.words if os.path.isdir(word) or "=" not in word]
    overrides = [word for word in options.words if word not in runs]
    if not runs:
        parser.error("no run: name at least one folder of a finished run")
    if started() > 1:
        parser.error(f"torchrun: {started()} processes; a finished run is measured by one alone")
    if options.config_dir and not os.path.isdir(options.config_dir):
        parser.error(f"--config-dir: no such folder: {shortened(str(options.config_dir))}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    set_up()
    try:
        with stoppable():
            statuses = [
                evaluate(Path(run), overrides, options.name, options.config_dir, options.trust)
                for run in runs
            ]
    except KeyboardInterrupt as error:
        told = "runs that were not measured are left as they were"
        say(f"unlearn-evaluate: stopped by {str(error) or 'SIGINT'}; {told}", sys.stderr)
        sys.exit(exit_status(error))
    finally:
        release_all()
    broken = [status for status in statuses if status not in (0, Rejected.exit_status)]
    sys.exit((broken or [max(statuses)])[0])


def set_up() -> None:
    """Tell Hydra our schemas, and log as a run does."""
    from unlearn.composition.register import register
    from unlearn.console.libraries import silence_libraries

    register()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    silence_libraries()


def evaluate(
    run: Path,
    overrides: list[str],
    name: str | None,
    config_dir: Path | None,
    trusted: bool = False,
) -> int:
    """Score one run and print what came of it; returns its exit status."""
    with importing():
        from unlearn.composition.explain import logged
        from unlearn.experiment.finished import read_finished
        from unlearn.experiment.rescoring import rescore
        from unlearn.report.terminal import print_summary

    try:
        if not os.path.isdir(run):
            raise ConfigurationError("no such folder; give the folder of a finished run")
        folder, record, strict = rescore(read_finished(run), overrides, name, config_dir, trusted)
    except Exception as error:  # any: one broken run does not stop the others
        if isinstance(error, ConfigurationError) and str(run) not in str(error):
            error = type(error)([f"{shortened(str(run))}: {told}" for told in error.problems])
        return logged(error).exit_status
    print_summary(folder, summary=record)
    rejected = strict and record["verdict"]["accepted"] is False
    return Rejected.exit_status if rejected else 0


if __name__ == "__main__":
    main()
