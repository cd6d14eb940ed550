"""`unlearn --help` answers at once: nothing heavy is imported, and Hydra copies little."""

import copy
import resource
import subprocess
import sys

from hydra.core.config_store import ConfigStore

from unlearn.composition.register import register

HEAVY = "torch transformers datasets tokenizers wandb matplotlib pandas numpy scipy pyarrow rich"

HELP = f"""
import sys
sys.argv = ["unlearn", "--help"]
from unlearn.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
found = sorted(set("{HEAVY}".split()) & set(sys.modules))
assert not found, found
"""


def test_help_imports_nothing_heavy_and_takes_less_than_a_second() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    # Processor time, not wall time: how busy the machine is proves nothing.
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert done.returncode == 0, done.stderr
    assert "Groups and their choices" in done.stdout
    assert spent < 1.0


def test_a_copy_of_the_config_store_still_hands_out_copies() -> None:
    register()
    store = copy.deepcopy(ConfigStore.instance())
    first, second = (store.load("schema/model/base.yaml").node for _ in range(2))
    first.path = "somewhere"
    assert second.path is None
