"""What comes from elsewhere is data: nothing of it runs, leaves its folder, or learns a secret.

Each case asserts that a marker was not touched, that nothing outside the folder changed, and that
a token of the environment is in no file and no line. docs/trust.md says what is promised.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import Command, files_in
from support.doors import door
from support.hostile import (
    BOMB,
    DEEP,
    MODULE,
    TOKEN,
    Change,
    lay_out,
    measure,
    pipe_at,
    set_in,
    sparse,
    text_in,
    told,
    whole_record,
)

from unlearn.composition.foreign import is_our_part
from unlearn.console.visible import Formatter, visible
from unlearn.errors import ConfigurationError, DataError
from unlearn.experiment.settings import settings_of
from unlearn.options.interpolated import is_harmless, nodes_of, texts_of
from unlearn.options.schema import ModelConfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NEXT = "all parts are built, and the models would be loaded next"
CODE, ASKED, BEYOND = "names code", "not looked up", "beyond the groups of unlearn"
UNREAD = "record cannot be read"


@dataclass(frozen=True)
class Place:
    """Where an attack happens: the folder that was sent, and what lies around it."""

    run: Path
    outside: Path
    marker: Path


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_record(tmp_path_factory.mktemp("record") / "run")


@pytest.fixture
def place(record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of the record; module and pickle of the attacker are within reach."""
    found = Place(tmp_path / "run", tmp_path / "outside", tmp_path / "marker")
    shutil.copytree(record, found.run)
    lay_out(found.outside, found.marker)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("UNLEARN_TOFU_PATH", "HF_TOKEN")
    monkeypatch.syspath_prepend(str(found.outside))
    monkeypatch.chdir(found.outside)
    yield found
    sys.modules.pop(MODULE, None)


