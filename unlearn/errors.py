"""The errors that people meet, each with the exit status that the command ends with."""

import re
from importlib.metadata import PackageNotFoundError, requires


def first_line(error: object) -> str:
    """Return the first line of what an error says; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def to_install(extra: str) -> str:
    """Return the command that installs what an extra of pyproject.toml brings.

    It names the packages, so that it works wherever this one came from: the name on the index
    belongs to somebody else's. From a checkout that was never installed it names the extra.
    """
    try:
        lines = requires("unlearn") or []
    except PackageNotFoundError:
        lines = []
    marked = re.compile(rf"""^(.*?)\s*;.*extra\s*==\s*["']{extra}["']""")
    packages = [found[1] for line in lines if (found := marked.match(line))]
    return "pip install " + (" ".join(f"'{name}'" for name in packages) or f"-e '.[{extra}]'")


class UnlearnError(Exception):
    """A run that cannot go on; the message alone must tell what to do."""

    exit_status = 1


class ConfigurationError(UnlearnError):
    """A wrong configuration or wrong data, found before any model loads.

    Takes one problem or all of them: whoever mends a configuration wants the whole list at once.
    """

    exit_status = 2

    def __init__(self, problems: str | list[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(ConfigurationError):
    """Data that cannot be unlearned as it stands; the message shows the row."""


class NumericalError(UnlearnError):
    """A loss, norm or weight that is not finite."""


class Interrupted(UnlearnError):
    """A job of a sweep that a signal ended, as one that joblib's worker can hand back.

    `exit_status` is that of the signal; of a KeyboardInterrupt the other workers would be killed.
    """

    def __init__(self, message: str, exit_status: int = 143) -> None:
        super().__init__(message, exit_status)
        self.exit_status = exit_status

    def __str__(self) -> str:
        return str(self.args[0])


class Rejected(UnlearnError):
    """A completed run whose verdict is no, under ``accept.strict=true``."""

    exit_status = 3
