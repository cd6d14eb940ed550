"""The benchmark of the start: it counts what processes spend, and its command prints every row."""

import pytest

from benchmarks.startup import main, seconds, shown


@pytest.mark.slow
def test_the_clock_counts_work_and_not_waiting() -> None:
    waited = seconds(("-c", "import time; time.sleep(1)"))
    worked = seconds(("-c", "import time\nwhile time.process_time() < 1: pass"))
    assert waited < worked
    assert worked >= 1


def test_least_and_median_are_of_the_ratios_of_neighbours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    Console(width=100).print(shown([(3.0, 1.0), (8.0, 2.0), (12.0, 2.0)]))
    ratio = next(line for line in capsys.readouterr().out.splitlines() if "/ import hydra" in line)
    assert ratio.split("│")[2:6] == [f" {told} " for told in (" 3.00", "  4.00", "   4.00", "yes")]


@pytest.mark.slow
def test_the_command_prints_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--pairs", "1"])
    said = capsys.readouterr().out
    for row in (
        "unlearn --help, seconds",
        "import hydra, seconds",
        "unlearn --help / import hydra",
    ):
        assert row in said


def test_wrong_options_end_with_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--pairs", "0"])
    assert ended.value.code == 2
    assert "allowed" in capsys.readouterr().err
