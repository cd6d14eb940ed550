"""What is found in the reference, and in the target, is found once for all runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.attacked import subject, taught

from unlearn.attacks import (
    Attack,
    Depth,
    Found,
    Paraphrase,
    Prompts,
    Quantization,
    Relearning,
    Sampling,
    Subject,
    run_attacks,
)
from unlearn.attacks.findings import Findings
from unlearn.errors import ConfigurationError

ATTACKS: dict[str, Attack] = {
    "relearning": Relearning(rows=2, steps=2, lr=1e-3),
    "sampling": Sampling(samples=2, k=[1, 2]),
    "prompts": Prompts(ways=["prefill", "role"]),
    "depth": Depth(),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The attacks that really run, and the target's answers that are really sampled."""
    made: list[str] = []
    for attack in ATTACKS.values():
        run = type(attack).run

        def noted(self: Attack, subject: Subject, run: Any = run) -> Found:
            made.append(f"{type(self).__name__} {subject.stage}")
            return run(self, subject)

        monkeypatch.setattr(type(attack), "run", noted)
    right = Sampling.right

    def sampled(self: Sampling, subject: Subject, model: Any) -> list[int]:
        made.append("target" if model is not subject.model else "itself")
        return right(self, subject, model)

    monkeypatch.setattr(Sampling, "right", sampled)
    return made


def stage(name: str, findings: Findings | None) -> Subject:
    """`after` is a model that never learnt the rows, and so is the reference."""
    made = subject(tiny.model(seed=3), target=taught(), reference=tiny.model(seed=5), stage=name)
    return replace(made, findings=findings)


def test_a_second_run_attacks_its_own_model_alone_and_says_the_same(
    calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, other = Findings(("target", "reference")), Findings(("target", "other reference"))
    unkept = [run_attacks(ATTACKS, stage(name, None)) for name in ("after", "reference")]
    calls.clear()
    first = [run_attacks(ATTACKS, stage(name, one)) for name in ("after", "reference")]
    assert first == unkept
    assert [call for call in calls if "reference" in call] == [
        f"{kind} reference" for kind in ("Relearning", "Sampling", "Prompts", "Depth")
    ]
    assert calls.count("target") == 1
    calls.clear()
    assert "Prompts, reference: found by an earlier run" not in caplog.text
    assert [run_attacks(ATTACKS, stage(name, one)) for name in ("after", "reference")] == first
    assert not any("reference" in call or call == "target" for call in calls)
    assert sum("after" in call for call in calls) == len(ATTACKS)
    assert "Prompts, reference: found by an earlier run, in the cache" in caplog.text
    run_attacks(ATTACKS, stage("reference", other))
    assert sum("reference" in call for call in calls) == len(ATTACKS), "another model, another key"


def test_other_options_are_another_finding(calls: list[str]) -> None:
    for seed in (0, 1, 0):
        chosen = {"sampling": Sampling(samples=2, k=[1, 2], seed=seed)}
        run_attacks(chosen, stage("reference", Findings(("models",))))
    assert calls.count("Sampling reference") == 2


def test_an_attack_that_fails_is_tried_again(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> list[int]:
        raise RuntimeError("no")

    right, chosen = Sampling.right, {"sampling": ATTACKS["sampling"]}
    monkeypatch.setattr(Sampling, "right", fails)
    failed, notes = run_attacks(chosen, stage("reference", Findings(("models",))))
    assert failed["attack/sampling"] is None
    assert "failed" in notes[0]
    monkeypatch.setattr(Sampling, "right", right)
    found, _ = run_attacks(chosen, stage("reference", Findings(("models",))))
    assert found["attack/sampling_leak_at_1"] is not None


def test_a_broken_entry_is_made_anew(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen, findings = {"sampling": ATTACKS["sampling"]}, Findings(("models",))
    first = run_attacks(chosen, stage("reference", findings))
    for entry in cache.glob("attacks/*/found.json"):
        entry.write_text("{}", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert run_attacks(chosen, stage("reference", findings)) == first
    assert "made anew" in caplog.text


@dataclass
class Own(Attack):
    """A user's attack, whose code may change under its name."""

    def run(self, subject: Subject) -> Found:
        return Found(None)


def test_what_cannot_be_named_is_not_kept() -> None:
    assert Own().identity is None
    assert Sampling().identity != Sampling(seed=1).identity


def test_texts_that_are_relearnt_are_part_of_the_name(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    names = set()
    for text in ("one text", "another text"):
        file.write_text(text, encoding="utf-8")
        names.add(Relearning(source="file", file=str(file)).identity)
    assert len(names) == 2


def test_the_library_that_rounds_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.quantization.has_torchao", lambda: False)
    without = Quantization().identity
    monkeypatch.setattr("unlearn.attacks.quantization.has_torchao", lambda: True)
    monkeypatch.setattr("unlearn.attacks.quantization.version", lambda _: "0.1")
    assert Quantization().identity != without
    with pytest.raises(ConfigurationError):
        Quantization(bits=[])


def test_paraphrases_of_the_target_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    recall = Subject.recall

    def noted(self: Subject, *told: Any) -> float | None:
        asked.append(len(told) > 2)
        return recall(self, *told)

    monkeypatch.setattr(Subject, "recall", noted)
    for _ in range(2):
        run_attacks({"paraphrase": Paraphrase()}, stage("after", Findings(("models",))))
    assert asked == [False, True, False]
