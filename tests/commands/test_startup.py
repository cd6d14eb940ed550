"""`unlearn --help` answers at once: it imports little, and Hydra copies little.

The time it takes is measured by `python -m benchmarks.startup`; here is what it may import, and
what a run must not before its steps are done.
"""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from support.command import QUICK

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


STEPS = """
import sys
from torch.optim.optimizer import register_optimizer_step_pre_hook
from unlearn.commands.run import main
seen = set()
register_optimizer_step_pre_hook(lambda *_: seen.update(sys.modules))
sys.argv = ["unlearn", *sys.argv[1:]]
main()
print(*sorted(seen), file=sys.stderr)
"""


@pytest.mark.slow
def test_no_step_waits_for_packages_that_it_does_not_need(tmp_path: Path) -> None:
    """Up to the last step of a run: neither what draws and tracks, nor what brings a stemmer."""
    words = (*QUICK, f"hydra.run.dir={tmp_path / 'run'}")
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = set(done.stderr.splitlines()[-1].split())
    assert {"torch", "transformers", "unlearn.training.trainer", "unlearn.metrics.text"} <= seen
    idle = {
        "nltk",
        "sklearn",
        "rouge_score",
        "absl",
        "scipy.stats",
        "matplotlib",
        "wandb",
        "plotly",
    }
    assert seen & idle == set()


FINDING = """
import sys
bare = set(sys.modules)
sys.argv = ["unlearn-requests", "find", "--name", "Nobody", "{data}", "--out", "{out}"]
from unlearn.commands.requests import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*(set(sys.modules) - bare), file=sys.stderr)
"""


def test_rows_are_found_without_torch(tmp_path: Path) -> None:
    data, out = tmp_path / "rows.jsonl", tmp_path / "found"
    data.write_text('{"question": "Who?", "answer": "Nobody."}\n', encoding="utf-8")
    others, said = neither_allowed_nor_standard(FINDING.format(data=data, out=out))
    assert "1 row" in said
    assert "rapidfuzz" in others
    assert {"torch", "pandas", "transformers"} & others == set()


def test_what_imports_leave_is_no_garbage_to_look_through() -> None:
    """Collected again is what a run itself makes, also where an import fails."""
    code = """
import gc
from unlearn.console.libraries import importing
before = gc.get_freeze_count()
try:
    with importing():
        assert not gc.isenabled()
        kept = [[] for _ in range(100_000)]
        raise ImportError
except ImportError:
    pass
assert gc.isenabled() and gc.get_freeze_count() - before >= 100_000
before = gc.get_freeze_count()
with importing():  # of the next job of a sweep, before which lies what is garbage
    left = [[] for _ in range(1000)]
assert gc.isenabled() and gc.get_freeze_count() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_files_of_the_models_are_read_once() -> None:
    """And the list of models is the one that transformers makes of them by itself."""
    code = """
import transformers
from transformers.utils import import_utils
from unlearn.console.libraries import importing
read = import_utils.create_import_structure_from_path
once = read.cache_info().misses
with importing():
    import transformers.models
assert read.cache_info().misses == once > 100
assert import_utils.create_import_structure_from_path is read
file = transformers.models.__file__
plain = import_utils._LazyModule("models", file, import_utils.define_import_structure(file))
assert transformers.models._class_to_module == plain._class_to_module
assert transformers.models.LlamaConfig is transformers.LlamaConfig
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scipy_comes_when_its_function_is_called() -> None:
    """As it is itself, for whoever trains a detector in our process."""
    code = """
import sys
from unlearn.console.libraries import importing
with importing():
    import transformers.modeling_utils
assert "scipy.optimize" not in sys.modules
from transformers.loss.loss_for_object_detection import linear_sum_assignment
rows, columns = linear_sum_assignment([[4, 1, 3], [2, 0, 5], [3, 2, 2]])
assert columns.tolist() == [1, 0, 2]
import scipy.optimize
assert list(scipy.optimize.linear_sum_assignment([[1, 0], [0, 1]])[1]) == [1, 0]
assert sys.modules["scipy.optimize"].__file__
"""
    subprocess.run([sys.executable, "-c", code], check=True)
