"""Set before torch is imported: one thread, no network, no tracker."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest
import torch
from support.command import Command

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tofu_path() -> Path:
    """The folder of the real TOFU: UNLEARN_TOFU_PATH, or beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "tofu"
    path = Path(os.environ.get("UNLEARN_TOFU_PATH") or beside)
    if not (path / "full.json").is_file():
        pytest.skip("the real TOFU is not here; set UNLEARN_TOFU_PATH to its folder")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own: they neither use nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["UNLEARN_CACHE"] = str(folder)
    return folder


@pytest.fixture
def unlearn(tmp_path: Path) -> Command:
    """The command `unlearn`, in a folder of the test's own."""
    return Command(tmp_path)
