"""The record survives everything; the tracker may fail at any call and the run goes on."""

import json
import logging
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from unlearn.options.schema import TrackerConfig, TrackerMode, TrackerName
from unlearn.record.lines import Record
from unlearn.record.sink import Sink
from unlearn.record.tracker import make_sink
from unlearn.record.wandb_sink import WandbSink
from unlearn.storage.files import plain, write_json_atomic, write_text_atomic

SETTINGS = {"seed": 0, "method": {"name": "ngdiff"}, "versions": {"torch": "2.13.0"}}


class Colour(Enum):
    red = "red"


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# --- files -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_plain_makes_strict_json() -> None:
    value = {
        "nan": math.nan,
        "infinite": [math.inf, -math.inf],
        "numpy": (np.float32(0.5), np.int64(3), np.bool_(True), np.float64("nan")),
        Colour.red: Colour.red,
        "path": Path("runs/one"),
        3: {"b", "a"},
    }
    assert plain(value) == {
        "nan": None,
        "infinite": [None, None],
        "numpy": [0.5, 3, True, None],
        "red": "red",
        "path": "runs/one",
        "3": ["a", "b"],
    }


def test_plain_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(TypeError, match="object"):
        plain({"a": object()})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.json"
    write_json_atomic(path, {"loss": math.nan, "text": "Zoë"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"loss": None, "text": "Zoë"}
    with pytest.raises(TypeError):
        write_json_atomic(path, object())

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_text_atomic(path, "half")
    assert json.loads(path.read_text(encoding="utf-8"))["text"] == "Zoë"
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


# --- the record ------------------------------------------------------------------------------


class ListSink(Sink):
    """Remembers what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, dict[str, Any]]] = []

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        self.sent.append((step, dict(values)))


def test_a_line_is_on_disk_when_log_returns(tmp_path: Path) -> None:
    sink = ListSink()
    with Record(tmp_path, sink) as record:
        record.log(1, {"train/lr": 1e-4, "train/forget_loss": math.inf, "train/lr_reason": "found"})
        expected = {"train/lr": 1e-4, "train/forget_loss": None, "train/lr_reason": "found"}
        assert lines_of(tmp_path) == [{"step": 1, **expected}]
    assert sink.sent == [(1, expected)]


def test_a_resumed_record_drops_what_will_be_written_again(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        for step in range(5):
            record.log(step, {"train/lr": 1.0})
            if step == 2:
                known = record.known
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "train/l')  # killed in the middle of a line
    with Record(tmp_path) as record:
        assert [line["step"] for line in lines_of(tmp_path)] == [0, 1, 2, 3, 4]
        record.go_on(known)
        record.log(3, {"train/lr": 2.0})
    assert [(line["step"], line["train/lr"]) for line in lines_of(tmp_path)] == [
        (0, 1.0),
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
    ]


def test_the_config_composes_from_yaml() -> None:
    node = OmegaConf.merge(
        OmegaConf.structured(TrackerConfig), {"name": "none", "mode": "offline", "tags": ["a"]}
    )
    config = OmegaConf.to_object(node)
    assert config == TrackerConfig(
        name=TrackerName.none, mode=TrackerMode.offline, project="unlearn", tags=["a"]
    )


# --- a stand-in for wandb --------------------------------------------------------------------


class FakeRun:
    """The part of a wandb run that the sink uses; raises at the call named ``broken``."""

    def __init__(self, broken: str, options: dict[str, Any]) -> None:
        self.broken = broken
        self.settings = SimpleNamespace(sync_dir=f"{options['dir']}/wandb/offline-run-1")
        self.url = "https://example.org/run"
        self.id = options["id"]
        self.artifacts: list[Any] = []
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self._break("define_metric")

    def log(self, values: dict[str, Any]) -> None:
        self._break("log")
        self.logged.append(values)

    def log_artifact(self, artifact: Any) -> None:
        self._break("log_artifact")
        self.artifacts.append(artifact)

    def finish(self, exit_code: int) -> None:
        self._break("finish")
        self.exit_code = exit_code

    def _break(self, call: str) -> None:
        if self.broken == call:
            raise RuntimeError(f"{call} is broken\nsecond line")


class FakeWandb:
    """The part of the module wandb that the sink uses."""

    def __init__(self, broken: str = "", key: bool = False) -> None:
        self.broken = broken
        self.key = key
        self.runs: list[FakeRun] = []
        self.options: list[dict[str, Any]] = []

    def Settings(self, **options: Any) -> dict[str, Any]:
        return options

    def setup(self, settings: dict[str, Any]) -> None:
        assert settings["silent"], "only a silent wandb can be asked without using the network"

    def login(self, prompt: bool, verify: bool) -> bool:
        assert not prompt
        assert not verify
        return self.key

    def init(self, **options: Any) -> FakeRun:
        self.options.append(options)
        if self.broken in ("init", f"init {options['mode']}"):
            raise ConnectionError("no such host")
        self.runs.append(FakeRun(self.broken, options))
        return self.runs[-1]

    def Table(self, columns: list[str], data: list[list[Any]]) -> tuple[Any, Any]:
        return columns, data

    def Artifact(self, name: str, type: str) -> Any:
        folders: list[str] = []
        return SimpleNamespace(name=name, type=type, folders=folders, add_dir=folders.append)

    def Image(self, path: str) -> str:
        return f"image of {Path(path).name}"


@pytest.fixture(autouse=True)
def no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the tester's own wandb account and settings."""
    home = tmp_path_factory.mktemp("home")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))


