"""How many cuts were made, said at the end; what any of them broke has failed its test."""

from __future__ import annotations

from typing import Any

import pytest
from support.killing import tally

CUTS = "cuts"


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # one of several processes that share the tests
        output[CUTS] = dict(tally)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    tally.update(getattr(node, "workeroutput", {}).get(CUTS, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally:
        made = ", ".join(f"{name} {count}" for name, count in sorted(tally.items()))
        terminalreporter.write_line(f"cuts: {tally.total()} ({made})")
