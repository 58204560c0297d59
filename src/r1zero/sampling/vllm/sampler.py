"""The vLLM sampler: an engine in a process beside this one, with weights that are brought up to date in place.

Sampled ids, their log-probs and how a response ended are the engine's own. Every response is a request with a seed of
its own, a pure function of (seed, step, key, sample), and prompts are shared through the prefix cache, which is emptied
whenever the weights change.
"""

# pyright: reportMissingImports=warning
# vLLM is not to be had on every machine that this is worked on.
from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from r1zero.errors import SettingName, UserError, reason
from r1zero.policy.load import Policy
from r1zero.sampling.noise import row_key
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.special_tokens import stops_at_special, without_special
from r1zero.types import Completion, Stop

for _name, _value in {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # several engines on one machine would all bind to the same cores
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",  # handles of CUDA IPC are pickled; they come from this process alone
}.items():
    os.environ.setdefault(_name, _value)

import vllm  # noqa: E402
from vllm.distributed.weight_transfer import WeightSource, WeightTransferTrainerFactory  # noqa: E402
from vllm.distributed.weight_transfer.base import TrainerInitInfo  # noqa: E402
from vllm.lora.request import LoRARequest  # noqa: E402
from vllm.sampling_params import RequestOutputKind  # noqa: E402
from vllm.v1.engine.exceptions import EngineDeadError  # noqa: E402

from r1zero.sampling.synced_engine import EngineLostError  # noqa: E402
from r1zero.sampling.vllm import USE_TORCH, VLLM, weight_transfer  # noqa: E402
from r1zero.sampling.vllm.spec import EngineSpec, memory_options  # noqa: E402


class InPlace:
    """All weights, into the storage that the engine has, by vLLM's weight-transfer API (`info` names the backend)."""

    whole = True
    """Whether it sends all weights, so that a sleeping engine need keep none."""

    def __init__(self, source: WeightSource, info: TrainerInitInfo):
        self.source, self.info = source, info
        self.trainer: Any = None

    def options(self) -> dict[str, Any]:
        """Return what the engine is started with for it: weights that come before the first token need not be read from
        disk; what is then missed would be seen.
        """
        if self.info.backend == weight_transfer.BACKEND:
            weight_transfer.check_plugin()
            weight_transfer.register()
        return {"weight_transfer_config": {"backend": self.info.backend}, "load_format": "dummy"}

    def send(self, llm: vllm.LLM) -> None:
        """Bring the engine's weights up to date."""
        if self.trainer is None:
            self.trainer = WeightTransferTrainerFactory.trainer_init(
                self.info, client=_Workers(llm), source=self.source
            )
        self.trainer.send_weights()


class Adapters:
    """LoRA adapters alone, under a new name each time; they are never merged into the engine's weights.

    `save` writes them as a peft folder. The engine reads the weights beneath from the model's own folder.
    """

    whole = False

    def __init__(self, save: Callable[[str], object], rank: int):
        self.save, self.rank = save, rank
        self.number = 0

    def options(self) -> dict[str, Any]:
        """Return what the engine is started with for them."""
        return {"enable_lora": True, "max_lora_rank": max(8, self.rank), "max_loras": 1, "max_cpu_loras": 2}

    def send(self, llm: vllm.LLM) -> LoRARequest:
        """Bring the engine's adapters up to date; requests are to name what is returned."""
        self.number += 1
        with tempfile.TemporaryDirectory(prefix="r1zero-") as folder:
            self.save(folder)
            request = LoRARequest(f"step-{self.number}", self.number, folder)
            llm.llm_engine.add_lora(request)
        if self.number > 1:
            llm.llm_engine.remove_lora(self.number - 1)
        return request


