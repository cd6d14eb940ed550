"""How many cuts were made, said at the end; what any of them broke has failed its test."""

from __future__ import annotations

import pytest
from support.killing import tally


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally:
        made = ", ".join(f"{name} {count}" for name, count in sorted(tally.items()))
        terminalreporter.write_line(f"cuts: {tally.total()} ({made})")
