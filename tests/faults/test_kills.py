"""Killed, stopped and interrupted at moments drawn by a seed: nothing is lost, doubled or half.

What is quick runs in CI, one cut of each kind; `make faults` makes a hundred of them and says how
many. docs/faults.md tells what is promised.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.command import QUICK, Command, Done, files_in, finish, start
from support.forked import Forked
from support.killing import (
    KINDS,
    Draw,
    Kind,
    cut,
    cut_after,
    require_kept,
    require_nothing_left,
    require_whole,
    results,
    status,
    tally,
)
from support.noting import NOTING, notes

RUN = (
    *(word for word in QUICK if not word.startswith("training.steps")),
    "training.steps=24",
    "evaluation.every=5",
    "training.checkpoint_every=3",
)
"""A run of a second or two, with evaluations on the way."""
SEEDS = (0, 1)
COMPARE, EVALUATE = "unlearn.commands.compare", "unlearn.commands.evaluate"


@pytest.fixture(scope="module", autouse=True)
def listening() -> Iterator[None]:
    """Let processes inherit that Ctrl-C is listened to: behind `&` a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., Forked]:
    """Start a command in a process of its own, by default with a cache of the test's own."""

    def start_one(*words: str, said: str = "said", command: str = "unlearn.commands.run") -> Forked:
        place = {"UNLEARN_CACHE": str(tmp_path / "cache")}
        return Forked(*words, cwd=tmp_path, said=tmp_path / said, command=command, **place)

    return start_one


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Done]:
    """The run with a seed that nobody cuts, in this process and with the tests' cache."""
    place = Command(tmp_path_factory.mktemp("whole"))

    @cache
    def run(seed: int) -> Done:
        done = place(*RUN, f"seed={seed}")
        assert done.status == 0, done.said
        return done

    return run


def same(folder: Path, whole: Done) -> None:
    """AssertionError where a run does not end as the one that nobody cut."""
    found, expected = results(Done(0, "", "", folder)), results(whole)
    assert {k for k in expected if found[k] != expected[k]} == set()
    require_whole(folder)
    require_nothing_left(folder)


def quick_and(whole: int, *quick: tuple[Kind, ...]) -> pytest.MarkDecorator:
    """Give a test the kinds of the quick part, and `whole` draws of four kinds for the rest."""
    drawn = [pytest.param(number, id=f"quick-{number}") for number in range(len(quick))]
    rest = [
        pytest.param(number, marks=(pytest.mark.faults, pytest.mark.slow), id=f"drawn-{number}")
        for number in range(len(quick), len(quick) + whole)
    ]
    return pytest.mark.parametrize("seed", [*drawn, *rest])


def kinds(draw: Draw, seed: int, quick: tuple[Kind, ...], count: int = 4) -> list[Kind]:
    """The kinds of the cuts of a test: those named where it is the quick one, else drawn."""
    return list(quick) if seed == 0 else [draw.kind() for _ in range(count)]


@quick_and(11, KINDS)
@pytest.mark.slow
def test_a_run_ends_the_same(
    seed: int, tmp_path: Path, begin: Callable[..., Forked], whole: Callable[[int], Done]
) -> None:
    """Forty-eight cuts: while target, training, evaluation and report are made."""
    draw, folder = Draw(seed), tmp_path / "cut"
    words = (*RUN, f"hydra.run.dir={folder}", "seed=0")
    for kind in kinds(draw, seed, KINDS):
        process = begin(*words)
        if cut_after(draw.randint(1, 24), process, (folder, tmp_path / "cache"), kind):
            tally[f"run {kind.name}"] += 1
        if kind is Kind.term and (folder / "summary.json").exists():
            require_kept(folder)
        require_whole(folder, tmp_path / "cache")
    last = begin(*words).finish(folder)
    assert last.status == 0, last.said
    same(folder, whole(0))
    require_nothing_left(tmp_path / "cache")