def command(module: str, *words: str | Path) -> tuple[int, str]:
    """Run `unlearn-evaluate` or `unlearn-compare` in this process; returns status and output."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn.experiment.rescoring.Models.of", no_models)
        return door(module, Path.cwd(), *map(str, words))


def no_models(run: Any, cfg: Any, other_reference: bool) -> None:
    settings_of(cfg)
    raise ConfigurationError(NEXT)


def harmless(place: Place, said: str, before: dict[str, bytes]) -> None:
    """Assert that nothing ran, nothing was written outside, and the token is nowhere."""
    assert not place.marker.exists(), "code of the folder ran"
    assert MODULE not in sys.modules
    assert files_in(place.outside) == before
    assert TOKEN not in said
    leaked = [
        str(path)
        for path in place.run.rglob("*")
        if path.is_file() and path.stat().st_size < 2**24 and TOKEN in path.read_text("latin-1")
    ]
    assert leaked == []


TOUCH = "touch WHERE/touched"
RUN_FOLDERS: dict[str, tuple[Change, str]] = {
    # Code that a part names.
    "a pickle, read by joblib": (
        measure({"_target_": "joblib.load", "filename": "WHERE/train.pkl"}),
        CODE,
    ),
    "a pickle, read by pandas": (
        measure({"_target_": "pandas.read_pickle", "filepath_or_buffer": "WHERE/train.pkl"}),
        CODE,
    ),
    "a shell": (measure({"_target_": "os.system", "command": TOUCH}), CODE),
    "a process": (
        measure({"_target_": "subprocess.check_output", "args": TOUCH, "shell": True}),
        CODE,
    ),
    "a module that acts when it is imported": (measure({"_target_": f"{MODULE}.looks"}), CODE),
    "a list of measures": (set_in("evaluation.kpis", [{"_target_": f"{MODULE}.looks"}]), CODE),
    "a reader": (set_in("data", {"_target_": f"{MODULE}.Reader"}), CODE),
    "a reader that is a shell": (set_in("data", {"_target_": "os.system", "command": TOUCH}), CODE),
    "an attack": (set_in("attack.mine", {"_target_": "builtins.exec", "object": "1"}), CODE),
    "what a module of ours imports": (
        measure({"_target_": "unlearn.data.muse.os.system", "command": TOUCH}),
        CODE,
    ),
    "a function of others in a module of ours": (
        measure({"_target_": "unlearn.options.parts.instantiate", "config": {}}),
        CODE,
    ),
    "a function of our own that is no part": (
        measure({"_target_": "unlearn.data.tables.read_whole", "file": "WHERE/train.pkl"}),
        CODE,
    ),
    "a part of ours that looks up a name": (
        set_in(
            "data",
            {"_target_": "unlearn.weightings.TorchJDWeighting", "kind": f"{MODULE}.looks"},
        ),
        CODE,
    ),
    "the same as an attack": (
        set_in(
            "attack.mine",
            {"_target_": "unlearn.weightings.TorchJDWeighting", "kind": f"{MODULE}.looks"},
        ),
        CODE,
    ),
    "a reader where a measure stands": (
        measure({"_target_": "unlearn.data.own_files.Files", "forget": "WHERE/evil.yaml"}),
        CODE,
    ),
    "one of ours that removes": (
        measure({"_target_": "unlearn.storage.files.shutil.rmtree", "path": "WHERE"}),
        CODE,
    ),
    "the program itself": (measure({"_target_": "unlearn.__main__.main"}), CODE),
    "a name with a colon": (measure({"_target_": "unlearn.data:os.system"}), CODE),
    "a relative name": (measure({"_target_": "unlearn..os.system"}), CODE),
    "a part within a part": (
        set_in("data.extra", {"_target_": "os.system", "command": TOUCH}),
        CODE,
    ),
    "a part in a list": (
        set_in("accept.conditions", [{"metric": [{"_target_": "os.system", "command": TOUCH}]}]),
        CODE,
    ),
    "arguments by position": (set_in("data._args_", [TOUCH]), "says how code is called"),
    "a call put off": (set_in("data._partial_", True), "says how code is called"),
    "a name that is a list": (measure({"_target_": ["os", "system"]}), CODE),
    "a name that is nothing": (measure({"_target_": None}), CODE),
    "a name from elsewhere in the record": (
        set_in("evaluation.kpis", {"mine": {"_target_": "${reference}", "command": TOUCH}}),
        CODE,
    ),
    "a part that is told": (
        told("evaluation.kpis={mine:{_target_:os.system,command:x}}", "evaluation.rows=3"),
        NEXT,  # the configuration that was composed then is what counts, and it names none
    ),
    "parts that only a training reads": (
        set_in("method.weighting", {"_target_": f"{MODULE}.Weighting"}),
        NEXT,
    ),
    "a rate that is a shell": (
        set_in("scheduler", {"_target_": "os.system", "command": TOUCH}),
        NEXT,
    ),
    "an optimizer that is told": (told(f"optimizer._target_={MODULE}.Optimizer"), NEXT),
    "an option that no version has": (set_in("zzz", {"_target_": f"{MODULE}.looks"}), NEXT),
    "YAML that makes objects": (
        text_in(".hydra/config.yaml", f"a: !!python/object/apply:os.system ['{TOUCH}']\n"),
        UNREAD,
    ),
    "YAML that imports": (
        text_in(".hydra/overrides.yaml", f"- !!python/module:{MODULE}\n"),
        UNREAD,
    ),
    # Configurations from beyond our own.
    "a search path that is told": (told("hydra.searchpath=[file://WHERE]"), NEXT),
    "a search path of hydra.yaml": (
        lambda run, outside: (run / ".hydra" / "hydra.yaml").write_text(
            yaml.safe_dump(
                {
                    "hydra": {
                        "searchpath": [f"file://{outside}"],
                        "runtime": {
                            "cwd": "/",
                            "config_sources": [
                                {"path": str(outside), "provider": "command-line", "schema": "file"}
                            ],
                        },
                    }
                }
            )
        ),
        NEXT,
    ),
    "a callback": (told("+hydra.callbacks.x={_target_:os.system}"), NEXT),
    "a choice outside of its group": (told("data=../../../../../../../../WHERE/evil"), BEYOND),
    "an absolute choice": (told("data=WHERE/evil"), BEYOND),
    "a choice by its scheme": (told("data='file://WHERE/evil'"), BEYOND),
    "a list with one outside": (told("attack=[probing,../../x]"), BEYOND),
    "an experiment outside": (told("+experiment=../../../x"), BEYOND),
    "a word that is no override": (told("a=["), "cannot be read"),
    "a number for a word": (told(7), "cannot be read"),
    # What the environment holds.
    "the token as a path": (set_in("data.path", "${oc.env:HF_TOKEN}"), ASKED),
    "the token within a text": (set_in("model.path", "a${oc.env:HF_TOKEN}b"), ASKED),
    "the token by a name in two steps": (
        set_in("model.path", "${oc.env:${oc.env:UNLEARN_TOFU_PATH}}"),
        ASKED,
    ),
    "the token as a default": (
        set_in("model.path", "${oc.env:UNLEARN_TOFU_PATH,${oc.env:HF_TOKEN}}"),
        ASKED,
    ),
    "the token decoded": (set_in("reference", "${oc.decode:${oc.env:HF_TOKEN}}"), ASKED),
    "the token through our cache": (
        set_in("model.path", "${unlearn_cache:none,${oc.env:HF_TOKEN}}"),
        ASKED,
    ),
    "the token in a condition": (
        set_in("accept.conditions", [{"metric": "${oc.env:HF_TOKEN}", "at_least": 0}]),
        ASKED,
    ),
    "the token that is told": (told("evaluation.words='${oc.env:HF_TOKEN}'"), ASKED),
    "the token that is told with escapes": (told(r"model.path=$\{oc.env:HF_TOKEN\}"), ASKED),
    "what Hydra knows": (set_in("model.path", "${hydra:runtime.cwd}"), ASKED),
    "another resolver": (set_in("model.path", "${oc.create:{a:1}}"), ASKED),
    # Bombs.
    "aliases of aliases": (text_in(".hydra/config.yaml", BOMB), UNREAD),
    "aliases in what was told": (text_in(".hydra/overrides.yaml", BOMB), UNREAD),
    "brackets without end": (text_in(".hydra/config.yaml", "a: " + "[" * DEEP), UNREAD),
    "brackets that close": (
        text_in(".hydra/config.yaml", "a: " + "[" * DEEP + "]" * DEEP),
        UNREAD,
    ),
    "dashes without end": (text_in(".hydra/config.yaml", "- " * DEEP + "x"), UNREAD),
    "a summary without bottom": (text_in("summary.json", "[" * DEEP + "]" * DEEP), UNREAD),
    "a summary that is deep": (
        text_in("summary.json", '{"a":' * 300 + "1" + "}" * 300),
        UNREAD,
    ),
    "a pipe as summary": (pipe_at("summary.json"), "no summary.json"),
    "a pipe as configuration": (pipe_at(".hydra/config.yaml"), "no .hydra/config.yaml"),
    "a pipe as hydra.yaml": (pipe_at(".hydra/hydra.yaml"), UNREAD),
    "a summary of a terabyte": (sparse("summary.json", 2**40), UNREAD),
    "a configuration of a terabyte": (sparse(".hydra/config.yaml", 2**40), UNREAD),
    "a record of lines of a terabyte": (sparse("metrics.jsonl", 2**40), NEXT),
    "answers of a terabyte": (sparse("evaluations/after/generations.jsonl", 2**40), NEXT),
    "a log of a terabyte": (
        lambda run, outside: (
            (run / "summary.json").unlink(),
            os.truncate(run / "unlearn.log", 2**40),
        ),
        "no summary.json",
    ),
    "answers from a pipe": (pipe_at("evaluations/after/generations.jsonl"), NEXT),
    # Ways out.
    "evaluations that lie elsewhere": (
        lambda run, outside: (
            shutil.rmtree(run / "evaluations"),
            (run / "evaluations").symlink_to(outside),
        ),
        "nothing is written beyond the run's folder",
    ),
    "steering the terminal": (set_in("model.path", "/a/\x1b]0;owned\x07\x1b[2J"), "\\x1b[2J"),
}
"""What is done to a run folder → what `unlearn-evaluate` says of it, with status 2."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", RUN_FOLDERS)
def test_a_run_folder_is_data(case: str, place: Place) -> None:
    change, fragment = RUN_FOLDERS[case]
    change(place.run, place.outside)
    before, listed = files_in(place.outside), sorted(place.run.rglob("*"))
    status, said = command("evaluate", place.run, "--name", "again")
    assert status == 2, said
    assert fragment in said
    assert said.count("ERROR") == 1 and "Traceback" not in said
    assert "\x1b" not in said
    assert sorted(place.run.rglob("*")) == listed
    harmless(place, said, before)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", RUN_FOLDERS)
