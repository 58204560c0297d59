"""What `learner.autocast = "auto"` is: measured where a run begins, recorded, and never measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from r1zero.errors import UserError
from r1zero.policy import precision
from r1zero.policy.device import pick_autocast, product_dtype
from r1zero.policy.precision import Speedup, choose, measure, shapes_of
from r1zero.runs.run import Run
from r1zero.runs.settled import autocast_of
from r1zero.training.setup import RunSetup
from r1zero.training.train import train
from r1zero.training.watch import View
from tiny_runs import sums_of, tiny_recipe, trained, untimed

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FAST, SLOW = Speedup(1.4, 3.0), Speedup(1.2, 3.0)


def not_measured(*_: object) -> Speedup:
    raise AssertionError("it was measured")


def found(monkeypatch: pytest.MonkeyPatch, speedup: Speedup) -> None:
    """Have products be this fast, for models of any size."""
    monkeypatch.setattr(precision, "_SMALL", 0)
    monkeypatch.setattr(precision, "measure", lambda shapes: speedup)
    monkeypatch.setattr(precision, "attention_fault", lambda: "")


def test_it_pays_where_both_kinds_of_products_are_faster_enough() -> None:
    assert FAST.pays
    assert not SLOW.pays
    assert not Speedup(3.0, 1.2).pays
    told = str(Speedup(1.44, 3.0))
    assert told == "1.4 × as fast as float32 in products of 64 rows, 3.0 × in those of 256"


def test_only_auto_on_a_cpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "measure", not_measured)
    monkeypatch.setattr(precision, "attention_fault", lambda: "")
    small = nn.Linear(1, 1)
    with torch.device("meta"):
        large = nn.Linear(1 << 13, 1 << 12)  # 2²⁵ weights, and biases
    for model in (small, large):
        for asked in ("off", "bfloat16"):
            assert choose(model, asked, CPU) == (asked, "")
            assert choose(model, asked, GPU) == (asked, "")
        assert choose(model, "auto", GPU) == ("bfloat16", "")
    assert choose(small, "auto", CPU) == ("off", "")
    for speedup, chosen in ((FAST, "bfloat16"), (SLOW, "off")):
        monkeypatch.setattr(precision, "measure", lambda shapes, found=speedup: found)
        assert choose(large, "auto", CPU)[0] == chosen
        assert choose(large, "auto", CPU)[1].startswith(f"bfloat16 is {speedup} here")


def test_attention_that_fails_in_it_is_a_reason_for_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch's does under ATEN_CPU_CAPABILITY=avx2 on a processor with AMX."""

    def failing(*_: object, **named: object) -> Tensor:
        raise RuntimeError("pack_vnni2 is only supported when avx512 is supported\nfrom far below")

    found(monkeypatch, FAST)
    assert choose(nn.Linear(1, 1), "auto", CPU)[0] == "bfloat16"
    monkeypatch.undo()
    monkeypatch.setattr(precision, "_SMALL", 0)
    monkeypatch.setattr(precision, "measure", not_measured)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", failing)
    reason = "attention in bfloat16 fails here (pack_vnni2 is only supported when avx512 is supported)"
    assert choose(nn.Linear(1, 1), "auto", CPU) == ("off", reason)


def test_products_of_the_models_own_shapes_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 5), nn.Embedding(7, 3), nn.Linear(5000, 2))
    shapes = shapes_of(model)
    assert dict(shapes) == {(3, 5): 2, (5, 3): 1, (5000, 2): 1}
    seen: list[tuple[torch.Size, torch.Size]] = []

    def seconds(x: torch.Tensor, weights: torch.Tensor) -> tuple[float, float]:
        seen.append((x.shape, weights.shape))
        return (6.0, 2.0) if x.shape == (64, 3) else (1.0, 1.0)

    monkeypatch.setattr(precision, "_seconds", seconds)
    # of 64 rows (2·6 + 1 + 1) / (2·2 + 1 + 1), of 256 rows all alike; the widest is cut
    assert measure(shapes) == Speedup(14 / 6, 1.0)
    assert ((64, 1024), (2, 1024)) in seen


def test_a_product_is_measured_both_ways() -> None:
    speedup = measure({(16, 16): 1})
    assert 0 < speedup.few < 1e3
    assert 0 < speedup.many < 1e3


def test_the_precision_of_products() -> None:
    assert product_dtype(pick_autocast("bfloat16", CPU), CPU) == torch.bfloat16
    assert product_dtype(pick_autocast("off", CPU), CPU) is None


# -- runs


class Watching(View):
    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()

    def begin(self, parts: RunSetup, recipe: Any) -> None:
        self.notes = parts.notes


def test_a_run_goes_on_in_the_precision_that_it_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, FAST)
    whole = train(tiny_recipe({"evaluation.benchmarks": []}), tmp_path / "whole")
    view = Watching()
    run = train(tiny_recipe({"evaluation.benchmarks": [], "train.steps": 2}), tmp_path / "run", view=view)
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["autocast"], run.autocast, run.recipe.learner.autocast) == ("bfloat16", "bfloat16", "auto")
    assert f'learner.autocast = "auto" is "bfloat16" in this run: {facts["autocast_reason"]}' in view.notes
    monkeypatch.setattr(precision, "measure", not_measured)
    # in one word or the other, the same run
    train(tiny_recipe({"evaluation.benchmarks": [], "learner.autocast": "bfloat16"}), run.path, resume=True)
    assert untimed(run.read("metrics")) == untimed(whole.read("metrics"))
    assert sums_of(run.path) == sums_of(whole.path)
    assert not run.read("notes")
    with pytest.raises(UserError, match=r"started with other settings of learner\.autocast"):
        train(tiny_recipe({"evaluation.benchmarks": [], "learner.autocast": "off"}), run.path, resume=True)


def test_a_run_from_before_goes_on_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, whole = train(tiny_recipe({"train.steps": 2}), tmp_path / "run"), trained()
    facts = json.loads((run.path / "run.json").read_text())
    assert facts.pop("autocast") == "off"
    (run.path / "run.json").write_text(json.dumps(facts))
    found(monkeypatch, FAST)
    assert run.autocast == "off"
    train(tiny_recipe({"learner.autocast": "off"}), run.path, resume=True)
    assert untimed(run.read("metrics")) == untimed(whole.read("metrics"))
    assert sums_of(run.path) == sums_of(whole.path)


@pytest.mark.parametrize(
    ("asked", "facts", "is_"),
    [
        ("off", {"autocast": "bfloat16"}, "off"),
        ("auto", {"autocast": "bfloat16", "device": "cpu"}, "bfloat16"),
        ("auto", {"autocast": "auto", "device": "2 learners and 1 samplers on local"}, "auto"),
        ("auto", {"device": "cpu"}, "off"),
        ("auto", {"device": "cuda:0"}, "bfloat16"),
        ("auto", {"device": "2 learners and 1 samplers on local"}, "auto"),
        ("auto", {"autocast": ["damaged"], "device": "cpu"}, "off"),
    ],
)
def test_what_a_run_computes_in(asked: str, facts: dict[str, Any], is_: str) -> None:
    assert autocast_of(asked, facts) == is_


def test_a_finished_run_is_the_same_in_one_word_or_the_other() -> None:
    run = Run.open(trained().path)
    assert run.as_asked(tiny_recipe({"learner.autocast": "off"})) == tiny_recipe({"learner.autocast": "off"})
    assert run.as_asked(tiny_recipe({"learner.autocast": "bfloat16"})) == tiny_recipe()
