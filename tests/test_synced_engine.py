"""Engines of any kind: when they are brought up to date, and when they are held against the learner."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers import needs_vllm
from r1zero.errors import UserError
from r1zero.metrics import Tally
from r1zero.policy.batch import Trajectory
from r1zero.rollouts.collector import ColocatedCollector
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.synced_engine import SyncedEngine
from r1zero.training.workers import check_apart
from r1zero.types import Completion, Stop
from tiny_runs import taught_model, tiny_recipe

PROBES = tuple(Request(f"q{i}", (1, i)) for i in range(8))


@dataclass
class Counting:
    """An engine that says what happens to it; its log-probs are −1, but for what is added for a question."""

    off: dict[int, float] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)

    def update_weights(self) -> None:
        self.happened.append("sync")

    def sleep(self) -> None:
        self.happened.append("rest")

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        self.happened.append("check" if step < -1 else "sample")
        for i in range(len(requests)):
            yield Sampled(i, 0, Completion((5, 6), (-1.0, -1.0 + self.off.get(i, 0.0)), "x", Stop.LENGTH))


def synced(engine: Counting, updates: Iterator[int], every: int = 1) -> SyncedEngine:
    def score(found: Sequence[Trajectory]) -> list[list[float]]:
        return [[-1.0, -1.0] for _ in found]

    return SyncedEngine(engine, lambda: next(updates), score, PROBES, SamplingParams(8), 0.1, every)


def drawn(engine: SyncedEngine) -> list[Sampled]:
    return list(engine.sample(PROBES, 1, SamplingParams(8), seed=0, step=0))


def test_weights_travel_when_the_learner_has_moved_and_after_a_rest() -> None:
    engine = Counting()
    up_to_date = synced(engine, iter([0, 0, 1, 1, 1]), every=100)
    for _ in range(3):
        drawn(up_to_date)
    assert engine.happened == ["sync", "check", "sample", "sample", "sync", "sample"]
    up_to_date.sleep()
    engine.happened.clear()
    drawn(up_to_date)
    drawn(up_to_date)
    assert engine.happened == ["sync", "sample", "sample"]


def test_the_first_sync_is_checked_and_every_nth_after_it() -> None:
    engine = Counting()
    up_to_date = synced(engine, iter(range(7)), every=3)
    for _ in range(7):
        up_to_date.update_weights()
    assert engine.happened == ["sync", "check", *["sync"] * 2, "sync", "check", *["sync"] * 2, "sync", "check"]


@pytest.mark.parametrize("off", [{}, {3: 0.7}, dict.fromkeys(range(8), 0.19)])
def test_small_differences_pass(off: dict[int, float]) -> None:
    synced(Counting(off), iter([0])).update_weights()


@pytest.mark.parametrize(
    ("off", "gap"),
    [
        ({3: 0.9}, "0.11"),  # 0.45 a token of one response, 0.056 on average: a replica of eight that is wrong
        (dict.fromkeys(range(8), 0.3), "0.15"),
    ],
)
def test_one_response_that_is_far_off_or_all_by_a_little_end_the_run(off: dict[int, float], gap: str) -> None:
    with pytest.raises(UserError, match=rf"differ from the learner's by {gap} nats a token .*max_logprob_gap = 0\.1"):
        synced(Counting(off), iter([0])).update_weights()


def test_an_engine_rests_once_a_batch_is_there() -> None:
    engine = Counting()
    up_to_date = synced(engine, iter([0]))

    def gather(step: int, tally: Tally, progress: object) -> Any:
        drawn(up_to_date)
        return f"batch {step}"

    turns: Any = ColocatedCollector(gather, up_to_date)  # pyright: ignore[reportArgumentType]
    assert turns(3, Tally()) == "batch 3"
    assert engine.happened[-2:] == ["sample", "rest"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [({"cluster.learners": 2}, "The section [cluster]"), ({"sampling.engine": "vllm"}, 'sampling.engine = "vllm"')],
)
def test_adapters_alone_are_no_model_for_an_engine(changes: dict[str, object], where: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    recipe = tiny_recipe({"model.path": str(tmp_path)})
    check_apart(recipe)
    with pytest.raises(UserError) as said:
        check_apart(tiny_recipe({"model.path": str(tmp_path), **changes}))
    assert str(said.value).startswith(f"{where} takes a whole model, and model.path = ")


# -- vLLM's, without its engine


@needs_vllm
@pytest.mark.parametrize(("adapters", "level"), [(False, 2), (True, 1)])
def test_a_sleeping_engine_has_its_weights_before_its_cache(
    adapters: bool, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Level 2 throws the weights away, which adapters alone could not bring back."""
    from r1zero.policy.load import load_policy
    from r1zero.sampling.vllm import sampler as vllm_sampler
    from r1zero.sampling.vllm.spec import EngineSpec

    policy, happened = load_policy(str(taught_model(64, 2)), device="cpu"), []

    class Engine:
        def __init__(self, **options: Any):
            assert options["enable_sleep_mode"]
            self.llm_engine = SimpleNamespace(engine_core=None)

        def get_tokenizer(self) -> Any:
            return policy.tokenizer

        def wake_up(self, tags: list[str]) -> None:
            happened.extend(f"wake {tag}" for tag in tags)

        def reset_prefix_cache(self) -> None:
            happened.append("forget")

        def sleep(self, level: int) -> None:
            happened.append(f"sleep {level}")

    class Sent:
        whole = not adapters

        def options(self) -> dict[str, Any]:
            return {}

        def send(self, llm: object) -> None:
            happened.append("weights")

    monkeypatch.setattr(vllm_sampler.vllm, "LLM", Engine)
    monkeypatch.setattr(vllm_sampler, "_tell_of_death", lambda client: None)
    spec = EngineSpec(str(taught_model(64, 2)), None, policy.tokenizer, policy.eos_ids, torch.float32,
                      torch.device("cpu"), context=32, rows=4, memory=0.5, sleeps=True)  # fmt: skip
    sampler: Any = vllm_sampler.VllmSampler(spec, Sent())  # pyright: ignore[reportArgumentType]
    sampler.update_weights()
    sampler.sleep()
    sampler.sleep()
    sampler.update_weights()
    assert happened == [
        *("weights", "forget"),
        f"sleep {level}",
        *("wake weights", "weights", "wake kv_cache", "forget"),
    ]


