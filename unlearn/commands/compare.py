"""Compare runs: a table in the terminal, and comparison.csv, pareto.png and comparison.html.

Runs that differ in their seed alone are one row, mean ± standard deviation over the seeds. Runs
that were evaluated on other rows, in another way or of another model stand in tables of their own.

--at-retain LEVEL compares the runs where they keep equally much: the weights of each run's model
and of its target are mixed until that share of the retain rows' probability is kept.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from unlearn.console.signals import exit_status, stoppable
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError, shortened


def main() -> None:
    """Entry point of `unlearn-compare`; exit status 2 where there is nothing to compare."""
    options = _parser().parse_args()
    try:
        with stoppable():
            _run(options)
    except KeyboardInterrupt as error:
        told = "the same command writes what is missing"
        say(f"unlearn-compare: stopped by {str(error) or 'SIGINT'}; {told}", sys.stderr)
        sys.exit(exit_status(error))
    except ConfigurationError as error:
        say(f"unlearn-compare: {error}", sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:
        told = shortened(str(error))
        say(f"unlearn-compare: {told}; give --out a folder that can be written", sys.stderr)
        sys.exit(ConfigurationError.exit_status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unlearn-compare", description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of runs or sweeps, or patterns in quotes")
    parser.add_argument("--out", type=Path, help="folder for the files; default: the first of RUNS")
    parser.add_argument("--csv", type=Path, help="another place for comparison.csv")
    parser.add_argument(
        "--markdown",
        type=Path,
        help="page to write the table into, between its two markers; or a new file",
    )
    parser.add_argument(
        "--baseline", help="the group that others are compared with; default: the first"
    )
    parser.add_argument(
        "--at-retain",
        type=float,
        metavar="LEVEL",
        help="compare mixes of model and target that keep this share of retain/probability, such "
        "as 0.98; loads the models, and leaves RUN/evaluations/at-retain-LEVEL",
    )
    parser.add_argument(
        "--config-dir", type=Path, help="with --at-retain: your own groups, where runs were given"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="with --at-retain: run the code that the runs' records name",
    )
    parser.add_argument("--strict", action="store_true", help="refuse unlike runs (exit status 2)")
    return parser


def check_places(options: argparse.Namespace) -> None:
    """Raise ConfigurationError for places where nothing can be written, before anything is."""
    problems = []
    if options.out and os.path.exists(options.out) and not os.path.isdir(options.out):
        problems.append(f"--out: {str(options.out)!r} is a file; give a folder")
    for flag in ("csv", "markdown"):
        if (file := getattr(options, flag)) is None:
            continue
        shown = f"--{flag}: {shortened(repr(str(file)))}"
        if os.path.isdir(file):
            problems.append(f"{shown} is a folder; give a file in it")
        elif not os.path.isdir(file.parent):
            problems.append(f"{shown}: there is no such folder; make it, or give another file")
    level = options.at_retain
    if level is not None and not (math.isfinite(level) and 0 < level <= 1):
        problems.append(f"--at-retain: {level:g}; allowed: above 0, up to 1, such as 0.98")
    problems += [
        f"{flag}: only with --at-retain; leave it out"
        for flag, given in (("--config-dir", options.config_dir), ("--trust", options.trust))
        if given and level is None
    ]
    if options.config_dir and not os.path.isdir(options.config_dir):
        problems.append(f"--config-dir: no such folder: {shortened(str(options.config_dir))}")
    if options.baseline == "":
        problems.append("--baseline: '' names no group; leave it out for the first one")
    if problems:
        raise ConfigurationError(problems)


def _run(options: argparse.Namespace) -> None:
    from unlearn.report.comparison.export import check_page, write_markdown
    from unlearn.report.comparison.gather import compare
    from unlearn.report.comparison.printed import print_comparison
    from unlearn.report.comparison.runs import folders_of
    from unlearn.report.comparison.written import write_comparison

    check_places(options)
    if options.markdown:
        check_page(options.markdown)
    folders = folders_of(options.runs)
    compared = folders if options.at_retain is None else _mixed(folders, options)
    comparison = compare(compared, options.baseline)
    if options.strict and len(comparison.sections) > 1:
        told = [
            f"kind {number}, such as {section.runs[0].path}: {'; '.join(section.unlike)}"
            for number, section in enumerate(comparison.sections, 1)
            if section.unlike
        ]
        first = comparison.sections[0].runs[0].path
        raise ConfigurationError(
            f"--strict: {len(comparison.sections)} kinds of runs that cannot be compared. Against "
            f"kind 1, such as {first}: {' | '.join(told)}. Compare each kind by itself, or leave "
            "--strict out"
        )
    print_comparison(comparison)
    written = write_comparison(comparison, options.out or folders[0], options.csv)
    if options.markdown:
        write_markdown(options.markdown, comparison)
        written.append(options.markdown)
    for path in written:
        say(f"written: {path}")


def _mixed(folders: list[Path], options: argparse.Namespace) -> list[Path]:
    """Return the evaluation at the level of every run below the folders; made where it is not."""
    from unlearn.commands.evaluate import set_up
    from unlearn.experiment.equal_level import at_equal_level, mixed_in_words
    from unlearn.report.comparison.runs import find_runs

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    set_up()
    runs = find_runs(folders)
    found = at_equal_level(runs, options.at_retain, options.config_dir, options.trust, say)
    for place in found:
        say(mixed_in_words(place))
    return found
