"""Evaluations by a vLLM engine on a model's own files: the same as by the embedded sampler, and what is refused.

One real engine, that of a command; starting one takes half a minute.
"""

import importlib.util
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from helpers import needs_vllm
from r1zero.cli.model_options import ModelOptions
from r1zero.errors import SettingName, UserError
from r1zero.evaluation.cell import claimed
from r1zero.evaluation.models import beside
from r1zero.paper.jobs import EvaluationJob
from r1zero.runs.checkpoints import seal
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.standing_engine import StandingEngine
from r1zero.sampling.synced_engine import EngineLostError
from r1zero.types import Completion, Stop
from tiny_runs import start, taught_model

ASKED = {"9+7=": 16, "8+5=": 13, "2+2=": 4, "1+6=": 7, "1+1+9+4=": 15, "0+0+1+6=": 7, "3+3=": 6} | {
    "12+": 0, "5+5+": 0, "1+1+5+5+": 0, "1+1+12+": 0  # of which it makes endless sums
}  # fmt: skip
POSITIONS = 13


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The taught model with few positions, whose tokenizer bears the name of another kind, as DeepSeek-Math's does."""
    folder = tmp_path / "model"
    shutil.copytree(taught_model(64, 2), folder)
    edit(folder / "config.json", max_position_embeddings=POSITIONS, auto_map={"AutoModelForCausalLM": "evil.Evil"})
    edit(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return folder


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def words(model: Path, tmp_path: Path) -> list[str | Path]:
    rows = [{"problem": text, "answer": str(answer)} for text, answer in ASKED.items()]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked: list[str | Path] = ["evaluate", model, "-b", tmp_path / "sums.jsonl", "--template", "no"]
    return [*asked, "--answer-format", "last_number", "--max-new-tokens", "8", "--device", "cpu", "--batch-rows", "4"]


@needs_vllm
@pytest.mark.slow
def test_the_command_gives_the_same_evaluation_by_either_engine(model: Path, tmp_path: Path) -> None:
    asked, out = words(model, tmp_path), {name: tmp_path / name for name in ("torch", "vllm")}
    said = {name: start(*asked, "--engine", name, "--out", out[name]).done() for name in out}
    assert said["torch"].replace(str(out["torch"]), "") == said["vllm"].replace(str(out["vllm"]), "")
    rows = {name: pq.read_table(folder / "sums.parquet").to_pylist() for name, folder in out.items()}
    assert len(rows["torch"]) == len(ASKED)
    for one, two in zip(rows["torch"], rows["vllm"], strict=True):
        assert one.pop("logprobs") == pytest.approx(two.pop("logprobs"), abs=1e-4)
        assert one == two
    assert {row["stop"] for row in rows["vllm"]} == {"eos", "length", "context"}
    assert {row["outcome"] for row in rows["vllm"]} == {"right", "wrong"}
    results = {name: json.loads((folder / "results.json").read_text()) for name, folder in out.items()}
    assert {name: [cell.pop("engine") for cell in cells] for name, cells in results.items()} == {n: [n] for n in out}
    assert results["torch"] == results["vllm"]
    kept = {name: json.loads((folder / "evaluation.json").read_text()) for name, folder in out.items()}
    assert [each["engine"] for each in kept.values()] == ["torch", "vllm"]
    assert kept["torch"]["parameters"] == kept["vllm"]["parameters"]
    assert not (tmp_path / "ran").exists()  # nothing that a model folder holds is run
    sentence = "was begun with the engine vllm, and torch draws other responses from the same seed: go on with the"
    start(*asked, "--out", out["vllm"]).refused(sentence)


# ---- without an engine


def same(engine: str, **others: object) -> dict[str, object]:
    return {"parameters": 1, "engine": engine, "seed": 0, **others}


def test_an_evaluation_goes_on_with_the_engine_that_began_it(tmp_path: Path) -> None:
    assert not claimed(tmp_path, same("vllm"))
    (tmp_path / "evaluation.json").write_text(json.dumps(same("vllm")))
    assert claimed(tmp_path, same("vllm"))
    with pytest.raises(UserError, match="begun with the engine vllm, and torch draws other responses from the same"):
        claimed(tmp_path, same("torch"))
    with pytest.raises(UserError, match=r"holds another evaluation \(of other engine, seed\)"):
        claimed(tmp_path, same("torch", seed=1))
    older = same("")
    del older["engine"]
    (tmp_path / "evaluation.json").write_text(json.dumps(older))  # of a version that had one engine
    assert claimed(tmp_path, same("torch"))
    with pytest.raises(UserError, match="begun with the engine torch, and vllm draws other responses"):
        claimed(tmp_path, same("vllm"))


def test_options_that_contradict_an_engine_are_refused(tmp_path: Path) -> None:
    asked = [*words(taught_model(), tmp_path), "--engine", "vllm", "--out", tmp_path / "out"]
    start(*asked, "--server", "http://localhost:1/v1").refused("--engine vllm runs the model here, and --server asks")
    start(*asked, "--attention", "eager").refused("--attention eager is for --engine torch; leave it out")
    start(*asked, "--memory", "1.5").refused("--memory 1.5 is not a valid share of a device: write one between 0 and 1")
    assert not (tmp_path / "out").exists()


@needs_vllm
def test_heads_that_vllm_cannot_do_are_one_sentence_with_the_flags_own_names(tmp_path: Path) -> None:
    asked = ModelOptions(engine="vllm", device="cpu")
    with pytest.raises(UserError, match=r"^--engine vllm cannot run .* 8 wide and vLLM .*; use --engine torch\.$"):
        asked.open(str(taught_model()), tmp_path)


@needs_vllm
def test_folders_that_an_engine_cannot_read_are_refused_with_a_remedy(model: Path, tmp_path: Path) -> None:
    (model / "shards").mkdir()
    (model / "shards" / ".metadata").write_bytes(b"")
    (model / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"shards in .*\(`r1zero export .*/model FOLDER`\) and give that, or use"):
        beside(str(model), rows=4, device="cpu")
    shutil.rmtree(model / "shards")
    (model / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="holds adapters alone; merge them into a model folder with peft first, or"):
        beside(str(model), rows=4, device="cpu")
    (model / "adapter_config.json").unlink()
    seal(model, 0, None)
    edit(model / "config.json", max_position_embeddings=14)
    with pytest.raises(UserError, match=r"is damaged, or was changed after it was saved: config\.json is not what"):
        beside(str(model), rows=4, device="cpu")
    with pytest.raises(UserError, match="does not exist; give a model folder or a Hub name"):
        beside(str(tmp_path / "none"), rows=4, device="cpu")


def test_an_engine_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs the package vllm, .*; run `pip install "r1zero\[vllm\]"`'):
        beside(str(model), rows=4)


class Echo:
    """An engine of so much context that says what it is asked; it dies where it is asked for "die"."""

    def __init__(self, context: int, log: list[str]):
        self.context, self.log = context, log
        log.append(f"start {context}")

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        for i, each in enumerate(requests):
            if each.key == "die":
                raise EngineLostError("gone")
            yield Sampled(i, 0, Completion(each.prompt_ids, (0.0,) * len(each.prompt_ids), each.key, Stop.EOS))

    def close(self) -> None:
        self.log.append(f"close {self.context}")


def test_an_engine_is_started_anew_only_where_more_context_is_asked_for() -> None:
    log: list[str] = []
    engine = StandingEngine(lambda context: Echo(context, log))

    def ask(*prompts: int, key: str = "q", **how: Any) -> int:
        requests = [Request(key, (1,) * length) for length in prompts]
        return len(list(engine.sample(requests, 1, SamplingParams(8, **how), seed=0, step=0)))

    engine.reach(12)
    assert ask() == 0
    assert ask(2, 4) == 2
    assert log == ["start 12"]
    assert ask(2, 9, positions=14) == 2  # of 8 tokens its longest prompt leaves 5
    assert log == ["start 12", "close 12", "start 14"]
    with pytest.raises(EngineLostError, match="Give the same command again to go on, with a smaller") as told:
        ask(2, key="die")
    assert {part for part in told.value.args if isinstance(part, SettingName)} == {
        "sampling.batch_rows", "sampling.memory"
    }  # fmt: skip
    assert ask(2) == 1
    engine.close()
    engine.close()
    assert log[3:] == ["start 10", "close 10"]


def test_a_job_of_the_paper_asks_the_engine_that_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def matrix(models: Sequence[str], opened: Any, *_: object) -> None:
        asked.update(models=models, opened=opened)

    monkeypatch.setattr("r1zero.paper.jobs.evaluate_matrix", matrix)
    job = EvaluationJob("evaluations/a", "no", [{"name": "arithmetic"}], model="m", engine="vllm", rows=7, memory=0.8)
    job.carry_out(tmp_path)
    assert asked["opened"].func is beside
    assert asked["opened"].keywords == {"rows": 7, "device": "auto", "precision": "float32", "memory": 0.8}
