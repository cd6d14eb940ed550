"""Failures in words for people: the option, its value, what is allowed."""

from __future__ import annotations

import errno
import logging
import re
import sys
import traceback
from importlib.resources import files

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from unlearn.composition.given import odd_choice
from unlearn.composition.launchers import EXTRAS
from unlearn.composition.quoting import quoted_form
from unlearn.errors import (
    ConfigurationError,
    UnlearnError,
    first_line,
    lacks_memory,
    shortened,
    to_install,
)

log = logging.getLogger(__name__)

AGAIN = "the same command with the same hydra.run.dir goes on where it was"
ROOM = {
    errno.ENOSPC: f"make room, then {AGAIN}",
    errno.EDQUOT: f"the quota is used up: make room, then {AGAIN}",
    errno.EFBIG: f"a file may not be so large here (ulimit -f): raise the limit, then {AGAIN}",
    errno.EROFS: "the file system is read-only: give a folder elsewhere (hydra.run.dir)",
}
"""What helps where a file could not be written."""
LESS = (
    "take a smaller model, model.dtype=bfloat16, a lower model.max_length, or a machine with more "
    "memory"
)
"""What helps where no part of a run knows better."""

_SPACELESS = re.compile(r"\S{1000,}")
_SEVERAL = re.compile(r"Ambiguous value for argument '(.*)'\n")


def logged(error: Exception) -> UnlearnError:
    """Log a failure, a stack trace only where it is none of those people can mend themselves."""
    if isinstance(error, OmegaConfBaseException):
        error = ConfigurationError(explained(error))
    if isinstance(error, UnlearnError):
        log.error("%s", error)
        return error
    from unlearn.compute.memory import in_short  # not for `--help`

    known = isinstance(error, OSError) or lacks_memory(error)
    if lacks_memory(error):
        log.error("out of memory (%s); %s", in_short(error), LESS)
    elif isinstance(error, OSError):  # a full disk, a folder that went away
        way_out = ROOM.get(error.errno or 0)
        log.error("%s%s", error, f"; {way_out}" if way_out else "")
    else:
        log.error("the run failed", exc_info=error)
    if known:
        log.debug("where it happened (hydra.verbose=true shows this)", exc_info=error)
    return UnlearnError(f"{type(error).__name__}: {error}")


def release(error: BaseException | None) -> None:
    """Let go of what the frames of a failure hold: Hydra keeps it to the end of a sweep, and with
    the frames a model, its gradients and its optimizer."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


COMPOSING = (
    *(HydraException, OmegaConfBaseException, OSError, ValueError, TypeError, OverflowError),
    AssertionError,  # OmegaConf's, of an option of an adapter where none is chosen
)
"""What Hydra and OmegaConf raise of an override, Python's own among them."""


def explained(error: BaseException) -> str:
    """Return what Hydra or OmegaConf complains about, without the internals that it appends."""
    return _SPACELESS.sub(lambda found: shortened(found[0]), _explained(error))


def _explained(error: BaseException) -> str:
    cause = error.__cause__
    if (own := ours_within(error)) is not None:  # raised while an interpolation was resolved
        return str(own)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        extra = EXTRAS.get(f"{group}={choice}")
        way_out = f"; to have it: {to_install(extra)}" if extra else ""
        return f"{group}={choice}: no such choice; allowed: {', '.join(error.options)}{way_out}"
    if isinstance(error, MissingConfigException) and (ours := _choices(error)):
        # Hydra does not list them for a group of which any number may be chosen.
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if not group:
            return (
                "--config-name or --config-path: no such configuration; leave them out, and name "
                "the folder of your own groups by --config-dir"
            )
        allowed = f"any of {', '.join(ours)}, or your own (--config-dir)"
        return f"{group}=[{choice}]: no such choice; allowed: {allowed}"
    if isinstance(error, OmegaConfBaseException):
        return _of_option(error)
    if isinstance(error, HydraException) and isinstance(cause, OmegaConfBaseException):
        if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
            return _of_option(cause)
        override = str(error).removeprefix("Error merging override ")
        return f"{override}: {first_line(cause.msg or cause)}"
    if isinstance(error, OverrideParseException):
        return _of_grammar(error)
    if isinstance(error, HydraException) and (several := _SEVERAL.match(str(error))):
        return _of_commas(several[1])
    if not isinstance(error, OSError) and (odd := odd_choice(sys.argv[1:])) is not None:
        return f"{odd}: a choice of a group must be a string or a list of them"
    if isinstance(error, AssertionError) and (told := _of_unchosen(sys.argv[1:])) is not None:
        return told
    if (key := key_within(error)) is not None:
        return f"{key}: {first_line(error)}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"hydra.run.dir or hydra.sweep.dir: {error}; give a folder that can be written"
    return str(error).split("\n\nConfig search path")[0]


def ours_within(error: BaseException) -> ConfigurationError | None:
    """Return the error of ours that OmegaConf, and Hydra around it, wrapped into theirs.

    OmegaConf takes the cause away from what it raises, but not the context.
    """
    within: BaseException | None = error
    while within is not None and not isinstance(within, ConfigurationError):
        wrapped = isinstance(within, OmegaConfBaseException)
        within = within.__cause__ or (within.__context__ if wrapped else None)
    return within


def key_within(error: BaseException) -> str | None:
    """Return the option that OmegaConf names in an exception of Python's, as of an overflow."""
    found = re.search(r"^\s*full_key: (\S+)$", str(error), re.MULTILINE)
    return found[1] if found else None


def _of_grammar(error: OverrideParseException) -> str:
    """Say which override Hydra cannot read, and how its value is written as one string."""
    form = quoted_form(error.override, sys.argv[1:])
    if form is None:
        return str(error)
    return (
        f"{error.override}: not a value in Hydra's grammar, in which spaces, brackets, commas and "
        f"letters beyond a to z need quotes; as text it is written {form}"
    )


def _of_commas(override: str) -> str:
    form = quoted_form(override)
    return (
        f"{override}: several values between commas are for a sweep (-m), or a list in [brackets]"
        + (f"; as one text it is written {form}" if form else "")
    )


def _of_unchosen(overrides: list[str]) -> str | None:
    """Say which override sets an option of an adapter where none is chosen."""
    for override in overrides:
        name = override.lstrip("+").partition("=")[0]
        if name.startswith("model.adapter."):
            return f"{name}: no adapter is chosen; choose with model/adapter=lora"
    return None


def _choices(error: MissingConfigException) -> list[str]:
    """Return what this package has of the group in which a choice was not found; none outside."""
    folder = files("unlearn.conf").joinpath(str(error.missing_cfg_file).rpartition("/")[0])
    if not folder.is_dir():
        return []
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))


def _of_option(error: OmegaConfBaseException) -> str:
    """Say what is wrong with an option that is unknown, unset or cannot be resolved."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: not set; give {error.full_key}=VALUE"
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)) and error.parent_node is not None:
        allowed = [str(key) for key in error.parent_node if key != "hydra"]
        if not allowed:  # a group of which any number may be chosen, and none is
            place, _, chosen = str(error.full_key).rpartition(".")
            group = place.replace(".", "/")
            return (
                f"{error.full_key}: nothing is chosen for {group}; choose with {group}=[{chosen}]"
            )
        return f"{error.full_key}: no such option; allowed here: {', '.join(allowed)}"
    said = first_line(error.msg or error)
    return f"{error.full_key}: {said}" if error.full_key else said