@needs_vllm
def test_weights_travel_in_the_engines_dtype_and_the_largest_fits_a_message() -> None:
    from r1zero.sampling.vllm.build import Weights

    policy = SimpleNamespace(
        model=torch.nn.Linear(4, 300_000_000, bias=False, device="meta"), engine_dtype=torch.bfloat16
    )
    from r1zero.sampling.vllm import build as vllm_build

    way: Any = vllm_build._way(policy, torch.device("cuda"), 1)  # pyright: ignore[reportArgumentType]
    assert (way.backend, way.packed, way.packed_buffer_size_bytes) == ("ipc", True, 2_400_000_000)
    assert vllm_build._way(policy, torch.device("cuda"), 2).backend == "r1zero_shared_memory"  # pyright: ignore[reportArgumentType]
    named = [("a", torch.tensor([1.0, 2.0])), ("b", torch.ones(2, 2, requires_grad=True))]
    source = Weights(torch.device("cpu"), torch.bfloat16, named)
    assert [(each.name, each.dtype, each.shape) for each in source.metadata()] == [
        ("a", torch.bfloat16, (2,)),
        ("b", torch.bfloat16, (2, 2)),
    ]
    assert [(name, each.dtype, each.requires_grad) for name, each in source] == [
        ("a", torch.bfloat16, False),
        ("b", torch.bfloat16, False),
    ]


@needs_vllm
def test_handles_of_cuda_ipc_reach_an_engines_process() -> None:
    """They hold classes and dtypes, which vLLM refuses to send unless it is allowed to pickle."""
    from torch.storage import UntypedStorage

    from r1zero.sampling.vllm import sampler as vllm_sampler

    assert vllm_sampler.os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] == "1"
    from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

    update = {"ipc_handles": {"GPU-1": (torch.Tensor, (2, 2), 0, UntypedStorage, torch.float32, 0, b"handle")}}
    assert MsgpackDecoder(dict).decode(MsgpackEncoder().encode(update))["ipc_handles"]["GPU-1"][3] is UntypedStorage


@needs_vllm
def test_no_room_for_weights_is_a_sentence_and_no_bus_error() -> None:
    from r1zero.sampling.vllm.weight_transfer import mapped, reserved

    with reserved(1000) as path:
        mapped(path, 1000).fill_(7)
        assert Path(path).read_bytes() == b"\7" * 1000
    assert not Path(path).parent.exists()
    with pytest.raises(UserError, match=r"takes 1073741824\.00 GiB for the weights .*--shm-size"), reserved(2**60):
        pass


@needs_vllm
def test_a_plugin_that_vllm_would_not_load_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from r1zero.sampling.vllm import weight_transfer

    weight_transfer.check_plugin()
    monkeypatch.setenv("VLLM_PLUGINS", "another")
    with pytest.raises(UserError, match="leaves out r1zero's own plugin; add r1zero to it, or unset it"):
        weight_transfer.check_plugin()
    monkeypatch.delenv("VLLM_PLUGINS")
    monkeypatch.setattr(weight_transfer, "entry_points", lambda group: SimpleNamespace(names=set()))
    with pytest.raises(UserError, match="install it again"):
        weight_transfer.check_plugin()


@needs_vllm
def test_an_engine_on_another_kind_of_device_is_a_sentence() -> None:
    from r1zero.sampling.vllm.spec import _check_device, current_platform

    there = current_platform.device_type
    _check_device(torch.device(there))
    with pytest.raises(UserError, match=rf'runs on {there} .* model is on meta; set model\.device = "{there}"'):
        _check_device(torch.device("meta"))