@quick_and(6)
@pytest.mark.slow
def test_a_sweep_ends_the_same(
    seed: int, tmp_path: Path, begin: Callable[..., Forked], whole: Callable[[int], Done]
) -> None:
    """24 cuts: every job is there once, none ran twice, and nobody says 0 before."""
    draw, folder = Draw(100 + seed), tmp_path / "cut"
    words = ("-m", *RUN, f"hydra.sweep.dir={folder}", "seed=0,1")
    complete: dict[Path, bytes] = {}
    for kind in draw.choices(KINDS, k=4):
        process = begin(*words)
        if cut_after(draw.randint(1, 60), process, (folder, tmp_path / "cache"), kind):
            tally[f"sweep {kind.name}"] += 1
        require_whole(folder, tmp_path / "cache")
        complete = require_once(folder, complete)
    assert begin(*words).finish(folder).status == 0
    require_jobs(folder, require_once(folder, complete), whole)
    require_nothing_left(tmp_path / "cache", folder)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_joblib_sweep_ends_the_same(
    seed: int, tmp_path: Path, whole: Callable[[int], Done]
) -> None:
    """Eight cuts, each of a process with two workers; a signal reaches the first alone, or all.

    Nor do workers compute with more threads than they were given.
    """
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    draw, folder = Draw(200 + seed), tmp_path / "cut"
    words = ("-m", *RUN, f"hydra.sweep.dir={folder}", "seed=0,1", "hydra/launcher=joblib")
    words += ("hydra.launcher.n_jobs=2", NOTING)
    place = {
        "UNLEARN_CACHE": str(tmp_path / "cache"),
        "UNLEARN_TEST_NOTES": str(tmp_path / "notes"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    complete: dict[Path, bytes] = {}
    for kind in draw.sample(KINDS, 4):
        process = start(*words, cwd=tmp_path, own_group=True, **place)
        watched, events = (folder, tmp_path / "cache"), draw.randint(1, 50)
        if cut_after(events, process, watched, kind, group=draw.random() < 0.5):
            tally[f"joblib {kind.name}"] += 1
        require_whole(folder, tmp_path / "cache")
        complete = require_once(folder, complete)
    done = finish(start(*words, cwd=tmp_path, own_group=True, **place), folder)
    assert done.status == 0, done.said
    assert {one["threads"] for one in notes(tmp_path / "notes")} == {1}, "OMP_NUM_THREADS"
    require_jobs(folder, require_once(folder, complete), whole)


def require_once(sweep: Path, complete: dict[Path, bytes]) -> dict[Path, bytes]:
    """Return the summaries of complete jobs; AssertionError where one was written again."""
    found = {
        path: path.read_bytes()
        for path in sweep.glob("*/summary.json")
        if Done(0, "", "", path.parent).summary["status"] == "completed"
    }
    assert {path for path in complete if found.get(path) != complete[path]} == set()
    return found


def require_jobs(sweep: Path, complete: dict[Path, bytes], whole: Callable[[int], Done]) -> None:
    """AssertionError where a job is missing, or is not what it is alone."""
    jobs = sorted(path.parent for path in complete)
    assert [Done(0, "", "", job).summary["seed"] for job in jobs] == list(SEEDS)
    for job, seed in zip(jobs, SEEDS, strict=True):
        same_job(job, whole(seed))


def same_job(job: Path, whole: Done) -> None:
    same(job, whole)
    assert f"seed: {whole.summary['seed']}" in (job / ".hydra" / "config.yaml").read_text()


@quick_and(8, (Kind.kill,))
@pytest.mark.slow
def test_one_of_two_that_prepare_a_target(
    seed: int, tmp_path: Path, begin: Callable[..., Forked], whole: Callable[[int], Done]
) -> None:
    """One is cut while both want the same target: the other makes it, or finds it whole."""
    draw = Draw(300 + seed)
    folders = [tmp_path / "one", tmp_path / "other"]
    both = [
        begin(*RUN, f"hydra.run.dir={f}", f"seed={s}", said=f.name) for s, f in enumerate(folders)
    ]
    (kind,) = kinds(draw, seed, (Kind.kill,), 1)
    first = draw.randrange(2)
    if cut_after(draw.randint(2, 12), both[first], (folders[first], tmp_path / "cache"), kind):
        tally[f"target {kind.name}"] += 1
    require_whole(*folders, tmp_path / "cache")
    assert both[1 - first].finish(folders[1 - first]).status == 0
    again = begin(*RUN, f"hydra.run.dir={folders[first]}", f"seed={first}")
    assert again.finish(folders[first]).status == 0
    for number, folder in enumerate(folders):
        same(folder, whole(number))
    require_nothing_left(tmp_path / "cache")


@quick_and(9, (Kind.kill,))
@pytest.mark.slow
def test_a_comparison_is_whole_or_absent(
    seed: int, tmp_path: Path, begin: Callable[..., Forked], whole: Callable[[int], Done]
) -> None:
    runs = [str(whole(number).folder) for number in SEEDS]

    def compared(out: str) -> Forked:
        return begin(*runs, "--out", out, command=COMPARE)

    started = time.monotonic()
    assert compared("out").finish(tmp_path).status == 0
    lasts, expected = time.monotonic() - started, files_in(tmp_path / "out")
    draw = Draw(400 + seed)
    (kind,) = kinds(draw, seed, (Kind.kill,), 1)
    process = compared("out")
    time.sleep(draw.uniform(0.3, 1) * lasts)
    if status(process) is None and cut(process, kind):
        tally[f"comparison {kind.name}"] += 1
    left = {name: data for name, data in files_in(tmp_path / "out").items() if name[0] != "."}
    assert left.keys() == expected.keys()
    assert left["comparison.csv"] == expected["comparison.csv"]
    assert left["comparison.html"].rstrip().endswith(b"</html>")
    assert compared("out").finish(tmp_path).status == 0
    assert files_in(tmp_path / "out").keys() == expected.keys(), "nothing half-written is left"


@quick_and(9, (Kind.twice,))
@pytest.mark.slow
def test_an_evaluation_is_whole_or_absent(
    seed: int, tmp_path: Path, begin: Callable[..., Forked], whole: Callable[[int], Done]
) -> None:
    """And the run that is measured again stays as it was, byte for byte."""
    run = Done(0, "", "", tmp_path / "run")
    shutil.copytree(whole(0).folder, run.folder)
    before = files_in(run.folder)

    def scored(name: str) -> Forked:
        return begin("run", "--name", name, "evaluation.rows=3", command=EVALUATE)

    started = time.monotonic()
    assert scored("whole").finish(run.folder).status == 0
    lasts = time.monotonic() - started
    draw = Draw(500 + seed)
    (kind,) = kinds(draw, seed, (Kind.twice,), 1)
    process = scored("cut")
    time.sleep(draw.uniform(0.2, 1) * lasts)
    if status(process) is None and cut(process, kind):
        tally[f"evaluation {kind.name}"] += 1
    place = run.folder / "evaluations"
    if not (place / "cut").exists():
        assert scored("cut").finish(run.folder).status == 0
    after = files_in(run.folder)
    new = {name for name in after if name not in before}
    assert {Path(name).parts[1] for name in new} == {"whole", "cut"}
    assert {name for name in before if after[name] != before[name]} == set()
    one, other = (files_in(place / name) for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    scores = [name for name in one if name.endswith(("metrics.json", ".jsonl", ".csv"))]
    assert scores and {name for name in scores if one[name] != other[name]} == set()
