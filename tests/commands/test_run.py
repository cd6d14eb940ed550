"""The command line: help, printed configurations, tab completion, exit statuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.command import QUICK, Command, finish, start

from unlearn.errors import ConfigurationError, DataError, NumericalError, Rejected, UnlearnError

ROOT = Path(__file__).parents[2]

HEAVY = ("torch", "transformers", "datasets", "wandb", "matplotlib", "pandas", "numpy", "rich")
"""What takes seconds to import, and no question about the configuration needs."""


@pytest.fixture(scope="module")
def help_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("help")
    done = Command(folder)("--help", run=folder)
    assert done.status == 0
    assert done.err == ""
    return done.out


def section(text: str, title: str) -> list[str]:
    """The lines below a title of the help."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"== {title}")) + 1
    rest = lines[first:]
    return rest[: next((i for i, line in enumerate(rest) if line.startswith("== ")), len(rest))]


def test_help_lists_every_group_with_every_choice(help_text: str) -> None:
    listed = {
        line.split(": ")[0]: line.split(": ")[1].split(", ")
        for line in section(help_text, "Groups and their choices")
        if line
    }
    groups: dict[str, list[str]] = {}
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        if path.parent != ROOT / "conf":
            group = str(path.parent.relative_to(ROOT / "conf"))
            groups.setdefault(group, []).append(path.stem)
    # Plugins bring choices of these two; which ones are installed is not ours to say.
    of_hydra = {group: listed.pop(group) for group in list(listed) if group.startswith("hydra/")}
    assert {"hydra/launcher", "hydra/sweeper"} <= of_hydra.keys()
    assert all("basic" in of_hydra[group] for group in ("hydra/launcher", "hydra/sweeper"))
    assert listed == groups


def test_help_is_for_people(help_text: str) -> None:
    assert "schema" not in help_text, "the schemas are ours to compose with"
    assert "???" not in help_text
    assert help_text.startswith("unlearn removes chosen data from a language model")
    assert 'eval "$(unlearn -sc install=bash)"' in help_text
    options = section(help_text, "Options of the composed configuration")
    for option in ("  steps: null", "  lr: 0.0001", "seed: 0", "reference: auto"):
        assert option in options


@pytest.mark.slow
def test_the_examples_of_the_help_compose(help_text: str, unlearn: Command) -> None:
    examples = [line for line in section(help_text, "Examples") if line.startswith("unlearn")]
    assert len(examples) >= 5
    for line in examples:
        words = [word for word in line.split("   ")[0].split()[1:] if word != "-m"]
        # A sweep has no single configuration; its first job has one.
        words = [word.split(",")[0] for word in words]
        done = unlearn("--cfg", "job", *words)
        assert done.status == 0, f"{line}\n{done.said}"


def test_help_lists_the_users_own_groups(unlearn: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / "mymethod.yaml").write_text("forget: null\n")
    done = unlearn("--config-dir", str(tmp_path / "mine"), "--help")
    assert ", mymethod, " in done.out


def test_the_configuration_is_printed_and_composes_again(unlearn: Command, tmp_path: Path) -> None:
    words = ("method=linear", "method.weighting.retain_share=0.9", "model=llama_3_2_1b")
    done = unlearn("--cfg", "job", *words)
    assert done.status == 0
    printed = OmegaConf.create(done.out)
    assert printed.method.weighting.retain_share == 0.9
    assert printed.model.dtype == "float32"
    assert "hydra" not in printed
    assert list(tmp_path.iterdir()) == [], "printing leaves no files"


def test_the_version_is_ours(tmp_path: Path) -> None:
    assert finish(start("--version", cwd=tmp_path), tmp_path).out.startswith("unlearn 0.1")


# Tab completion, as the function that `unlearn -sc install=bash` defines asks for it.


def completions(line: str, cwd: Path) -> list[str]:
    done = finish(start("-sc", "query=bash", cwd=cwd, COMP_LINE=line, COMP_POINT="999"), cwd)
    assert done.status == 0, done.said
    assert done.err == ""
    return done.out.split()


@pytest.mark.slow
def test_tab_completes_choices_and_options(tmp_path: Path) -> None:
    methods = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
    assert completions("unlearn method=", tmp_path) == [f"method={name}" for name in methods]
    assert completions("unlearn data=minitofu training.ba", tmp_path) == ["training.batch_size="]


@pytest.mark.parametrize(
    "words", [("-sc", "query=bash"), ("--cfg", "job"), ("method=ngdif",)], ids=" ".join
)
def test_answers_without_importing_anything_heavy(words: tuple[str, ...], tmp_path: Path) -> None:
    program = f"""
import sys
sys.argv = ["unlearn", *{words!r}]
from unlearn.commands.run import main
try:
    main()
finally:
    print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"COMP_LINE": "unlearn method=", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_install_of_the_completion(unlearn: Command) -> None:
    done = unlearn("-sc", "install=bash", run=unlearn.folder)
    assert done.status == 0
    assert "complete -o nospace" in done.out


# Processes.


@pytest.mark.slow
def test_the_module_is_the_command(tmp_path: Path) -> None:
    by_module = finish(start("--cfg", "job", cwd=tmp_path), tmp_path)
    script = Path(sys.executable).with_name("unlearn")
    if not script.exists():
        pytest.skip("the console script is not installed in this environment")
    by_script = subprocess.run(
        [script, "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert by_module.status == 0
    assert by_module.out == by_script.stdout


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = start("--help", cwd=tmp_path)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


STATUSES = [
    (None, 0),
    (UnlearnError("it broke"), 1),
    (NumericalError("not finite"), 1),
    (RuntimeError("a bug"), 1),
    (OSError("no space"), 1),
    (ConfigurationError("wrong"), 2),
    (DataError(["wrong", "and wrong"]), 2),
    (Rejected("no"), 3),
    (KeyboardInterrupt(), 130),
]
IN_A_SWEEP = (RuntimeError, OSError, DataError, Rejected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status", "flags"),
    [(error, status, ()) for error, status in STATUSES]
    + [(error, status, ("-m",)) for error, status in STATUSES if isinstance(error, IN_A_SWEEP)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_exit_statuses(
    error: BaseException | None,
    status: int,
    flags: tuple[str, ...],
    unlearn: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("unlearn.experiment.run.run", run)
    done = unlearn(*flags, *QUICK)
    assert done.status == status
    is_a_bug = isinstance(error, RuntimeError)
    assert ("Traceback" in done.said) == is_a_bug
    if error is not None and str(error):
        assert done.err.count(f"ERROR {error}") == (0 if is_a_bug else 1)
