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
from transformers import AutoConfig, PreTrainedTokenizerBase

from r1zero.config import Recipe
from r1zero.errors import UserError, reason
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
from vllm.platforms import current_platform  # noqa: E402
from vllm.sampling_params import RequestOutputKind  # noqa: E402
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend  # noqa: E402
from vllm.v1.engine.exceptions import EngineDeadError  # noqa: E402

from r1zero.sampling.synced_engine import EngineLostError  # noqa: E402
from r1zero.sampling.vllm import weight_transfer  # noqa: E402


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


Transfer = InPlace | Adapters
"""How an engine comes by the learner's weights."""


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
    """Samples from a vLLM engine of a policy's model.

    `context` is the longest prompt and response together, in tokens; `sleeps` whether it gives its memory back between
    calls, to a learner on the same GPU. `update_weights` comes before `sample`: it starts with no weights, and sleeps
    without.

    Raises:
        UserError: vLLM does not take the model, or its tokenizer is another.
    """

    def __init__(
        self, recipe: Recipe, policy: Policy, transfer: Transfer, context: int, device: torch.device, *, sleeps: bool
    ):
        model, settings = recipe.model, recipe.sampling
        self.eos_ids, self.tokenizer = policy.eos_ids, policy.tokenizer
        self.transfer, self.sleeps = transfer, sleeps
        self.adapters: LoRARequest | None = None
        self.asleep = self.lost = False
        options: dict[str, Any] = {
            "model": model.path,
            "revision": model.revision,
            "tokenizer_revision": model.revision,
            "dtype": policy.engine_dtype,
            "max_model_len": context,
            "max_num_seqs": settings.batch_rows,
            "tensor_parallel_size": settings.tensor_parallel,
            "logprobs_mode": "processed_logprobs",  # of the distribution that was sampled from
            "generation_config": "vllm",  # nothing of the model's own that a recipe does not say
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            **({"distributed_executor_backend": "uni"} if settings.tensor_parallel == 1 else {}),
            "enable_sleep_mode": sleeps,
            **_memory(recipe, policy.engine_dtype, context, device),
            **transfer.options(),
        }
        _check_device(device)
        try:
            with _quiet_children():
                self.llm = vllm.LLM(**options)
        except (ValueError, RuntimeError, OSError, NotImplementedError) as error:
            raise UserError(
                f'sampling.engine = "vllm" cannot be started on the model at {model.path!r} ({reason(error, 300)}); '
                'set sampling.memory to what is free, or use sampling.engine = "torch".'
            ) from None
        self._check_tokenizer(model.path, policy.tokenizer)
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
                f'sampling.engine = "vllm" reads another tokenizer at {path!r} than transformers does, so texts and '
                'stop strings would differ; use sampling.engine = "torch".'
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


def _check_device(device: torch.device) -> None:
    """Raise a UserError where this build of vLLM would run on another kind of device."""
    theirs = current_platform.device_type
    if theirs != device.type:
        raise UserError(
            f'sampling.engine = "vllm" runs on {theirs} in this installation of vLLM, and the model is on {device}; '
            f'set model.device = "{theirs}", or sampling.engine = "torch".'
        )


def _memory(recipe: Recipe, dtype: torch.dtype, context: int, device: torch.device) -> dict[str, Any]:
    """Tell how much the engine may take: a share of a GPU, or on a CPU what its rows' keys and values need at most."""
    model, settings = recipe.model, recipe.sampling
    if device.type == "cuda":
        return {"gpu_memory_utilization": settings.memory}
    settled = AutoConfig.from_pretrained(model.path, revision=model.revision, trust_remote_code=False)
    text = settled.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    possible = CPUAttentionBackend.get_supported_head_sizes()
    if width not in possible:
        raise UserError(
            f'sampling.engine = "vllm" cannot run the model at {model.path!r} on a CPU: its attention heads are '
            f'{width} wide and vLLM knows {", ".join(map(str, possible))}; use sampling.engine = "torch".'
        )
    token = 2 * text.num_hidden_layers * heads * width * dtype.itemsize
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    blocks = (context + 256) * settings.batch_rows  # whole blocks of tokens
    return {
        "kv_cache_memory_bytes": int(min(token * blocks, settings.memory * ram)),
        "enforce_eager": True,  # compiling takes longer than a small run
    }