def fake(monkeypatch: pytest.MonkeyPatch, broken: str = "", key: bool = False) -> FakeWandb:
    wandb = FakeWandb(broken, key)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return wandb


def use(run: Path, config: TrackerConfig) -> Sink:
    """Make every call that a run makes."""
    sink = make_sink(
        config, run, settings=SETTINGS, tags=["ngdiff", "minitofu", "tiny"], sweep="09-00-00-sweep"
    )
    with Record(run, sink) as record:
        record.log(0, {"stage": "before", "forget/rougeL_recall": 0.9, "forget/loss": None})
        record.log(0, {"stage": "reference", "forget/rougeL_recall": 0.1})
        record.log(1, {"train/lr": 1e-4, "train/lr_reason": "searching"})
    sink.log_generations([{"question": "Who?", "truth": "Ada", "before": "Ada", "after": None}])
    sink.log_figures([run / "figures" / "plane.png"])
    sink.finish({"after/forget/rougeL_recall": 0.1, "accepted": math.nan})
    return sink


@pytest.mark.parametrize(
    ("texts", "public", "sent"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_texts_leave_the_machine_only_where_they_may(
    texts: bool | None,
    public: bool,
    sent: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wandb = fake(monkeypatch)
    sink = make_sink(TrackerConfig(texts=texts), tmp_path, settings={}, tags=[], public=public)
    with caplog.at_level(logging.INFO):
        sink.log_generations([{"question": "Who?", "truth": "Ada"}])
    sink.finish({"status": "failed", "error": "DataError: row 3: 'Who?' twice"}, failed=True)
    assert ("Who?" in str(wandb.runs[0].logged)) == sent
    assert wandb.runs[0].summary["error"].startswith("DataError")
    assert ("Who?" in wandb.runs[0].summary["error"]) == sent
    assert ("tracker.texts=true sends them" in caplog.text) == (not sent)
    settings = wandb.options[0]["settings"]
    assert (settings["disable_git"], settings["save_code"]) == (not sent, False)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_what_wandb_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = fake(monkeypatch)
    config = TrackerConfig(mode=TrackerMode.online, tags=["mine", "tiny"], notes="first try")
    assert isinstance(use(tmp_path, config), WandbSink)
    options, run = wandb.options[0], wandb.runs[0]
    assert options["project"] == "unlearn"
    assert options["group"] == "09-00-00-sweep"
    assert options["job_type"] == "unlearn"
    assert options["tags"] == ["ngdiff", "minitofu", "tiny", "mine"]
    assert options["config"] == SETTINGS
    assert options["reinit"] == "finish_previous"
    assert options["id"] == (tmp_path / "wandb_id").read_text().strip()
    assert run.logged == [
        {"step": 0, "forget/rougeL_recall": 0.9},
        {"step": 0, "reference/forget/rougeL_recall": 0.1},
        {"step": 1, "train/lr": 1e-4, "train/lr_reason": "searching"},
        {
            "generations": (
                ["question", "truth", "before", "after"],
                [["Who?", "Ada", "Ada", None]],
            )
        },
        {"figures/plane": "image of plane.png"},
    ]
    assert run.summary == {"after/forget/rougeL_recall": 0.1, "accepted": None}
    assert run.exit_code == 0


def test_a_resumed_run_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = fake(monkeypatch)
    use(tmp_path, TrackerConfig(mode=TrackerMode.online))
    use(tmp_path, TrackerConfig(mode=TrackerMode.online))
    first, second = (options["id"] for options in wandb.options)
    assert first == second
    assert wandb.options[1]["resume"] == "allow"


@pytest.mark.parametrize("wanted", [False, True])
def test_the_model_is_sent_only_where_it_is_asked_for(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = fake(monkeypatch)
    config = TrackerConfig(mode=TrackerMode.online, log_model=wanted)
    sink = make_sink(config, tmp_path, settings=SETTINGS, tags=[])
    sink.log_model(tmp_path / "model")  # method=none trains and saves nothing
    (tmp_path / "model").mkdir()
    sink.log_model(tmp_path / "model")
    sent = [
        (artifact.name, artifact.type, artifact.folders) for artifact in wandb.runs[0].artifacts
    ]
    name = f"model-{(tmp_path / 'wandb_id').read_text().strip()}"
    assert sent == ([(name, "model", [str(tmp_path / "model")])] if wanted else [])


@pytest.mark.parametrize(
    ("mode", "environment", "key", "expected"),
    [
        ("auto", None, False, "offline"),
        ("auto", None, True, "online"),
        ("auto", "offline", True, "offline"),
        ("auto", "online", False, "online"),
        ("offline", None, True, "offline"),
        ("online", "offline", False, "online"),
    ],
)
def test_the_mode_is_chosen_and_said_in_one_line(
    mode: str,
    environment: str | None,
    key: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    wandb = fake(monkeypatch, key=key)
    with caplog.at_level(logging.INFO):
        use(tmp_path, TrackerConfig(mode=TrackerMode(mode)))
    assert [options["mode"] for options in wandb.options] == [expected]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"wandb: {expected} (")
    folder = shlex.quote(f"{tmp_path}/wandb/offline-run-1")
    assert (f"wandb sync {folder}" in message) == (expected == "offline")


def test_a_key_without_a_network_falls_back_to_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wandb = fake(monkeypatch, broken="init online", key=True)
    with caplog.at_level(logging.INFO):
        use(tmp_path, TrackerConfig())
    assert [options["mode"] for options in wandb.options] == ["online", "offline"]
    assert len(wandb.runs[0].logged) == 5
    (message,) = [record.getMessage() for record in caplog.records]
    assert "offline (the server did not answer: ConnectionError)" in message


@pytest.mark.parametrize("broken", ["init", "define_metric", "log", "finish", "import"])
def test_a_broken_tracker_costs_one_warning_and_nothing_else(
    broken: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if broken == "import":
        monkeypatch.setitem(sys.modules, "wandb", None)  # makes `import wandb` raise
    else:
        fake(monkeypatch, broken=broken)
    use(tmp_path, TrackerConfig(mode=TrackerMode.online))
    (message,) = warnings_in(caplog)
    assert message.startswith("wandb failed and is off for the rest of this run")
    assert "\n" not in message
    assert [line["step"] for line in lines_of(tmp_path)] == [0, 0, 1]


def test_nothing_is_imported_where_the_tracker_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert type(use(tmp_path, TrackerConfig(name=TrackerName.none))) is Sink
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert type(use(tmp_path, TrackerConfig(mode=TrackerMode.online))) is Sink
    assert warnings_in(caplog) == []
    assert not (tmp_path / "wandb").exists()


# --- the real wandb, offline -----------------------------------------------------------------


@pytest.fixture
def real_wandb() -> Iterator[Any]:
    import wandb

    wandb.teardown()  # its settings are read from the environment once a process
    yield wandb
    wandb.teardown()


@pytest.mark.slow
def test_the_real_wandb_keeps_an_offline_run_and_reads_it_back(
    real_wandb: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("one", "two"):  # as in a sweep: several runs in one process
        run = tmp_path / name
        (run / "figures").mkdir(parents=True)
        image.new("RGB", (4, 4)).save(run / "figures" / "plane.png")
        with caplog.at_level(logging.INFO):
            use(run, TrackerConfig())
    assert warnings_in(caplog) == []
    assert real_wandb.run is None
    (folder,) = (tmp_path / "one" / "wandb").glob("offline-run-*")
    assert f"wandb sync {shlex.quote(str(folder))}" in caplog.text
    shown = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    record = json.loads(shown.stdout)
    assert record["state"] == "finished"
    assert record["project"] == "unlearn"
    assert record["run_id"] == (tmp_path / "one" / "wandb_id").read_text().strip()
    assert record["tags"] == ["ngdiff", "minitofu", "tiny"]
    use(tmp_path / "one", TrackerConfig())  # resumed: one more part of the same run, to be synced
    parts = list((tmp_path / "one" / "wandb").glob(f"offline-run-*-{record['run_id']}"))
    assert len(parts) == 2
    summary = record["summary"]
    assert summary["step"] == 1
    assert summary["train/lr"] == pytest.approx(1e-4)
    assert summary["after/forget/rougeL_recall"] == pytest.approx(0.1)
    assert summary["reference/forget/rougeL_recall"] == pytest.approx(0.1)
    assert summary["generations"]["nrows"] == 1
    assert "figures/plane" in summary


def test_the_verdict_goes_out_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setattr("unlearn.record.wandb_sink._wandb", lambda: fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    sink = make_sink(TrackerConfig(), tmp_path, settings={}, tags=[])
    condition = {
        "metric": "m",
        "rule": "within 1 to 2",
        "bound": [1, 2],
        "value": 3.0,
        "met": False,
    }
    sink.log_conditions([condition])
    sink.log_conditions([])
    table = (["metric", "rule", "value", "met"], [["m", "within 1 to 2", 3.0, False]])
    assert fake.runs[0].logged == [{"conditions": table}]
