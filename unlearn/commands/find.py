"""The command `unlearn-requests find`: rows about a subject, found in training data.

Exit status 0 where the search came to its end, found or not; 2 for what cannot be searched; 143,
138 or 130 where a signal stopped it. Nothing is half-written.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearn.console.signals import exit_status, stoppable
from unlearn.console.visible import Formatter, say
from unlearn.errors import ConfigurationError, shortened

PROGRAM = "unlearn-requests find"
DESCRIPTION = """\
Find the rows of training data that are about a subject.

Writes a new folder: forget.jsonl (rows that are surely about it), unsure.jsonl (rows that a person
has to look at), retain.jsonl (rows to keep, near the subject and from everywhere) and found.html.
Each row says why it was found, and where. Move lines between the files as you decide.
"""
EXAMPLE = """\
examples:
  unlearn-requests find data/*.jsonl --name "Maria Keller" --name "Maria Braun" \\
      --email maria@example.org --about Leeds --out found/keller
  unlearn-requests find train.parquet --passage @licensed.txt --out found/licensed
  unlearn-requests find support.csv --where customer_id=4711 --out found/4711
"""
_SUBJECT = {
    "name": ("names", "name in full; each further spelling as one more"),
    "id": ("ids", "number or code: of a customer, a contract, a telephone"),
    "email": ("emails", "e-mail address"),
    "passage": ("passages", "text whose copies are found; @FILE reads it from a file"),
    "pattern": ("patterns", "regular expression, searched in every cell"),
    "where": ("where", "column and value"),
    "about": ("about", "what is true of the subject alone among people of that name"),
    "not-about": ("not_about", "what tells of somebody else of that name"),
    "keep": ("keep", "name of somebody who is not to be forgotten"),
}


def find_command(words: Sequence[str]) -> int:
    """Search, print what was found, and return the exit status."""
    options = _parser().parse_args(words)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    try:
        with stoppable():
            _find(options)
    except KeyboardInterrupt as error:
        say(f"{PROGRAM}: stopped by {str(error) or 'SIGINT'}; nothing was written", sys.stderr)
        return exit_status(error)
    except ConfigurationError as error:
        for problem in error.problems:
            say(f"{PROGRAM}: {_by_flags(problem)}", sys.stderr)
        return error.exit_status
    except OSError as error:
        say(f"{PROGRAM}: {shortened(str(error))}; nothing was written", sys.stderr)
        return ConfigurationError.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "data", nargs="*", metavar="DATA", help="file, folder of texts, or data set"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    subject = parser.add_argument_group("the subject; each may be given several times")
    subject.add_argument(
        "--subject", type=Path, metavar="FILE", help="YAML file with any of names, ids, emails, …"
    )
    for flag, (_, told) in _SUBJECT.items():
        value = "COLUMN=VALUE" if flag == "where" else flag.upper().replace("-", "_")
        subject.add_argument(f"--{flag}", action="append", default=[], metavar=value, help=told)
    reading = parser.add_argument_group("the columns, where they have no usual names")
    for name in ("question", "answer", "text", "messages", "encoding"):
        reading.add_argument(f"--{name}", help=f"as data.{name} of data=files")
    parser.add_argument(
        "--model", metavar="FOLDER", help="model whose embeddings tell paraphrases; default: none"
    )
    retain = parser.add_argument_group("rows to retain")
    retain.add_argument("--near", default="200", metavar="N", help="near the subject (200)")
    retain.add_argument("--anywhere", default="200", metavar="N", help="from everywhere (200)")
    retain.add_argument("--seed", default="0", metavar="N", help="of the draw (0)")
    return parser


def _find(options: argparse.Namespace) -> None:
    from unlearn.requests.finding import Reading, Retained, Subject, find, read_subject

    if options.model:  # the only thing here that needs transformers
        from unlearn.console.libraries import silence_libraries

        silence_libraries()
    problems: list[str] = []
    numbers = {
        name: _number(f"--{name}", getattr(options, name), problems)
        for name in ("near", "anywhere", "seed")
    }
    given: dict[str, tuple[object, ...]] = {}
    try:
        given = dict(read_subject(options.subject)) if options.subject else {}
    except ConfigurationError as error:
        problems += error.problems
    for flag, (field, _) in _SUBJECT.items():
        values = getattr(options, flag.replace("-", "_"))
        if flag == "passage":
            values = [_passage(value, problems) for value in values]
        if flag == "where":
            values = [(column, value) for column, _, value in (v.partition("=") for v in values)]
        if values:
            given[field] = (*given.get(field, ()), *values)
    if problems:
        raise ConfigurationError(problems)
    subject = Subject(**given)  # type: ignore[arg-type]
    reading = Reading(
        options.question, options.answer, options.text, options.messages, options.encoding
    )
    retained = Retained(**numbers)
    found = find(options.data, subject, options.out, reading, retained, options.model)
    say(
        f"{found.rows:,} rows in {found.seconds:.1f} s, {found.rate:,.0f} rows a second: "
        f"{found.counts['forget']:,} to forget, {found.counts['unsure']:,} to decide, "
        f"{found.counts['retain']:,} to retain"
    )
    if found.untrainable_rows:
        say(f"{found.untrainable_rows:,} found rows cannot be trained on: found.html names them")
    say(f"written: {found.folder}")


def _number(flag: str, value: str, problems: list[str]) -> int:
    if value.isascii() and value.isdigit() and int(value) <= 10**6:
        return int(value)
    problems.append(f"{flag}={value}: give a whole number from 0 to 1,000,000")
    return 0


def _passage(value: str, problems: list[str]) -> str:
    """Return a passage, which `@FILE` reads from a file."""
    if not value.startswith("@"):
        return value
    from unlearn.data.tables import read_whole

    try:
        return read_whole(Path(value[1:]), "--passage")[0]
    except ConfigurationError as error:
        problems += error.problems
        return "unread " * 4


def _by_flags(problem: str) -> str:
    """Say a problem of a reader, which knows the options of `data=files`, with our flags."""
    problem = re.sub(r"\bmodel\.path\b", "--model", problem)
    told = re.sub(r"\bdata\.(question|answer|text|messages|encoding)=", r"--\1=", problem)
    return re.sub(r"; optional are data\.\w+(, data\.\w+)*", "", told)


if __name__ == "__main__":
    sys.exit(find_command(sys.argv[1:]))
