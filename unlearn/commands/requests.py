"""The command `unlearn-requests`: deletion requests of one model, from recording to proof.

Exit status: 0 done; 1 a run failed, or `verify` found something; 2 what was asked for cannot be,
and nothing has changed; 3 a run was not accepted; 143, 138 or 130 where a signal stopped it.
"""

from __future__ import annotations

import argparse
import os
import sys

from unlearn.commands.find import find_command
from unlearn.commands.requests_actions import ACTIONS
from unlearn.console.signals import exit_status, stoppable
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError, UnlearnError, shortened
from unlearn.record.claim import release_all


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:]
    if words[:1] == ["find"]:  # takes its words itself: there is no request and no ledger yet
        sys.exit(find_command(words[1:]))
    options = parser().parse_intermixed_args(words)
    try:
        with stoppable():
            sys.exit(ACTIONS[options.action](options))
    except KeyboardInterrupt as error:
        told = "the same command goes on where it was"
        say(f"unlearn-requests: stopped by {str(error) or 'SIGINT'}; {told}", sys.stderr)
        sys.exit(exit_status(error))
    except UnlearnError as error:
        for line in getattr(error, "problems", [str(error)]):
            say(f"unlearn-requests: {line}", sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:
        say(f"unlearn-requests: {shortened(str(error))}", sys.stderr)
        sys.exit(ConfigurationError.exit_status)
    finally:
        release_all()


def parser() -> argparse.ArgumentParser:
    """Return the parser of every action but `find`."""
    found = argparse.ArgumentParser(
        prog="unlearn-requests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = {
        "find": "find rows about a subject in training data",
        "start": "make a ledger for a model",
        "add": "record a request",
        "status": "list requests: open, due, overdue, done, failed",
        "run": "unlearn what is open, from the model at the head",
        "verify": "see whether anything is not as it was written",
        "forget-texts": "erase the texts of a request that is done",
        "report": "write certificate and decision page",
    }
    told = "\n".join(f"  {name:<13} {text}" for name, text in actions.items())
    found.epilog = f"actions:\n{told}\n\nhelp on one of them: unlearn-requests ACTION --help"
    found.add_argument("action", choices=actions, metavar="ACTION")
    found.add_argument("ledger", metavar="LEDGER", help="folder of the ledger")
    found.add_argument(
        "words", nargs="*", metavar="WORD", help="requests' ids, files, and option=value"
    )
    found.add_argument("--retain", help="add: rows close to the forgotten ones that must stay")
    found.add_argument("--subject", default="", help="add: a reference, such as a ticket's number")
    found.add_argument("--reason", default="", help="add: why it is asked for")
    found.add_argument("--legal-basis", default="", help="add: such as 'GDPR Art. 17'")
    found.add_argument("--received", help="add: day, as 2026-11-26; default: today")
    found.add_argument("--due", help="add: day by which it must be done")
    found.add_argument("--together", action="store_true", help="run: all of them in one run")
    found.add_argument("--no-wait", action="store_true", help="run: refuse where another one runs")
    found.add_argument("--texts", action="store_true", help="report: show rows and answers")
    return found


if __name__ == "__main__":
    main()
