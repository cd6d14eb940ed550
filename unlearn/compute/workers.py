"""The processes that share the jobs of a sweep under `hydra/launcher=joblib`.

So many that neither the cores nor the GPUs are shared out twice. Threads: joblib gives each worker
cores ÷ workers of them, unless OMP_NUM_THREADS says how many.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path


def worker_count() -> int:
    """Return one worker a GPU where there are GPUs, else one for every OMP_NUM_THREADS cores.

    Without OMP_NUM_THREADS that is a worker a core with one thread each. The cores are those that
    this process may use: its affinity and the limit of its container count.
    """
    gpus = gpu_count()
    if gpus:
        return gpus
    from joblib import cpu_count

    threads = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(cpu_count()) // (int(threads) if threads.isdigit() and int(threads) else 1))


def worker_number() -> int | None:
    """Return this worker's number, from 0, or None in a process that joblib did not start.

    A worker that joblib had to replace leaves its number unused, so numbers go beyond the count.
    """
    found = re.fullmatch(r"LokyProcess-(\d+)", multiprocessing.current_process().name)
    return int(found[1]) - 1 if found else None


def gpu_count() -> int:
    """Count Nvidia's GPUs that a process started from here sees, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])
