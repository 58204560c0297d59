"""What the parts share: where figures go, time, shapes of models with random weights, and their policies."""

from __future__ import annotations

import gc
import json
import statistics
import string
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerFast

from r1zero.policy.device import pick_autocast
from r1zero.policy.load import Policy

_QWEN = {"model_type": "qwen2", "vocab_size": 151_936, "tie_word_embeddings": True, "max_position_embeddings": 4096}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "qwen2.5-0.5b": _QWEN
    | {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
    | {"num_attention_heads": 14, "num_key_value_heads": 2},
    "qwen2.5-1.5b": _QWEN
    | {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28}
    | {"num_attention_heads": 12, "num_key_value_heads": 2},
    "smollm2-135m": {
        "model_type": "llama",
        "vocab_size": 49_152,
        "tie_word_embeddings": True,
        "max_position_embeddings": 4096,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}
"""As the models' own config.json say: Qwen/Qwen2.5-0.5B, Qwen/Qwen2.5-1.5B, HuggingFaceTB/SmolLM2-135M. Their contexts
are longer, which changes no weight."""
TINY = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2}


class LeftOutError(Exception):
    """A measurement is not made, for want of time or because it has no place on this device."""


@dataclass
class Bench:
    """One part at work."""

    part: str
    lines: Path
    device_name: str
    tiny: bool
    end: float
    """When its time is over, by time.monotonic()."""

    @property
    def device(self) -> torch.device:
        """Where everything runs."""
        return torch.device(self.device_name)

    @property
    def gpu(self) -> bool:
        """Whether that is a GPU."""
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds left of the part."""
        return self.end - time.monotonic()

    def check_device(self) -> None:
        """End with one sentence where there is no such device."""
        if self.gpu and not torch.cuda.is_available():
            raise SystemExit(f"torch {torch.__version__} sees no GPU: give --device cpu, or mend its driver")

    def say(self, **figure: object) -> None:
        """Write a figure, now: what comes after may fail."""
        row = {"part": self.part, **figure}
        text = json.dumps(row)
        print(text, flush=True)
        with self.lines.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    @contextmanager
    def measuring(self, **what: object) -> Iterator[None]:
        """A measurement that may fail without the ones after it: that is its figure, and the script ends with 1."""
        try:
            yield
        except LeftOutError as error:
            self.say(**what, left_out=str(error))
        except Exception as error:  # noqa: BLE001  whatever fails here, the next measurement may not
            self.say(**what, failed=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
        self.tidy()

    def tidy(self) -> None:
        """Give back what is no longer used."""
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def seconds(self, work: Callable[[], object], runs: int = 1) -> float:
        """The median time of some runs, the device's work included."""
        found = []
        for _ in range(runs):
            self.wait()
            begun = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - begun)
        return statistics.median(found)

    def wait(self) -> None:
        """Wait until the device has done all it was given."""
        if self.gpu:
            torch.cuda.synchronize()

    def limits(self) -> tuple[float, float] | None:
        """FLOP/s and bytes/s as the part `facts` has measured them; None where it was not asked for or failed."""
        found: dict[str, float] = {}
        for line in self.lines.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["part"] == "facts":
                found |= {key: value for key, value in row.items() if key in ("flops", "bandwidth")}
        return (found["flops"], found["bandwidth"]) if len(found) == 2 else None

    def config(self, shape: str, vocabulary: int | None = None) -> PretrainedConfig:
        """A model's shape, or a small one of the same kind; with its own vocabulary, or one of so many tokens."""
        settings = dict(SHAPES[shape]) | (TINY if self.tiny else {})
        settings |= {"vocab_size": vocabulary} if vocabulary else {}
        settings |= {"bos_token_id": None, "eos_token_id": settings["vocab_size"] - 1, "pad_token_id": 0}
        return AutoConfig.for_model(settings.pop("model_type"), **settings)

    def policy(
        self, shape: str, *, autocast: str = "auto", mean_length: int | None = None, vocabulary: int | None = None
    ) -> Policy:
        """Random weights in this shape, float32; under `auto` with bfloat16 products on a GPU.

        They draw nearly uniformly from the vocabulary. With a `mean_length`, so many tokens end a response that it has
        that length on average (geometrically); without, none does.
        """
        config = self.config(shape, vocabulary)
        with torch.device(self.device), torch.random.fork_rng(devices=[0] if self.gpu else []):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
        model.eval()
        ends = tuple(range(1, 1 + config.vocab_size // mean_length)) if mean_length else ()
        return Policy(model, wide_tokenizer(config.vocab_size), ends, pick_autocast(autocast, self.device))

    def prompts(self, count: int, tokens: int, vocabulary: int) -> list[tuple[int, ...]]:
        """Prompts of random tokens, all different."""
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(vocabulary // 2, vocabulary - 1, (count, tokens), generator=generator)
        return [tuple(row) for row in ids.tolist()]


@cache
def wide_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of so many tokens: printable ASCII characters, and for the rest a word with one digit each."""
    words = ["<pad>", *"\n " + string.digits + string.ascii_letters + string.punctuation]
    words += [f" w{letters(i)} {i % 10}" for i in range(vocabulary - len(words) - 1)] + ["<eos>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def letters(number: int) -> str:
    """A number in the digits a to z."""
    rest, last = divmod(number, 26)
    return (letters(rest) if rest else "") + string.ascii_lowercase[last]