def test_a_run_folder_is_compared_as_data(case: str, place: Place, tmp_path: Path) -> None:
    RUN_FOLDERS[case][0](place.run, place.outside)
    before = files_in(place.outside)
    status, said = command("compare", place.run, "--out", tmp_path / "out")
    assert status in (0, 2), said
    assert "Traceback" not in said and "\x1b" not in said
    harmless(place, said, before)
    assert all(TOKEN.encode() not in text for text in files_in(tmp_path / "out").values())


def test_a_measure_that_was_told_counts_where_measures_are_changed(place: Place) -> None:
    told("evaluation.kpis={mine:{_target_:os.system,command:x}}")(place.run, place.outside)
    status, said = command("evaluate", place.run, "evaluation.rows=2")
    assert status == 2 and CODE in said


def test_a_clean_record_goes_on_to_its_models(place: Place) -> None:
    status, said = command("evaluate", place.run)
    assert status == 2 and NEXT in said


def test_trust_is_what_runs_code_and_reads_the_environment(place: Place) -> None:
    """The cases above could fail: what they hold back does happen here."""
    measure({"_target_": f"{MODULE}.looks"})(place.run, place.outside)
    set_in("model.template", "${oc.env:HF_TOKEN}")(place.run, place.outside)
    status, said = command("evaluate", place.run, "--trust")
    assert status == 2 and TOKEN in said
    assert place.marker.exists()


