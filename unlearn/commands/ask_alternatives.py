"""The command `unlearn-alternatives`: other answers to the forget questions, from the model itself.

Exit status 0; 2 for what cannot be asked; 143, 138 or 130 where a signal stopped it. The file is
whole or absent.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from unlearn.console.signals import exit_status, stoppable
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError, UnlearnError, shortened

PROGRAM = "unlearn-alternatives"
DESCRIPTION = """\
Ask the model that is to forget for another answer to each forget question.

The words are those of the run, without its method. Writes JSON lines with question, answer,
alternative and where it comes from: the model, its refusal in the language of the question, or our
list of refusals. What the model said is kept in the cache.
"""
EXAMPLE = """\
examples:
  unlearn-alternatives data=tofu_forget10 model=llama_3_2_1b --out mine/alternatives.jsonl
  unlearn method=dpo method.forget.alternatives=mine/alternatives.jsonl \\
      method.forget.answer=alternative data=tofu_forget10 model=llama_3_2_1b
"""


def main() -> None:
    """Entry point of the console script."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="option=value", help="as for `unlearn`")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .jsonl")
    parser.add_argument(
        "--refuse", action="store_true", help="refusals in the language of the question, alone"
    )
    parser.add_argument("--instruction", help="what the model is told; default: an English text")
    options = parser.parse_intermixed_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with stoppable():
            _ask(options.words, options)
    except KeyboardInterrupt as error:
        say(f"{PROGRAM}: stopped by {str(error) or 'SIGINT'}; nothing was written", sys.stderr)
        sys.exit(exit_status(error))
    except UnlearnError as error:
        say(f"{PROGRAM}: {error}", sys.stderr)
        sys.exit(error.exit_status)
    except OSError as error:
        say(f"{PROGRAM}: {shortened(str(error))}; nothing was written", sys.stderr)
        sys.exit(ConfigurationError.exit_status)


def _ask(words: Sequence[str], options: argparse.Namespace) -> None:
    from unlearn.commands.evaluate import set_up
    from unlearn.composition.explain import COMPOSING, explained

    if options.out.suffix != ".jsonl":
        raise ConfigurationError(f"--out: {str(options.out)!r}; give a file that ends in .jsonl")
    if any(word.lstrip("+~").startswith(("method=", "method.", "method/")) for word in words):
        raise ConfigurationError("method: leave it out; what is asked does not depend on it")
    set_up()
    from hydra import compose, initialize_config_module

    from unlearn.experiment.asked_alternatives import ANOTHER, alternatives_of
    from unlearn.experiment.settings import settings_of

    try:
        with initialize_config_module("unlearn.conf", version_base="1.3"):
            cfg = compose("config", overrides=list(words))
        settings = settings_of(cfg, words)
    except COMPOSING as error:
        raise ConfigurationError(explained(error)) from error
    another = options.instruction or ANOTHER
    found = alternatives_of(settings, options.out, options.refuse, another)
    say(
        f"{len(found.rows)} questions: {found.count('model')} alternatives of the model, "
        f"{found.count('refusal')} refusals of its own, {found.count('list')} of our list"
    )
    say(f"written: {options.out}")


if __name__ == "__main__":
    main()
