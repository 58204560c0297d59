"""Does an architecture train? `python benchmarks/architectures.py [--quick] [--only NAME …] [--out docs/models.md]`.

For each a tiny random model of transformers' own class is saved, trained for two steps, cut off after the first and
resumed, and its last checkpoint loaded again. A row passes where the resumed run's weights are those of the run that
went through, to the last bit, and have moved. `--quick` takes a dozen; without `--out` nothing is written.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from tiny_models import KINDS, QUICK, make

from r1zero.config import make_recipe
from r1zero.errors import UserError
from r1zero.policy.layouts import check_layout
from r1zero.policy.load import load_policy
from r1zero.policy.tiny import character_tokenizer
from r1zero.sampling.embedded.sampler import TorchSampler, make_sampler
from r1zero.training.train import train

REWARD = "def reward(response, gold):\n    return float(sum(map(ord, response)) % 2)\n"
"""Any that tells responses of a random model apart."""
HEAD = """# Models

What was tried, by `python benchmarks/architectures.py --out docs/models.md` with transformers {version} and torch
{torch}, on a CPU: a tiny random model of each class is trained for two steps (embedded sampler, layout `padded`),
resumed after the first, and its checkpoint loaded again. *Passes*: resumed weights are bit for bit those of the run
that went through. Nothing of this list is known to the program: it tries a model out on a few tokens when it is loaded,
and what does not agree with the model's own forward pass is not used, or refused with a sentence.

- **sampling**: *continuous* is continuous batching over a cache of ours; *plain* goes on with the model's own cache, a
  batch of prompts of one length at a time, until the last response ends: slower, and as exact.
- **layouts**: those of `learner.layout` that agree; others are refused at the start.
- **attention**: `model.attention`, and `--attention` of `evaluate` and `analyze`, where `sdpa` is refused.

Many models have more embeddings than their tokenizer has tokens (Qwen2.5: 271). Ids without a text are drawn and
trained on as any other, for what is sampled, trained on and measured is one distribution; `rollout/textless` and a note
beside every evaluation count the responses that hold one. Loaded weights are held against their files, one by one.

Models with images or sounds are trained on text alone: what text does not go through is frozen. Where rotary angles
depend on the longest row of a batch (`longrope`, `dynamic`), prompt and response must stay within
`original_max_position_embeddings`, where they do not.

| architecture | sampling | layouts | attention | trains, resumes, reloads |
|---|---|---|---|---|
"""


@dataclass
class Row:
    """What was found of one architecture."""

    kind: str
    attention: str = "sdpa"
    sampling: str = "–"
    layouts: list[str] = field(default_factory=list)
    fault: str = ""

    def __str__(self) -> str:
        """Write the row."""
        came_out = self.fault.replace("|", "/") or "passes"
        attention = "" if self.attention == "sdpa" else self.attention
        return f"| {self.kind} | {self.sampling} | {', '.join(self.layouts) or '–'} | {attention} | {came_out} |"


def recipe(model: Path, reward: Path, attention: str) -> dict[str, object]:
    """Return a recipe of two steps of eight short responses, with sections as dotted settings."""
    return {
        "model": {"path": str(model), "device": "cpu", "attention": attention},
        "questions": {"name": "arithmetic", "options": {"level": 1, "style": "bare", "count": 8}},
        "template": {"name": "no", "answer_format": "last_number"},
        "objective": {"truncation": "keep"},
        "sampling": {"max_new_tokens": 10},
        "rollout": {"prompts": 4, "samples": 4},
        "learner": {"learning_rate": 1e-3, "micro_tokens": 64},
        "verifier": {"reward": f"{reward}:reward", "workers": 1, "timeout_s": 60},
        "checkpoint": {"every": 1},
        "train": {"steps": 2, "seed": 0, "threads": 1},
    }


def attempt(kind: str, folder: Path) -> Row:
    """Try one architecture in an empty folder."""
    row, tokenizer = Row(kind), character_tokenizer()
    try:
        try:
            model = make(kind, len(tokenizer))
        except ValueError as error:
            if "attention" not in str(error):
                raise
            row.attention = "eager"
            model = make(kind, len(tokenizer), attention="eager")
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        before = load_policy(str(folder / "model"), device="cpu", attention=row.attention)
        row.sampling = "continuous" if isinstance(make_sampler(before, 8), TorchSampler) else "plain"
        row.layouts = [layout for layout in ("padded", "packed", "shared") if agrees(before, layout, row.attention)]
        row.fault = trained(folder, row.attention)
    except UserError as error:
        row.fault = f"refused: {error}".replace(str(folder), "…")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's fault, and the next is tried
        row.fault = f"**fails**: {type(error).__name__}: {' '.join(str(error).split())[:120]}".replace(str(folder), "…")
    return row


def agrees(policy: object, layout: str, attention: str) -> bool:
    """Tell whether a layout may be used with a model."""
    if layout == "packed" and attention == "eager":  # which recipes refuse
        return False
    try:
        check_layout(policy, layout)
    except UserError:
        return False
    return True


def trained(folder: Path, attention: str) -> str:
    """Train, resume and reload; what went wrong."""
    reward = folder / "rewards.py"
    reward.write_text(REWARD)
    settings = make_recipe(recipe(folder / "model", reward, attention))
    train(settings, folder / "whole")
    shutil.copytree(folder / "whole", folder / "cut")
    shutil.rmtree(folder / "cut" / "checkpoints" / "step-000002")
    train(settings, folder / "cut", resume=True)
    weights = [
        load_file(folder / run / "checkpoints" / f"step-{step:06}" / "model.safetensors")
        for run, step in (("whole", 1), ("whole", 2), ("cut", 2))
    ]
    first, whole, cut = weights
    if any(not torch.equal(whole[name], cut[name]) for name in whole):
        return "**fails**: the resumed run has other weights"
    if all(torch.equal(whole[name], first[name]) for name in whole):
        return "**fails**: no weight has moved"
    load_policy(str(folder / "cut" / "checkpoints" / "step-000002"), device="cpu", attention=attention)
    return ""


def main() -> int:
    """Try architectures one after the other; 1 where one fails that is not known to be refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of transformers' model types")
    parser.add_argument("--quick", action="store_true", help=f"a dozen: {' '.join(QUICK)}")
    parser.add_argument("--out", type=Path, help="write the page there")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    rows, kinds = [], arguments.only or (QUICK if arguments.quick else KINDS)
    for kind in kinds:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            rows.append(attempt(kind, Path(folder)))
        print(f"{rows[-1]}  {time.monotonic() - began:.1f} s", flush=True)
    if arguments.out:
        head = HEAD.format(version=transformers.__version__, torch=torch.__version__)
        arguments.out.write_text(head + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    failed = [row.kind for row in rows if row.fault and (row.kind in QUICK or "fails" in row.fault)]
    print(
        f"{len(rows) - sum(bool(row.fault) for row in rows)} of {len(rows)} pass",
        ("; failed:", *failed) if failed else "",
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