def test_what_the_command_itself_names_is_built(place: Place) -> None:
    """Whoever types a name means it."""
    named = f"evaluation.kpis={{mine: {{_target_: {MODULE}.looks}}}}"
    status, said = command("evaluate", place.run, named)
    assert status == 2 and NEXT in said
    assert place.marker.exists()


def test_another_runs_folder_is_named_without_what_it_asks_for(place: Place) -> None:
    """`unlearn hydra.run.dir=THEIRS` says in what the two differ."""
    from unlearn.record.resuming import finished_run

    set_in("model.path", "${oc.env:HF_TOKEN}")(place.run, place.outside)
    summary = json.loads((place.run / "summary.json").read_text())
    summary["provenance"]["config_sha256"] = "0" * 64
    (place.run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ConfigurationError, match="a run with other options") as refused:
        finished_run(place.run, {"seed": 1})
    assert "oc.env:HF_TOKEN" in str(refused.value)
    harmless(place, str(refused.value), files_in(place.outside))


def presets() -> list[Path]:
    return sorted(path for path in (ROOT / "conf").rglob("*.yaml") if path.name != "config.yaml")


def test_our_own_presets_are_no_code_of_others() -> None:
    for path in presets():
        config = yaml.safe_load(path.read_text()) or {}
        config.pop("defaults", None), config.pop("hydra", None)
        group = path.relative_to(ROOT / "conf").parts[0]
        for place, node in nodes_of(config):
            if "_target_" in node and group in ("data", "attack"):
                assert is_our_part(node["_target_"], f"{group}.{place}".rstrip(".")), path
        assert [text for _, text in texts_of(config) if not is_harmless(text)] == [], path


# Folders of models and of data.


def config_json(folder: Path, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(more))
    return folder


def test_a_model_with_code_of_its_own_is_refused_in_one_line(place: Place, tmp_path: Path) -> None:
    from unlearn.models.load import configuration_of, load_tokenizer, number_of_layers

    code = {"AutoConfig": f"{MODULE}.Config", "AutoTokenizer": [None, f"{MODULE}.Tokenizer"]}
    folder = config_json(tmp_path / "model", model_type="hostile", auto_map=code)
    shutil.copy(place.outside / f"{MODULE}.py", folder)
    named = {"tokenizer_class": "Hostile", "auto_map": code}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    config, before = ModelConfig(path=str(folder)), files_in(place.outside)
    for load in (
        lambda: configuration_of(config, str(folder)),
        lambda: load_tokenizer(config, str(folder)),
    ):
        with pytest.raises(ConfigurationError, match="code of its own") as refused:
            load()
        assert "\n" not in str(refused.value)
    assert number_of_layers(config) is None
    harmless(place, "", before)


