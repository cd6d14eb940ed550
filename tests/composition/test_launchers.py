"""Sweeps on cores, GPUs and a cluster: the launchers' defaults, and what workers share."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_module
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from support.command import QUICK, Command
from support.forked import Forked
from support.noting import NOTING, notes

from unlearn.composition.launchers import EXTRAS, PRESETS
from unlearn.composition.register import register
from unlearn.composition.sweep import ReleaseMemory
from unlearn.compute.device import resolve_device
from unlearn.compute.workers import gpu_count, worker_count, worker_number

EIGHT = 8
MULTI, RUN = RunMode.MULTIRUN, RunMode.RUN


def launcher(*words: str) -> DictConfig:
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=list(words), return_hydra_config=True)
    return cfg.hydra.launcher


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of eight cores without a GPU."""
    pytest.importorskip("joblib")
    monkeypatch.setattr("joblib.cpu_count", lambda: EIGHT)
    monkeypatch.setattr("unlearn.compute.workers.gpu_count", lambda: 0)
    return monkeypatch


@pytest.mark.parametrize(
    ("threads", "workers"), [(None, 8), ("1", 8), ("4", 2), ("16", 1), ("x", 8)]
)
def test_workers_times_threads_is_at_most_the_cores(
    threads: str | None, workers: int, machine: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    machine.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        machine.setenv("OMP_NUM_THREADS", threads)
    assert worker_count() == workers
    assert launcher("hydra/launcher=joblib").n_jobs == workers
    assert launcher("hydra/launcher=joblib", "hydra.launcher.n_jobs=3").n_jobs == 3


def test_one_worker_a_gpu(machine: pytest.MonkeyPatch) -> None:
    machine.setattr("unlearn.compute.workers.gpu_count", lambda: 4)
    assert worker_count() == 4


@pytest.mark.parametrize(
    ("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0,3", 2), ("GPU-1a,GPU-2b,GPU-3c", 3)]
)
def test_gpus_are_those_that_a_process_may_see(
    visible: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_count() == count


def test_workers_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int | None] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    monkeypatch.setattr("torch.cuda.set_device", lambda device: chosen.append(device.index))
    assert str(resolve_device("auto")[0]) == "cuda", "no worker: torch's own choice"
    for name in ("LokyProcess-1", "LokyProcess-2", "LokyProcess-3"):
        monkeypatch.setattr(
            "multiprocessing.current_process", lambda name=name: SimpleNamespace(name=name)
        )
        device, reason = resolve_device("auto")
        assert device.index == chosen[-1]
        assert "one of 2 GPUs" in reason
    assert chosen == [0, 1, 0]
    assert str(resolve_device("cuda:1")[0]) == "cuda:1", "what is asked for stays"


def test_a_plain_process_is_no_worker() -> None:
    assert worker_number() is None


def test_slurm_composes_with_one_gpu_and_threads_as_cores(unlearn: Command) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = unlearn(
        "--cfg", "hydra", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"
    )
    assert done.status == 0
    assert "gpus_per_node: 1" in done.out
    assert "partition: gpu" in done.out
    assert "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK" in done.out


@pytest.mark.parametrize("name", PRESETS)
def test_our_defaults_lie_over_the_plugins_and_stay_options_of_theirs(name: str) -> None:
    preset = PRESETS[name]
    pytest.importorskip(preset.module)
    composed = launcher(f"hydra/launcher={name}")
    for option, value in preset.chosen.items():
        assert composed._get_node(option) is not None
        if not str(value).startswith("${"):
            assert composed[option] == value
    assert composed._target_.startswith("hydra_plugins.")


def test_a_launcher_that_is_not_installed_names_its_extra(unlearn: Command) -> None:
    choice = "hydra/launcher=ray"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRAS, choice, "sweep")
        done = unlearn("-m", choice, "seed=1")
    assert done.status == 2
    assert "pip install 'hydra-joblib-launcher" in done.err


def test_the_result_of_a_finished_job_holds_no_configuration() -> None:
    multirun, single = (OmegaConf.create({"hydra": {"mode": mode}}) for mode in (MULTI, RUN))
    done = JobReturn(cfg=multirun, hydra_cfg=multirun, status=JobStatus.COMPLETED)
    done.return_value = 0.5
    ReleaseMemory().on_job_end(single, done)
    assert done.cfg is not None
    ReleaseMemory().on_job_end(multirun, done)
    assert (done.cfg, done.hydra_cfg, done.return_value) == (None, None, 0.5)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_jobs(tmp_path: Path) -> None:
    words = ["-m", "seed=range(11)", *QUICK, "training.steps=1", NOTING]
    words += [f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    place = {"UNLEARN_TEST_NOTES": str(tmp_path / "notes")}
    done = Forked(*words, cwd=tmp_path, said=tmp_path / "said", **place).finish(tmp_path)
    assert done.status == 0, done.said
    found = notes(tmp_path / "notes")
    assert len(found) == 11
    sizes = [one["rss"] for one in found]
    grown = (min(sizes[-3:]) - min(sizes[2:5])) / 2**20
    assert grown < 8, f"MiB in six jobs: {grown:.1f}"


@pytest.mark.slow
def test_submitit_runs_a_job_in_a_process_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    words = ["-m", "hydra/launcher=submitit_local", "seed=1", *QUICK]
    words += [f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = Forked(*words, cwd=tmp_path, said=tmp_path / "said").finish(tmp_path)
    assert done.status == 0, done.said
    (summary,) = (json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/summary.json"))
    assert (summary["status"], summary["seed"]) == ("completed", 1)
