"""Set before torch is imported: one thread, no network, no tracker."""

import gc
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A CPU with matrix registers that is told to be another kind: torch 2.13 packs bfloat16 for them
# all the same, and then refuses what it has packed ("pack_vnni2 is only supported when avx512 is").
if os.environ.get("ATEN_CPU_CAPABILITY", "avx512") != "avx512":
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import omegaconf.base
import pytest
import torch
from support import forked
from support.command import QUICK_YAML, Command
from support.composed import Composed
from support.summarised import summarise_once

torch.set_num_threads(1)


FIRST = (
    "test_processes",
    "test_attacks_minitofu",
    "test_rounding",
    "test_attacks_run",
    "test_examples",
    "test_footprint",
    "test_kills",
)
"""Modules whose tests share what takes a minute, or are long themselves.

Of two processes that share the tests, one takes over what the other has not begun, from the end:
what stands first is made by one of them alone, and nothing long is left for the last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in FIRST)  # which leaves the order otherwise


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what stays for good: half a million objects of libraries."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tofu_path() -> Path:
    """The folder of the real TOFU: UNLEARN_TOFU_PATH, or beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "tofu"
    path = Path(os.environ.get("UNLEARN_TOFU_PATH") or beside)
    if not (path / "full.json").is_file():
        pytest.skip("the real TOFU is not here; set UNLEARN_TOFU_PATH to its folder")
    return path


@pytest.fixture(scope="session")
def cases_path() -> Path:
    """The folder of small inputs in all languages: UNLEARN_CASES_PATH, or beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "cases"
    path = Path(os.environ.get("UNLEARN_CASES_PATH") or beside)
    if not (path / "languages").is_dir():
        pytest.skip("the small cases are not here; set UNLEARN_CASES_PATH to their folder")
    return path


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tests' own, one for all processes that share the tests.

    They neither use nor fill the user's, and a model that many tests want is trained once.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    os.environ["UNLEARN_CACHE"] = str(folder)
    return folder


@pytest.fixture
def own_cache(
    shared_cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A cache of one test, with the whole entries of the shared one, that nobody else fills.

    They are hard links: a test that writes into a file of an entry makes a copy first.
    """
    folder = tmp_path_factory.mktemp("own_cache")
    for entry in shared_cache.glob("*/*"):
        if entry.is_dir() and not entry.name.startswith("."):
            place = folder / entry.relative_to(shared_cache)
            shutil.copytree(entry, place, copy_function=os.link)
    monkeypatch.setenv("UNLEARN_CACHE", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one test without an entry, which costs no links: for commands that are refused."""
    folder = tmp_path_factory.mktemp("empty_cache")
    monkeypatch.setenv("UNLEARN_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def configurations_are_parsed_once() -> Iterator[None]:
    """Hydra reads thirty files each time that it composes, and their interpolations again.

    What OmegaConf's grammar makes of a text is a tree that is only read.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omegaconf.omegaconf.yaml", QUICK_YAML)
        for module in ("omegaconf.base", "omegaconf._utils"):
            patch.setattr(f"{module}.parse", cache(omegaconf.base.parse))
        Composed().patch(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def tables_are_summarised_once() -> Iterator[None]:
    """Every run measures target and reference, of which the cache keeps tables without metrics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn.evaluation.suites.summarise", summarise_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_server_left() -> Iterator[None]:
    """What tests/support/forked.py started ends with the tests."""
    yield
    forked.stop()


@pytest.fixture
def unlearn(tmp_path: Path) -> Command:
    """The command `unlearn`, in a folder of the test's own."""
    return Command(tmp_path)
