"""benchmarks/growth.py: exponents by hand, and every part to its last line on a small model."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import growth  # a script, and no package


def test_exponents_by_hand() -> None:
    assert growth.exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert growth.exponent([1, 4, 16], [5, 10, 20]) == pytest.approx(0.5)
    # on a line but for the middle, which is twice as high: the ends alone tell the slope
    assert growth.exponent([1, 2, 4], [1, 4, 4]) == pytest.approx(1)


def test_a_bar_is_held_against_a_whole_step() -> None:
    axis = growth.Axis("new_tokens", (1, 2, 4), (), bar=1.1)
    # seconds double as tokens do, then four times: exponents 1 and, of the last pair, 2
    rise = [{"tokens": x, "seconds": s, "cpu_seconds": 1.0} for x, s in ((1, 1.0), (2, 2.0), (4, 8.0))]
    found = growth.points_and_exponents("tokens", axis, rise, "seconds")
    assert (found["exponents"], found["exponent_of_the_last_pair"]) == ({"seconds": 1.5, "cpu_seconds": 0.0}, 2.0)
    assert found["holds"] is False
    rise[2]["seconds"] = 4.0
    assert growth.points_and_exponents("tokens", axis, rise, "seconds")["holds"] is True
    rise[2]["seconds"] = 8.0
    assert growth.points_and_exponents("tokens", axis, rise, "cpu_seconds")["holds"] is True


def test_every_part_runs_on_a_small_model(capsys: pytest.CaptureFixture[str]) -> None:
    growth.main(["--quick", "--runs", "1", "--json"])
    begin, *parts = map(json.loads, capsys.readouterr().out.splitlines())
    assert begin["part"] == "begin"
    assert [part["part"] for part in parts] == ["tokens", "vocabulary", "samples", "prompt", "draw"]
    for part in parts[:-1]:
        assert [point[part["part"]] for point in part["points"]] == list(growth.AXES[part["part"]].quick)
        assert all(point["seconds"] >= point["sampling"] > 0 for point in part["points"])
    assert [point["vocabulary"] for point in parts[-1]["points"]] == [512, 2048]
    assert {"holds", "bar"} <= parts[0].keys()