class OwnFiles:
    """Nothing: the engine reads the weights from the model's own files, and keeps them.

    Its tokenizer is that of `blank`. vLLM has the class that a folder names build one, which for some
    folders is another than their tokenizer.json describes (see `policy.tokenizer`).
    """

    whole = False

    def __init__(self, blank: Policy):
        self.folder = tempfile.TemporaryDirectory(prefix="r1zero-")  # as long as the engine, which may look again
        blank.tokenizer.save_pretrained(self.folder.name)
        blank.model.config.save_pretrained(self.folder.name)  # it looks for one beside a tokenizer

    def options(self) -> dict[str, Any]:
        """Return what the engine is started with for it."""
        weight_transfer.check_plugin()  # by which it ends with this process
        return {"tokenizer": self.folder.name, "use_tqdm_on_load": False}

    def send(self, llm: vllm.LLM) -> None:
        """Leave the engine's weights as they are."""


Transfer = InPlace | Adapters | OwnFiles
"""How an engine comes by its weights."""


class _Workers:
    """vLLM's `VLLMWeightSyncClient` for an engine in this process."""

    def __init__(self, llm: vllm.LLM):
        self.llm = llm

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Shake hands."""
        self.llm.collective_rpc("init_weight_transfer_engine", args=(init_info,))

    def start_weight_update(self) -> None:
        """Get ready for the weights."""
        self.llm.collective_rpc("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Take the weights over."""
        self.llm.collective_rpc("update_weights", args=(update_info,))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Put in order what depends on them."""
        self.llm.collective_rpc("finish_weight_update")


class VllmSampler:
    """Samples from a vLLM engine.

    `update_weights` comes before `sample`, but where the weights are those of the model's own files: the engine starts
    with none, and sleeps without.

    Raises:
        UserError: vLLM does not take the model, or its tokenizer is another.
    """

    def __init__(self, spec: EngineSpec, transfer: Transfer):
        self.eos_ids, self.tokenizer = spec.eos_ids, spec.tokenizer
        self.transfer, self.sleeps = transfer, spec.sleeps
        self.adapters: LoRARequest | None = None
        self.asleep = self.lost = False
        options: dict[str, Any] = {
            "model": spec.path,
            "revision": spec.revision,
            "tokenizer_revision": spec.revision,
            "trust_remote_code": False,
            "dtype": spec.dtype,
            "max_model_len": spec.context,
            "max_num_seqs": spec.rows,
            "tensor_parallel_size": spec.tensor_parallel,
            "logprobs_mode": "processed_logprobs",  # of the distribution that was sampled from
            "generation_config": "vllm",  # nothing of the model's own that a recipe does not say
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            **({"distributed_executor_backend": "uni"} if spec.tensor_parallel == 1 else {}),
            "enable_sleep_mode": spec.sleeps,
            **memory_options(spec),
            **transfer.options(),
        }
        try:
            with _quiet_children():
                self.llm = vllm.LLM(**options)
        except (ValueError, RuntimeError, OSError, NotImplementedError) as error:
            raise UserError(
                VLLM,
                f" cannot be started on the model at {spec.path!r} ({reason(error, 300)}); set ",
                SettingName("sampling.memory"),
                " to what is free, or use ",
                USE_TORCH,
                ".",
            ) from None
        self._check_tokenizer(spec.path, spec.tokenizer)
        threading.Thread(target=_tell_of_death, args=(self.llm.llm_engine.engine_core,), daemon=True).start()

    def update_weights(self) -> None:
        """See `Engine`."""
        if self.asleep:
            torch.cuda.empty_cache()  # of a learner in this process
        with self._alive():
            self._wake("weights")
            self.adapters = self.transfer.send(self.llm)
            self._wake("kv_cache")
            self.llm.reset_prefix_cache()
        self.asleep = False

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`. The noise is vLLM's own, from a seed that is a pure function of all five."""
        assert not self.asleep
        engine = self.llm.llm_engine
        which: dict[str, tuple[int, int]] = {}
        special = stops_at_special(self.tokenizer, params.stop)
        try:
            for r, request in enumerate(requests):
                for g in range(samples):
                    which[f"{r}/{g}"] = r, g
                    self._add(f"{r}/{g}", request, self._params(params, request, row_key(seed, step, request.key, g)))
            while which:
                with self._alive():
                    outputs: list[Any] = engine.step()
                for output in outputs:
                    if output.finished:
                        request, sample = which.pop(output.request_id)
                        cut = params.cut(params.budget(len(requests[request].prompt_ids)))
                        yield Sampled(request, sample, self._completion(output.outputs[0], special, cut))
        finally:
            if which and not self.lost:  # the caller has had enough, or was interrupted
                engine.abort_request(list(which))

    def sleep(self) -> None:
        """See `Engine`."""
        if self.sleeps and not self.asleep:
            with self._alive():
                self.llm.sleep(level=2 if self.transfer.whole else 1)
            self.asleep = True

    def close(self) -> None:
        """End the engine's process."""
        self.llm.llm_engine.engine_core.shutdown()

    def _add(self, name: str, request: Request, params: vllm.SamplingParams) -> None:
        prompt: Any = {"prompt_token_ids": list(request.prompt_ids)}
        with self._alive():
            self.llm.llm_engine.add_request(name, prompt, params, lora_request=self.adapters)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except EngineDeadError:
            self.lost = True
            raise EngineLostError(
                "The vLLM engine has died; what it said stands above. Continue with --resume, with a smaller "
                'sampling.batch_rows or sampling.memory if it ran out of memory, or with sampling.engine = "torch".'
            ) from None

    def _wake(self, what: str) -> None:
        if self.asleep:
            self.llm.wake_up([what])

    def _params(self, params: SamplingParams, request: Request, noise: int) -> vllm.SamplingParams:
        return vllm.SamplingParams(
            max_tokens=params.budget(len(request.prompt_ids)),
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            seed=noise & (2**63 - 1),
            stop=list(params.stop),
            stop_token_ids=sorted(self.eos_ids),
            include_stop_str_in_output=True,
            logprobs=0,  # of the sampled token alone
            output_kind=RequestOutputKind.FINAL_ONLY,
            spaces_between_special_tokens=False,
            skip_special_tokens=not stops_at_special(self.tokenizer, params.stop),  # it looks for stops in its text
        )

    def _completion(self, output: Any, special: bool, cut: Stop) -> Completion:
        ids = tuple(output.token_ids)
        logprobs = tuple(at[i].logprob for i, at in zip(ids, output.logprobs, strict=True))
        if output.finish_reason == "length":
            how = cut
        elif isinstance(output.stop_reason, str):
            how = Stop.STOP_STRING
        elif output.finish_reason == "stop":
            how = Stop.EOS
        else:
            raise RuntimeError(f"vLLM ended a response by {output.finish_reason!r}")
        text = without_special(self.tokenizer, output.text) if special else output.text
        return Completion(ids, logprobs, text, how)

    def _check_tokenizer(self, path: str, tokenizer: PreTrainedTokenizerBase) -> None:
        theirs: Any = self.llm.get_tokenizer()
        probe = list(range(min(len(tokenizer), 512)))
        if theirs.get_vocab() != tokenizer.get_vocab() or theirs.decode(probe) != tokenizer.decode(probe):
            self.close()
            raise UserError(
                VLLM,
                f" reads another tokenizer at {path!r} than transformers does, so texts and stop strings would differ; "
                "use ",
                USE_TORCH,
                ".",
            )


@contextmanager
def _quiet_children() -> Iterator[None]:
    """Processes that start meanwhile keep to themselves what libraries think of each other; errors are told."""
    quiet = {"PYTHONWARNINGS": "ignore::FutureWarning", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    added = {name: value for name, value in quiet.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _tell_of_death(client: Any) -> None:
    """Wake whoever waits for an engine's process that has been killed: vLLM's own client lets them wait for ever."""
    wait([process.sentinel for process in client.resources.engine_manager.processes])
    client.resources.engine_dead = True  # who calls from now on is told at once
    client.outputs_queue.put_nowait(EngineDeadError())
    for call in list(client.utility_results.values()):
        if not call.done():
            call.set_exception(EngineDeadError())
