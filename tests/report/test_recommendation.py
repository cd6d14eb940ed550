"""The front does not crown the babbler: distance from the reference, planes, and the choice."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from support.fabricated_sweep import fabricate_job

from unlearn.report.comparison import compare
from unlearn.report.comparison.export import write_csv
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.html import write_page
from unlearn.report.comparison.picture import draw_front
from unlearn.report.comparison.printed import print_comparison

LEVEL = 0.318
"""What the reference scores on the forget rows."""


def a_run(
    folder: Path,
    name: str,
    forget: float,
    retain: float = 0.97,
    repeated: float | None = 0.0,
    reference: bool = True,
    seed: int = 0,
    **after: float,
) -> None:
    """Add a run to a folder; `after` are metrics of forget rows, as in truth_ratio=0.5."""
    extra = {f"forget/{metric}": value for metric, value in after.items()}
    if repeated is not None:
        extra["forget/repetition"] = repeated
    count = len(list(folder.iterdir())) if folder.exists() else 0
    job = fabricate_job(
        folder / f"{count}-x",
        f"method={name}",
        seed=seed,
        forget=forget,
        retain=retain,
        extra=extra,
    )
    record = json.loads((job / "summary.json").read_text())
    if reference:
        record["metrics"]["reference"]["forget/rougeL_recall"] = LEVEL
    else:
        record["metrics"]["reference"] = None
        record["provenance"]["reference_sha256"] = None
    (job / "summary.json").write_text(json.dumps(record))


def section_of(folder: Path) -> Section:
    (section,) = compare([folder]).sections
    return section


def on_front(section: Section, plane: int = 0) -> list[str]:
    groups = [section.groups[place].label for place in section.planes[plane].front]
    return [label.removeprefix("method=") for label in groups]


def taken(section: Section) -> str | None:
    place = section.choice.place
    return None if place is None else section.groups[place].label.removeprefix("method=")


@pytest.mark.parametrize("repeated", [0.0, None, 0.6])
def test_the_babbler_is_not_on_the_front(repeated: float | None, tmp_path: Path) -> None:
    """Neither by its distance alone, nor where it is seen to babble."""
    a_run(tmp_path, "babbler", 0.02, repeated=repeated)
    a_run(tmp_path, "guarded", 0.30, repeated=0.01)
    section = section_of(tmp_path)
    assert on_front(section) == ["guarded"]
    assert taken(section) == "guarded"
    assert section.hypervolume == pytest.approx((1 - 0.018) * 0.97), "by hand"
    babbler, guarded = section.groups
    assert babbler.values("forget_distance") == pytest.approx([0.298])
    assert guarded.values("forget_distance") == pytest.approx([0.018])
    assert "below the reference" in babbler.told_of
    assert ("babbles" in babbler.told_of) == (repeated == 0.6)


def test_above_and_below_the_reference_are_as_far(tmp_path: Path) -> None:
    a_run(tmp_path, "above", LEVEL + 0.07)
    a_run(tmp_path, "below", LEVEL - 0.07)
    section = section_of(tmp_path)
    above, below = section.planes[0].places
    assert above.cost == pytest.approx(below.cost)
    assert (above.below, below.below) == (False, True)


def test_who_babbles_or_forgot_nothing_is_on_no_front(tmp_path: Path) -> None:
    """The target scores 0.912, so that 5 % of the way to the reference end at 0.8823."""
    a_run(tmp_path, "babbler", LEVEL, 1.0, repeated=0.11)
    a_run(tmp_path, "nothing", 0.8824, 1.0)
    a_run(tmp_path, "little", 0.8822, 0.99, repeated=0.10)
    a_run(tmp_path, "much", 0.4, 0.96)
    section = section_of(tmp_path)
    for plane in range(len(section.planes)):
        assert {"babbler", "nothing"}.isdisjoint(on_front(section, plane))
    assert on_front(section) == ["much", "little"]
    said = [group.told_of for group in section.groups]
    assert said == ["babbles", "forgot nothing", "", ""]


def test_one_seed_that_babbles_is_enough(tmp_path: Path) -> None:
    for seed, repeated in enumerate((0.0, 0.0, 0.2)):
        a_run(tmp_path, "sometimes", LEVEL, repeated=repeated, seed=seed)
    section = section_of(tmp_path)
    assert section.front == []
    assert section.hypervolume == 0
    assert section.choice == (None, "no group is on the front: all babble or forgot nothing")


def test_the_nearest_of_those_that_keep_enough_is_taken(tmp_path: Path) -> None:
    """Before, retain is 0.997: 95 % of it are 0.947. Near counts all forget metrics."""
    near = {"probability": 0.102, "truth_ratio": 0.5104}  # the reference's: 0.98 · 0.104, …
    a_run(tmp_path, "loses", LEVEL, 0.94, **near)
    a_run(tmp_path, "near", 0.35, 0.95, **near)
    a_run(tmp_path, "half", 0.36, 0.96, probability=0.3, truth_ratio=0.9)
    a_run(tmp_path, "far", 0.6, 0.99, probability=0.6, truth_ratio=0.6)
    section = section_of(tmp_path)
    assert on_front(section) == ["loses", "near", "half", "far"]
    assert taken(section) == "near"
    for word in ("95%", "ROUGE-L recall, probability, truth ratio", "10%", "5%"):
        assert word in section.rule


def test_nearest_in_all_forget_metrics_is_taken_off_the_front_too(tmp_path: Path) -> None:
    """The plane knows one of them: what is nearer there may be farther off in the others."""
    a_run(tmp_path, "nearer", 0.31, 0.97, probability=0.2, truth_ratio=0.8)
    a_run(tmp_path, "near", 0.35, 0.97, probability=0.102, truth_ratio=0.5104)
    a_run(tmp_path, "babbler", LEVEL, 0.90, repeated=0.6, probability=0.102, truth_ratio=0.5104)
    section = section_of(tmp_path)
    assert on_front(section) == ["nearer"]
    assert taken(section) == "near"


def test_who_goes_less_than_half_of_the_way_is_not_taken(tmp_path: Path) -> None:
    """On the front, as it forgot something, and keeps all; but nobody would call that deleted."""
    a_run(tmp_path, "timid", 0.80, 0.99)
    a_run(tmp_path, "babbler", LEVEL, 0.97, repeated=0.6)
    section = section_of(tmp_path)
    assert on_front(section) == ["timid"]
    assert section.choice.place is None
    assert "goes 50% of the way" in section.choice.why_none
    a_run(tmp_path, "bold", 0.60, 0.96)
    assert taken(section_of(tmp_path)) == "bold"


def test_utility_has_to_be_kept_as_well(tmp_path: Path) -> None:
    a_run(tmp_path, "useless", LEVEL, 0.98)
    job = next(tmp_path.glob("0-x"))
    record = json.loads((job / "summary.json").read_text())
    record["metrics"]["after"]["model_utility"] = 0.5 * record["metrics"]["before"]["model_utility"]
    (job / "summary.json").write_text(json.dumps(record))
    section = section_of(tmp_path)
    assert on_front(section) == ["useless"]
    assert section.choice == (
        None,
        "no group keeps 95% of retain and utility and goes 50% of the way",
    )


def test_without_a_reference_lower_is_better_down_to_the_floor(tmp_path: Path) -> None:
    a_run(tmp_path, "silent", 0.0, 0.96, reference=False)
    a_run(tmp_path, "floor", 0.09, 0.97, reference=False)
    a_run(tmp_path, "above", 0.2, 0.98, reference=False)
    a_run(tmp_path, "worse", 0.3, 0.97, reference=False)
    section = section_of(tmp_path)
    assert on_front(section) == ["floor", "above"], "below the floor nothing is won"
    assert taken(section) == "floor"
    assert section.planes[0].plane.floor == 0.1
    assert section.hypervolume == pytest.approx((1 - 0.1) * 0.97 + (1 - 0.2) * 0.01)
    assert "forget_distance" not in section.columns
    assert section.better("forget/rougeL_recall") == "lower"
    assert not any("below" in group.told_of for group in section.groups)


def test_the_other_planes(tmp_path: Path) -> None:
    for name, (quality, utility, auc) in {
        "a": (0.5, 0.60, 0.55),
        "b": (1e-20, 0.62, 0.62),
        "c": (1e-21, 0.61, 0.30),
    }.items():
        a_run(tmp_path, name, LEVEL)
        job = max(tmp_path.iterdir(), key=lambda path: path.name)
        record = json.loads((job / "summary.json").read_text())
        record["metrics"]["after"] |= {
            "forget_quality": quality,
            "model_utility": utility,
            "mia_min_k": auc,
        }
        record["metrics"]["reference"]["mia_min_k"] = 0.6
        (job / "summary.json").write_text(json.dumps(record))
    section = section_of(tmp_path)
    names = [drawn.plane.name for drawn in section.planes]
    assert names == [
        "forget distance × retain",
        "forget quality × model utility",
        "membership distance × model utility",
    ]
    assert on_front(section, 1) == ["a", "b"]
    assert section.planes[1].hypervolume == pytest.approx(0.5 * 0.6)
    assert on_front(section, 2) == ["b"], "0.02 from the reference's 0.6"
    assert [place.cost for place in section.planes[2].places] == pytest.approx([0.05, 0.02, 0.3])


def test_membership_without_a_reference_is_measured_from_a_half(tmp_path: Path) -> None:
    a_run(tmp_path, "x", 0.3, reference=False)
    job = next(tmp_path.iterdir())
    record = json.loads((job / "summary.json").read_text())
    record["metrics"]["after"] |= {"mia_loss": 0.42}
    (job / "summary.json").write_text(json.dumps(record))
    section = section_of(tmp_path)
    assert section.groups[0].values("membership_distance") == pytest.approx([0.08])
    assert "distance from 0.5" in section.planes[-1].plane.across


def test_page_table_terminal_and_picture_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "runs", "babbler", 0.02, 0.99, repeated=0.6)
    a_run(tmp_path / "runs", "guarded", 0.30)
    comparison = compare([tmp_path / "runs"])
    page = write_page(tmp_path / "page.html", comparison, "two").read_text()
    assert "<code>method=guarded</code>" in page.split("<b>Recommended:</b>")[1][:80]
    assert "babbles, below the reference" in page
    print_comparison(comparison)
    said = " ".join(capsys.readouterr().out.split())
    assert "recommended: method=guarded. The rule: of the groups that keep 95%" in said
    write_csv(tmp_path / "t.csv", comparison)
    lines = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [line["recommended"] for line in lines] == ["no", "yes"]
    assert lines[0]["beware"] == "babbles, below the reference"
    assert draw_front(tmp_path / "p.png", comparison) is not None


def test_who_was_not_asked_whether_it_babbles_is_told(tmp_path: Path) -> None:
    a_run(tmp_path, "old", 0.3, repeated=None)
    section = section_of(tmp_path)
    assert section.notes == ["whether it babbles was not measured of 1 of 1 runs"]
    assert math.isclose(section.hypervolume, (1 - 0.018) * 0.97)
