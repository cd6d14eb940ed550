"""The package as others get it: its parts, its wheel, and the comment at the top of each YAML."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from unlearn.errors import to_install

ROOT = Path(__file__).resolve().parents[2]
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")), *YAMLS]
LEFT_OUT = ("torch==", "torchao==", "bitsandbytes==")
"""But for torch of the extras `quantization` and `qlora` alone, which `make install` leaves out."""
CODE = [ROOT / "Makefile", ROOT / "pyproject.toml", *sorted((ROOT / "unlearn").rglob("*.py"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command to its end and return what it printed; its whole output explains a failure."""
    # PYTHONPATH and the like would let the installed command find this repository after all.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_package_list_equals_the_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    with_code = {file.parent for file in (ROOT / "unlearn").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in with_code}
    assert sorted(listed) == sorted(found | {"unlearn.conf"})
    assert [f for f in with_code | {ROOT / "conf"} if not (f / "__init__.py").exists()] == []


def test_every_version_that_make_install_takes_has_its_hashes() -> None:
    """But for torch, of which the machine says which build fits."""
    pins, hashed = (
        re.findall(r"^([\w.-]+==[^\s\\]+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", text, re.M)
        for text in ((ROOT / name).read_text("utf-8") for name in ("constraints.txt", "hashes.txt"))
    )
    named = {pin.lower().replace("_", "-") for pin, _ in pins if not pin.startswith(LEFT_OUT)}
    assert {pin.lower().replace("_", "-") for pin, _ in hashed} == named
    assert all("--hash" in hashes for _, hashes in hashed)


def test_nothing_is_installed_by_our_name_which_belongs_to_others_on_the_index() -> None:
    """From a checkout it is `.[extra]`, and the code names the packages themselves."""
    for path in [*PAGES, *CODE]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip3? install (-\S+ )*[\"']?unlearn\b(?!-)", text), path
        for extra in re.findall(r"pip install -e [\"']\.\[(\w+)\][\"']", text):
            assert extra in EXTRAS, f"{path}: {extra}"
        for extra in re.findall(r"to_install\([\"'](\w+)[\"']\)", text):
            assert extra in EXTRAS, f"{path}: {extra}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_message_names_what_an_extra_brings(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{name}; extra == '{extra}'" for name in EXTRAS[extra]]
    lines += ["torch>=2.6", "other; extra == 'others'"]
    monkeypatch.setattr("unlearn.errors.requires", lambda _: lines)
    packages = to_install(extra).removeprefix("pip install ").replace("'", "").split(" ")
    assert packages == EXTRAS[extra]


def test_a_checkout_that_was_never_installed_is_told_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unlearn.errors.requires", lambda _: None)
    assert to_install("solvers") == "pip install -e '.[solvers]'"


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT / "conf")))
def test_yaml_begins_with_what_it_is_and_a_command(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = "\n".join(line.removeprefix("#") for line in lines[:end])
    assert header.strip(), "no comment block at the top"
    command = r"^\s+([A-Z_]+=\S+ )*(torchrun .*-m )?unlearn( -m)?( [\w./@+~-]+=\S+|$)"
    assert re.search(command, header, re.MULTILINE), f"no command `unlearn ...` in:\n{header}"
    for group, choices in re.findall(r"\b([a-z/]+)=([a-z0-9_,]+)(?=\s|$)", header):
        if (ROOT / "conf" / group).is_dir():
            for choice in choices.split(","):
                assert (ROOT / "conf" / group / f"{choice}.yaml").exists(), f"{group}={choice}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its build folders beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    for name in ("unlearn", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Without isolation, the build needs no download. It goes through the source archive, so that
    # archive is known to be complete as well.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_every_file(wheel: Path) -> None:
    expected = {
        str(Path(package, file.relative_to(ROOT / folder)))
        for package, folder in (("unlearn", "unlearn"), ("unlearn/conf", "conf"))
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {str(Path("unlearn/conf", path.relative_to(ROOT / "conf"))) for path in YAMLS} <= held


@pytest.mark.slow
def test_installed_command_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    # The new environment sees the installed dependencies of this one through a path file. Path
    # files of that folder are not followed, so an editable install of this repository stays out.
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", ask, cwd=tmp_path).strip())
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(here) + "\n")
    install = ("install", "--no-deps", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel, cwd=tmp_path)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(python, "-c", "import unlearn; print(unlearn.__path__[0])", cwd=elsewhere).strip()
    assert Path(where) == packages / "unlearn"
    command = environment / "bin" / "unlearn"
    printed = run(command, "--cfg", "job", "data=tofu_forget05", cwd=elsewhere)
    assert "subset: forget05" in printed
    assert list(elsewhere.iterdir()) == [], "printing a configuration leaves no files"
