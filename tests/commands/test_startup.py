"""`unlearn --help` answers at once: it imports little, and Hydra copies little.

The time it takes is measured by `python -m benchmarks.startup`; here is what it may import.
"""

import copy
import subprocess
import sys

import pytest
from hydra.core.config_store import ConfigStore

from unlearn.composition.register import register

ALLOWED = ("unlearn", "hydra", "hydra_plugins", "omegaconf", "antlr4", "yaml", "packaging")
"""Top-level packages; of Hydra's plugins only what they import when Hydra looks for them."""

RUNTIME = ("_cython_", "cython_runtime", "__mp_main__")
"""Beginnings of names that compiled modules (PyYAML's) and multiprocessing make up themselves."""

HELP = """
import sys
bare = set(sys.modules)  # what the interpreter itself and .pth files load
sys.argv = ["unlearn", "--help"]
from unlearn.commands.run import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*(set(sys.modules) - bare), file=sys.stderr)
"""


def neither_allowed_nor_standard(code: str) -> tuple[set[str], str]:
    """Return the packages that a new process imports beyond ALLOWED, and what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    packages = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    others = packages - sys.stdlib_module_names - set(ALLOWED)
    return {name for name in others if not name.startswith(RUNTIME)}, done.stdout


@pytest.mark.slow
def test_help_imports_nothing_but_what_is_allowed() -> None:
    others, said = neither_allowed_nor_standard(HELP)
    assert "Groups and their choices" in said
    assert others == set()


def test_a_package_that_is_not_allowed_is_named() -> None:
    late = HELP.replace("    main()", "    import filelock")
    assert neither_allowed_nor_standard(late)[0] == {"filelock"}


def test_a_copy_of_the_config_store_still_hands_out_copies() -> None:
    register()
    store = copy.deepcopy(ConfigStore.instance())
    first, second = (store.load("schema/model/base.yaml").node for _ in range(2))
    first.path = "somewhere"
    assert second.path is None
