"""benchmarks/gpu.py and what packs it for a machine without a network. CI runs all its parts on a CPU besides."""

import datetime
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from r1zero.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]

import gpu  # noqa: E402  # scripts, and no package
import missing_wheels  # noqa: E402
from parts import Part  # noqa: E402
from parts.bench import Bench, LeftOutError  # noqa: E402
from parts.page import write_page  # noqa: E402


def test_time_that_a_part_did_not_need_is_for_the_others() -> None:
    a, b, c = Part("a", 20, ""), Part("b", 30, ""), Part("c", 50, "")
    assert gpu.allotted([a, b, c], 100) == 20
    assert gpu.allotted([b, c], 96) == 36  # a took 4 of its 20
    assert gpu.allotted([c], 10) == 10
    assert gpu.allotted([c], -5) == 1  # so that it says itself that there is none left


def test_figures_of_one_kind_share_a_table_and_the_commit_is_named(tmp_path: Path) -> None:
    rows = [
        {"part": "begin", "commit": "0123abc", "command": "--only sampler"},
        {"part": "facts", "gpu": True, "device": "NVIDIA H200", "versions": {"torch": "2.11.0"}},
        {"part": "facts", "flops": 7.9e14, "product": "8192³"},
        {"part": "sampler", "engine": "ours", "rows": 8, "tokens_per_second": 1234},
        {"part": "sampler", "engine": "generate", "rows": 8, "failed": "out of memory"},
        {"part": "sampler", "engine": "ours", "rows": 128, "tokens_per_second": 4321},
        {"part": "sampler", "done": False, "seconds": 9.5, "why": "ran into its limit of 9 s"},
    ]
    page = write_page(rows, tmp_path, datetime.date(2026, 11, 28))
    assert page.name == "2026-11-28-gpu-nvidia-h200.md"
    text = page.read_text(encoding="utf-8")
    assert "at commit 0123abc" in text
    assert "- versions: torch 2.11.0" in text
    assert "| 7.9e+14 | 8192³ |" in text
    assert "| engine | rows | tokens_per_second |\n|---|---|---|\n| ours | 8 | 1234 |\n| ours | 128 | 4321 |\n" in text
    assert "| generate | 8 | out of memory |" in text
    assert "Not done: ran into its limit of 9 s, 9.5 s." in text
    assert write_page(rows, tmp_path, datetime.date(2026, 11, 28)).name == "2026-11-28-gpu-nvidia-h200-2.md"
    assert page.read_text(encoding="utf-8") == text


def test_a_measurement_that_fails_is_a_failure_and_one_left_out_is_none(tmp_path: Path) -> None:
    bench = Bench("sampler", tmp_path / "lines", "cpu", True, 0.0)
    with bench.measuring(rows=8):
        raise LeftOutError("no time left")
    with bench.measuring(rows=128):
        raise UserError("the model is\n not finite")
    bench.say(rows=512, tokens_per_second=1)
    rows = [json.loads(line) for line in (tmp_path / "lines").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        {"part": "sampler", "rows": 8, "left_out": "no time left"},
        {"part": "sampler", "rows": 128, "failed": "UserError: the model is not finite"},
        {"part": "sampler", "rows": 512, "tokens_per_second": 1},
    ]
    assert gpu.failures(rows) == ["sampler"]
    assert gpu.failures([rows[0], rows[2], {"part": "sampler", "done": True}]) == []
    assert gpu.failures([{"part": "facts", "done": False}]) == ["facts"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_parts_say_so_and_the_next_one_begins(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--only", "facts", "paper", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    rows = [json.loads(line) for line in (tmp_path / "gpu" / "gpu.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["part"], row["done"]) for row in rows[1:]] == [("facts", False), ("paper", False)]
    assert all(row["why"].endswith("sees no GPU: give --device cpu, or mend its driver") for row in rows[1:])
    assert not list(tmp_path.glob("*.md"))  # no GPU, no page of figures


def test_what_a_wheel_needs_there_and_not_here(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    fields = ("Name: thing", "Version: 1.0", 'Requires-Dist: old; python_version < "3.12"', "Requires-Dist: plain>=2",
              'Requires-Dist: more; extra == "all"', 'Requires-Dist: win; sys_platform == "win32"')  # fmt: skip
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing-1.0.dist-info/METADATA", "\n".join(fields))
    there = {"python_version": "3.12", "sys_platform": "linux", "extra": ""}
    assert [str(each) for each in missing_wheels.needs(wheel, (), there)] == ["plain>=2"]
    assert [str(each) for each in missing_wheels.needs(wheel, ("all",), there)] == ["plain>=2", "more"]
