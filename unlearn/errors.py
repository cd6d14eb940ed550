"""The errors that people meet, each with the exit status that the command ends with."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires


def first_line(error: object) -> str:
    """Return the first line of what an error says; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def shortened(text: str, most: int = 300) -> str:
    """Return a text that is not too long for a message."""
    return text if len(text) <= most else f"{text[:100]}… ({len(text):,} letters)"


LONGEST_SAID = 300
"""Letters of a library's message that are shown."""


def said_by(error: BaseException) -> str:
    """Return what an error of a library says, in one short line; its kind where that tells more."""
    line = first_line(error)
    if line.endswith(":"):  # what was expected and what was found stand on the next line
        line += "".join(f" {after.strip()}" for after in str(error).strip().splitlines()[1:2])
    kind = type(error)
    telling = isinstance(error, (OSError, ValueError, ImportError, RuntimeError))
    if not (telling or kind is Exception or line == kind.__name__) or kind is RecursionError:
        line = f"{kind.__name__}: {line}"
    return line if len(line) <= LONGEST_SAID else line[: LONGEST_SAID - 1] + "…"


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


OUT_OF_MEMORY = (
    "can't allocate memory",  # the CPU allocator of torch
    "not enough memory: you tried to allocate",  # the same on Windows
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
    "Cannot allocate memory",
    "out of memory",
)
"""What the errors say that libraries raise in their own ways."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory is not enough, on whatever device.

    torch has no one exception for it: a GPU raises `torch.OutOfMemoryError`, the CPU and libraries
    of the GPU a RuntimeError, numpy and Python a MemoryError.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    ours = isinstance(error, UnlearnError)
    return not ours and any(said in str(error) for said in OUT_OF_MEMORY)


def is_fault(error: BaseException) -> bool:
    """Return whether an exception is a fault, and not an interrupt or an exit.

    Libraries in Rust panic with a BaseException, which no `except Exception` sees.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextmanager
def translating(told: Callable[[BaseException], UnlearnError]) -> Iterator[None]:
    """Turn whatever a library raises within into an error of ours.

    For the calls by which a library reads what comes from elsewhere: it promises no class of
    errors, and a wrong number in a file ends in any. Our own errors and interrupts pass.
    """
    try:
        yield
    except UnlearnError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        raise told(error) from error
