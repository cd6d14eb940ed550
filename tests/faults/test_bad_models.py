"""A bad model folder is refused in one line with status 2, and nothing hangs.

The quick part opens some folders as a run does, in this process; the whole, which is marked
`faults`, starts the command for each.
"""

from __future__ import annotations

import copy
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from support import tiny
from support.bad_data import lay_out
from support.bad_models import TEMPLATE, TEMPLATES, Case, bad_models, drawn, good_folder
from support.command import AUTOCAST
from support.ended import beside, ended, require_one_line

from unlearn.compute.device import Compute
from unlearn.data import rendering
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError, DataError
from unlearn.models.load import load_tokenizer, load_weights, ready
from unlearn.models.places import check_path, location_problems
from unlearn.models.vocabulary import refuse_larger_tokenizer
from unlearn.options.schema import ModelConfig

CASES = bad_models()
NAMES = ["x" * 5_000, "/" + "x" * 300, "./a\0b", "y/" * 3_000, "./\udcff\ud800"]
QUICK = {name: case for name, case in CASES.items() if not name.startswith("template ")}
SECONDS = 20


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good_folder(tmp_path_factory.mktemp("good") / "model")


def opened(path: str) -> Encoder:
    """Do with a folder what a run does before it measures anything."""
    config = ModelConfig(path=path)
    if problems := location_problems(config):
        raise ConfigurationError(problems)
    tokenizer = load_tokenizer(config, path)
    refuse_larger_tokenizer(config, path, tokenizer)
    encoder = Encoder(tokenizer)
    encoder.encode(tiny.ROWS[0].question, tiny.ROWS[0].answer)
    ready(load_weights(config, path), config, Compute(torch.device("cpu")))
    return encoder


def bad(case: Case, good: Path, folder: Path) -> Path:
    shutil.copytree(good, folder)
    case.change(folder)
    return folder


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 130


def test_the_good_folder_is_opened(good: Path) -> None:
    assert opened(str(good)).template == "chat"


def is_refused(name: str, good: Path, tmp_path: Path) -> None:
    folder, case = bad(CASES[name], good, tmp_path / "model"), CASES[name]
    try:
        opened(str(folder))
    except ConfigurationError as error:
        (problem,) = error.problems
        assert "\n" not in problem and len(problem) < 1_500
        assert case.told in problem
    else:
        assert case.harmless, "it was opened"


@pytest.mark.parametrize("name", drawn(QUICK, 40))
def test_a_bad_folder_is_one_line(name: str, good: Path, tmp_path: Path) -> None:
    is_refused(name, good, tmp_path)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_bad_template_is_one_line(
    name: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What doubles is to meet the limit of memory, on a slow machine too.
    monkeypatch.setattr(rendering, "SECONDS", 20 if name == "that doubles" else 1)
    monkeypatch.setattr(rendering, "MEMORY", 2**28)
    is_refused(f"template {name}", good, tmp_path)


def test_a_template_that_hangs_at_some_rows_alone_is_stopped_in_any_thread(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial knows nothing of it; a joblib worker is no main thread."""
    monkeypatch.setattr(rendering, "WALL_SECONDS", 1)
    tokenizer = copy.deepcopy(tiny.tokenizer())
    trap = "{% if 'Varn' in messages[0]['content'] %}" + TEMPLATES["without end"][0] + "{% endif %}"
    tokenizer.chat_template = (good / TEMPLATE).read_text() + trap
    encoder = Encoder(tokenizer)
    encoder.encode("Who?", "Ann.")
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(encoder.encode, "Who kept the lighthouse at Varn?", "Odile.")
        with pytest.raises(DataError, match=r"takes longer than .*model\.template=plain"):
            hung.result(timeout=SECONDS)
        assert pool.submit(encoder.encode, "Who?", "Ann.").result(timeout=SECONDS)


def test_a_model_of_far_more_weights_than_its_files_is_never_built(
    good: Path, tmp_path: Path
) -> None:
    folder = bad(CASES["intermediate_size 1000000000000"], good, tmp_path / "model")
    with pytest.raises(ConfigurationError, match="192,000,000,031,904 weights, and its files hold"):
        load_weights(ModelConfig(path=str(folder)), str(folder))


@pytest.mark.parametrize("field", ["model.path", "model.tokenizer", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_folder_has(field: str, name: str) -> None:
    (problem,) = check_path(field, name)
    assert problem.startswith(f"{field}: ") and "\n" not in problem and len(problem) < 400


WORDS = (
    *("data=files", "data.forget=good.jsonl", "data.retain=retain.jsonl", "tracker=none", AUTOCAST),
    *("method=none", "reference=none", "evaluation.max_new_tokens=1", "model.path=model"),
)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["good", *CASES])
def test_the_command_ends_in_one_line(name: str, good: Path, tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "work")
    shutil.copytree(good, folder / "model")
    case = Case(lambda _: None, harmless=True) if name == "good" else CASES[name]
    case.change(folder / "model")
    pipes = [path for path in (folder / "model").iterdir() if not path.is_file()]
    before = {} if pipes or "sparse" in name else beside(folder)
    done = ended(*WORDS, cwd=folder)
    if done.status == 0:
        assert case.harmless
    else:
        require_one_line(done)
        assert case.told in done.said
    assert not before or beside(folder) == before