def test_attention_from_the_hub_is_not_fetched(tmp_path: Path) -> None:
    from unlearn.models.load import configuration_of

    folder = config_json(tmp_path / "m", model_type="llama", attn_implementation="evil/kernel")
    with pytest.raises(ConfigurationError, match="evil/kernel"):
        configuration_of(ModelConfig(path=str(folder)), str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_weights_in_a_pickle_are_refused(name: str, place: Place, tmp_path: Path) -> None:
    from unlearn.models.places import check_weights

    folder = config_json(tmp_path / "model", model_type="llama")
    if name.startswith("adapter"):
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    shutil.copy(place.outside / "train.pkl", folder / name)
    problems = check_weights("model.path", str(folder))
    assert any("never loaded" in problem for problem in problems)
    harmless(place, "", files_in(place.outside))


@pytest.mark.timeout(20)
def test_weights_from_a_pipe_are_not_waited_for(tmp_path: Path) -> None:
    from unlearn.models.load import load_weights
    from unlearn.storage.weights import hash_weights

    folder = config_json(tmp_path / "model", model_type="llama")
    os.mkfifo(folder / "model.safetensors")
    assert hash_weights(folder) == hash_weights(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_weights(ModelConfig(path=str(folder)), str(folder))


def test_a_checkpoint_is_no_pickle(place: Place, tmp_path: Path) -> None:
    from pickle import UnpicklingError

    from unlearn.storage.sharded import STATE, read_state

    shutil.copy(place.outside / "train.pkl", tmp_path / STATE)
    with pytest.raises(UnpicklingError):
        read_state(tmp_path)
    harmless(place, "", files_in(place.outside))


@pytest.mark.parametrize("name", ["pandas", "webdataset", "arrow"])
def test_a_format_is_no_data_set(name: str, place: Place) -> None:
    """`pandas` would read the pickle that lies in the working folder."""
    from unlearn.data.own_sources import read_source
    from unlearn.data.source import _from_hub

    (place.outside / name).mkdir()
    before = files_in(place.outside)
    with pytest.raises(DataError):
        read_source(name, "data.forget")
    with pytest.raises(DataError, match="is a format"):
        _from_hub(name, ["train"], [], "")
    harmless(place, "", before)


def test_a_data_sets_script_is_not_run(place: Place) -> None:
    from unlearn.data.own_sources import read_source

    folder = place.outside / "rows"
    folder.mkdir()
    shutil.copy(place.outside / f"{MODULE}.py", folder / "rows.py")
    before = files_in(place.outside)
    with pytest.raises(DataError):
        read_source(str(folder), "data.forget")
    harmless(place, "", before)


# What is written of it.

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1-1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    " =1+1",
    "<script>alert(1)</script>",
    "<!-- end of table -->",
    "![x](http://evil.example/x.png)",
    "`` ``` ```` <img src=x onerror=alert(1)>",
    "~~~\n```\n# heading\n<b>",
    "a|b\\|c",
    "[/bold] [red]x[/] [link=http://evil.example]",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "\u202egnp.exe",
)


@pytest.fixture(scope="module")
def injected(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose records hold every hostile text wherever a text may stand."""
    sweep = tmp_path_factory.mktemp("sweep")
    for number, text in enumerate((*HOSTILE, "good")):
        run = sweep / f"{number}-job"
        shutil.copytree(record, run)
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"name": text, "overrides": [text, f"x={text}"], "notes": [text]}
        summary["metrics"]["after"] |= {f"kpi/{text}": 0.5, text: -0.25}
        summary["method"] |= {"name": text, "x": text}
        summary["verdict"]["conditions"][0] |= {"metric": text, "bound": text, "rule": text}
        summary["attacks"] = {"names": [text], "notes": {"after": [text]}}
        summary["provenance"]["versions"] = {text: text}
        if number % 2:
            failed = {**summary, "status": "failed", "error": text}
            shutil.copytree(run, sweep / f"{100 + number}-job")
            (sweep / f"{100 + number}-job" / "summary.json").write_text(json.dumps(failed))
        (run / "summary.json").write_text(json.dumps(summary))
    return sweep


def test_a_spreadsheet_calculates_nothing(injected: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    status, said = command("compare", injected, "--out", tmp_path, "--markdown", page)
    assert status == 0, said
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows) > len(HOSTILE)
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")
    for value in (value for row in rows for value in row):
        assert number.fullmatch(value) or not value.strip(" ").startswith(tuple("=+-@\t\r")), value
    assert "kpi/-2+3" in rows[0]
    assert any(row[0].startswith("'=cmd") for row in rows), "shown, and not left out"


def test_the_terminal_obeys_nothing(injected: Path, tmp_path: Path) -> None:
    from unlearn.report.comparison import compare, print_jobs
    from unlearn.report.terminal import print_summary

    said = command("compare", injected, "--out", tmp_path)[1]
    jobs = io.StringIO()
    print_jobs(compare([injected]), jobs)
    for run in sorted(injected.iterdir()):
        print_summary(run, jobs)
    for text in (said, jobs.getvalue()):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert "[/bold]" in text and "\\x1b[2J" in text


def markdown_is_tame(text: str) -> None:
    """Assert no HTML and no image outside of code, and that each fence closes."""
    outside = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    outside = re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", outside)
    outside = outside.replace("\\`", "")
    assert "`" not in outside
    assert not re.search(r"<[a-z!/]", outside)
    assert not re.search(r"(?<!\\)\]\(http", outside)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "# heading" not in [line.strip() for line in outside.splitlines()]


def test_a_page_shows_what_it_is_given(injected: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Mine\n<!-- table -->\n<!-- end of table -->\nThe end.\n")
    for _ in range(2):
        assert command("compare", injected, "--out", tmp_path, "--markdown", page)[0] == 0
    text = page.read_text()
    assert text.count("<!-- end of table -->") == text.count("<!-- table -->") == 1
    assert text.startswith("# Mine\n<!--") and text.endswith("-->\nThe end.\n")
    table = text.split("<!-- table -->")[1].split("<!-- end of table -->")[0]
    markdown_is_tame(table)
    for line in table.splitlines():
        if line.startswith("| "):
            cells = re.split(r"(?<!\\)\|", line)
            assert len(cells) == len(re.split(r"(?<!\\)\|", table.strip().splitlines()[0])), line


def test_a_report_shows_what_it_is_given(injected: Path) -> None:
    from unlearn.report.page import write_report

    for run in sorted(injected.iterdir()):
        markdown_is_tame(write_report(run, figures=[]).read_text())


@pytest.mark.parametrize(
    "text", ["# Mine\n", "", "<!-- end of table --> <!-- table -->", "\x00\ud800"]
)
def test_a_page_without_a_place_is_refused(text: str, record: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_bytes(text.encode("utf-8", "surrogatepass"))
    before = page.read_bytes()
    status, said = command("compare", record, "--out", tmp_path / "out", "--markdown", page)
    assert status == 2 and "--markdown" in said and "<!-- table -->" in said
    assert page.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_links_in_a_folder_are_replaced_and_not_followed(place: Place) -> None:
    """The comparison goes into the folder that was sent, unless another is named."""
    target = place.outside / "evil.yaml"
    before = files_in(place.outside)
    for name in ("comparison.csv", "comparison.html", "pareto.png"):
        (place.run / name).symlink_to(target)
    assert command("compare", place.run)[0] == 0
    harmless(place, "", before)
    assert "run,seeds" in (place.run / "comparison.csv").read_text()


def test_a_log_shows_what_it_is_given() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "two\nlines \x1b[2J%s", ("\x9b",), None)
    assert Formatter("%(message)s").format(record) == "two\nlines \\x1b[2J\\x9b"
    assert visible("Zoë, naïve, 日本, 🙂\tand\n") == "Zoë, naïve, 日本, 🙂\tand\n"


@pytest.mark.parametrize(
    "word", ["data.path=/nowhere/\x1b[2J", "data.path='/nowhere/[/bold] \x1b[2J'", "\x1b[2J=1"]
)
def test_an_option_does_not_steer_the_terminal(
    word: str, place: Place, unlearn: Command, empty_cache: Path
) -> None:
    """Options come from scripts of others as well; here `unlearn` itself tells of them."""
    done = unlearn("data=tofu_forget01", "model.device=cpu", "tracker=none", word)
    assert done.status == 2, done.said
    assert "\x1b" not in done.said + done.log and "\\x1b[2J" in done.said
    assert "Traceback" not in done.said
    harmless(place, done.said, files_in(place.outside))


def test_there_are_enough_of_them() -> None:
    """Code, paths, what the environment holds, bombs and ways out, each in several forms."""
    assert len(RUN_FOLDERS) >= 70 and len(HOSTILE) >= 16
