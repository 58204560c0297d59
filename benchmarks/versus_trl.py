"""r1zero against TRL's GRPOTrainer: the same model, prompts, lengths and optimiser, side by side on this machine.

    pip install -e ".[benchmarks]"
    python benchmarks/versus_trl.py              # a table; the last line is one JSON record with --json
    python benchmarks/versus_trl.py --only trl   # one side alone
    python benchmarks/versus_trl.py --device cuda --shape qwen2.5-0.5b --tokens 256

One step: 16 prompts × 8 samples, at most 100 new tokens each at temperature 1, graded by a plain function, one Dr. GRPO
update on all 128 responses; 3 M parameters, float32, on CPU. TRL generates with transformers (no vLLM) and without
gradient checkpointing. The model is first taught to write random digits that end anywhere (once; kept in the temporary
folder), so that responses end by themselves and differ in length. How long they are decides much of the ratio, since
TRL decodes and learns as many columns as the longest response has: `--lengths paper` (the default) draws them with a
mean of about a sixth of the limit and a long tail, as in the paper's own runs (300 to 530 of 3000 tokens under Dr.
GRPO); `--lengths even` spreads them evenly up to the limit (mean 46). A response is right if its last digit is below
the prompt's threshold. Thresholds spread difficulty evenly from never to always right, so that some groups are dead, as
in real training (about three in ten; r1zero's learner skips those, which is exact; --hard-work leaves none to skip).
The sides take turns, each run in a process of its own, so that peak memory is its own; the numbers are medians over
runs. This process imports no torch: a child's peak memory would count the parent's.

With --shape the model has random weights in that shape (benchmarks/parts/bench.py) and draws nearly uniformly, so that
nearly every response has all tokens; prompts have 128. On a GPU both sides compute in bfloat16 under autocast, their
weights in float32; TRL learns from 32 responses at a time, and peak memory is what torch has allocated there.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
import itertools
import json
import os
import random
import re
import resource
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SIDES = ("ours", "trl")
CHARACTERS = string.digits + string.ascii_letters + string.punctuation + " \n"
MICRO_TOKENS = {"cpu": 1024, "cuda": 16384}  # ours: on a CPU activations of a pass then stay in its caches
TRL_ROWS = 32  # on a GPU: 128 rows at once have 20 GB of logits
PROMPT_TOKENS = 128  # with --shape
LENGTHS: dict[str, Callable[[random.Random], int]] = {  # digits of a taught response
    "paper": lambda rng: 1 + min(70, int(rng.expovariate(1 / 9))),
    "even": lambda rng: rng.randint(3, 58),  # a little past the limit
}
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


@dataclasses.dataclass(frozen=True)
class Workload:
    """What both sides do."""

    prompts: int = 16
    samples: int = 8
    max_new_tokens: int = 100
    temperature: float = 1.0
    learning_rate: float = 1e-5  # small: lengths should be the same at the last step as at the first
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    warmup: int = 2
    steps: int = 8
    seed: int = 0
    threads: int = 2
    hard_work: bool = False  # every prompt right half of the time: hardly a dead group
    lengths: str = "paper"
    device: str = "cpu"
    shape: str = ""


@dataclasses.dataclass(frozen=True)
class Teaching:
    """How the model is made: its size, and the supervised steps that teach it to write digits."""

    hidden: int = 256
    layers: int = 4
    heads: int = 4
    intermediate: int = 640
    steps: int = 60
    rows: int = 16
    learning_rate: float = 1.5e-3
    seed: int = 0
    lengths: str = "paper"
    version: int = 3  # count up when the text or the teaching changes: the kept model goes by a hash of this record


@dataclasses.dataclass(frozen=True)
class Task:
    """One prompt. Its answer is right if its last digit is below `easy`: a chance of easy / 10 for random digits."""

    a: int
    b: int
    easy: int
    shown: int = 0
    """Characters of the prompt, if it is to be longer than its question."""

    @property
    def prompt(self) -> str:
        return f"Q:{self.a}+{self.b}=\nA:".rjust(self.shown, ".")

    @property
    def gold(self) -> tuple[str, ...]:
        """All right answers; -1, which cannot be one, where nothing is right."""
        return tuple(map(str, range(self.easy))) or ("-1",)

    def response(self, rng: random.Random, lengths: str) -> str:
        """Digits with spaces between (a digit and its space are two tokens), as many as `LENGTHS[lengths]` draws."""
        return "".join(f" {rng.randint(0, 9)}" for _ in range(LENGTHS[lengths](rng)))


def tasks(rng: random.Random) -> Iterator[Task]:
    """Prompts without end; of every eleven, one of each difficulty from never to always right."""
    while True:
        for easy in rng.sample(range(11), 11):
            yield Task(rng.randint(1, 99), rng.randint(1, 99), easy)


def right(response: str, gold: Sequence[str]) -> float:
    """The reward of both sides: 1 if the last number is among the right answers."""
    numbers = re.findall(r"\d+", response)
    return float(bool(numbers) and numbers[-1] in gold)


class Meter:
    """Collects what happened, the same way on both sides: each side calls `responses` and `step_done` once a step."""

    def __init__(self, work: Workload) -> None:
        self.work = work
        self.lengths: list[list[int]] = []
        self.rewards: list[list[float]] = []
        self.wall = [time.perf_counter()]
        self.cpu = [time.process_time()]
        self.phases: dict[str, float] = {}
        self.loaded = self.peak_memory()

    def responses(self, lengths: Sequence[int], rewards: Sequence[float]) -> None:
        """The step's responses: sampled tokens each (terminator included), and rewards, group after group."""
        self.lengths.append(list(lengths))
        self.rewards.append(list(rewards))

    def step_done(self) -> None:
        """The optimiser has stepped."""
        self.wait()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        if len(self.wall) == 1 + self.work.warmup:
            self.phases.clear()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the step. Phases do not nest."""
        self.wait()
        started = time.perf_counter()
        yield
        self.wait()
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - started

    def timed(self, name: str, function: Callable) -> Callable:
        """`function`, counted as phase `name`."""

        def timed(*args, **kwargs):
            with self.phase(name):
                return function(*args, **kwargs)

        return timed

    def result(self) -> dict:
        """The run's numbers, warm-up left out."""
        work, skip = self.work, self.work.warmup
        if (done := len(self.wall) - 1) != skip + work.steps or len(self.lengths) != done:
            raise SystemExit(f"{done} steps and {len(self.lengths)} batches of responses, not {skip + work.steps} each")
        rows = {len(lengths) for lengths in self.lengths}
        if rows != {work.prompts * work.samples}:
            raise SystemExit(f"steps of {sorted(rows)} responses, not {work.prompts * work.samples}")
        seconds = self.wall[-1] - self.wall[skip]
        lengths = [length for step in self.lengths[skip:] for length in step]
        rewards = [reward for step in self.rewards[skip:] for reward in step]
        groups = [rewards[i : i + work.samples] for i in range(0, len(rewards), work.samples)]
        return {
            "seconds_per_step": seconds / work.steps,
            "cpu_seconds_per_step": (self.cpu[-1] - self.cpu[skip]) / work.steps,
            "tokens_per_second": sum(lengths) / seconds,
            "mean_length": statistics.fmean(lengths),
            "at_limit": sum(length == work.max_new_tokens for length in lengths) / len(lengths),
            "mean_reward": statistics.fmean(rewards),
            "live_groups": sum(len(set(group)) > 1 for group in groups) / len(groups),
            "peak_memory_mb": self.peak_memory(),
            "loaded_memory_mb": self.loaded,
            "phases": {name: total / work.steps for name, total in self.phases.items()},
        }

    def wait(self) -> None:
        """Wait until a GPU has done all it was given."""
        if self.work.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def peak_memory(self) -> float:
        """The largest resident set of this process so far, or what torch has allocated on its GPU, in MB."""
        if self.work.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes elsewhere


# --- the sides: each runs alone in a fresh process --------------------------------------------------------------------


def run_ours(model_dir: Path, questions: Sequence[Task], work: Workload) -> dict:
    """r1zero on `questions`, `work.prompts` of them a step, in order; returns `Meter.result()`.

    The body is that of `r1zero.training.train.train` without writing: the product's own sampler, verifier pool and
    learner.
    """
    from r1zero import config
    from r1zero.learner.learner import Learner
    from r1zero.metrics import Tally
    from r1zero.objectives.table import make_objective
    from r1zero.policy.load import load_policy
    from r1zero.rollouts.collector import collect
    from r1zero.rollouts.prompts import Prompt
    from r1zero.rollouts.rewards import Truncation, observe, rewards_of, trajectories_of
    from r1zero.sampling.embedded.sampler import TorchSampler
    from r1zero.sampling.protocol import SamplingParams
    from r1zero.templates import get_template
    from r1zero.types import AnswerFormat, Question
    from r1zero.verify import Verifier

    policy = load_policy(str(model_dir), device=work.device)
    template = get_template("no", answer_format=AnswerFormat.LAST_NUMBER)
    objective = make_objective("dr_grpo", constant=work.max_new_tokens)
    settings = config.LearnerSettings(
        learning_rate=work.learning_rate,
        betas=work.betas,
        max_grad_norm=work.max_grad_norm,
        micro_tokens=MICRO_TOKENS[work.device],
        layout="shared",
    )
    learner = Learner(policy, objective, settings, temperature=work.temperature, seed=work.seed, total_updates=1)
    sampler = TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, autocast=policy.autocast)
    params = SamplingParams(work.max_new_tokens, work.temperature)
    prompts = [
        Prompt(Question(str(i), q.prompt, q.gold), q.prompt, policy.encode(q.prompt), str(i))
        for i, q in enumerate(questions)
    ]
    with Verifier() as verifier:
        meter = Meter(work)
        for step in range(work.warmup + work.steps):
            tally = Tally()
            batch = prompts[step * work.prompts : (step + 1) * work.prompts]
            with meter.phase("generation and grading"):
                rollouts, _, _ = collect(
                    batch, sampler, verifier, template, params, samples=work.samples, seed=work.seed, step=step
                )
            rewards, graded = rewards_of(rollouts, Truncation("keep"))  # as TRL does
            advantages = objective.advantages(rewards, graded)
            observe(tally, rollouts, rewards, graded, (advantages == 0).all(dim=1))
            with meter.phase("learning"):
                learner.learn(trajectories_of(rollouts, advantages, graded), step, tally)
            lengths = [completion.length for rollout in rollouts for completion in rollout.completions]
            meter.responses(lengths, rewards.flatten().tolist())
            meter.step_done()
    return meter.result() | {"responses_per_step": work.prompts * work.samples, "optimizer": "AdamW"}


def run_trl(model_dir: Path, questions: Sequence[Task], work: Workload) -> dict:
    """TRL's GRPOTrainer on `questions`, `work.prompts` of them a step, in order; returns `Meter.result()`."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        model_dir
    )  # for Qwen2's, AutoTokenizer puts another in its place
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype="float32")
    data = Dataset.from_dict({"prompt": [q.prompt for q in questions], "gold": [list(q.gold) for q in questions]})
    rows = work.prompts * work.samples
    at_once = rows if work.device == "cpu" else min(rows, TRL_ROWS)
    meter: Meter

    def reward(completions: list[str], completion_ids: list[list[int]], gold: list[list[str]], **_) -> list[float]:
        rewards = [right(*pair) for pair in zip(completions, gold, strict=True)]
        meter.responses([len(ids) for ids in completion_ids], rewards)
        return rewards

    class Clock(TrainerCallback):
        def on_step_end(self, *args, **kwargs) -> None:
            meter.step_done()

    with tempfile.TemporaryDirectory() as scratch:
        config = GRPOConfig(
            output_dir=scratch,
            use_cpu=work.device == "cpu",
            bf16=work.device != "cpu",
            gradient_checkpointing=False,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=rows // at_once,
            steps_per_generation=rows // at_once,
            num_generations=work.samples,
            num_iterations=1,
            max_completion_length=work.max_new_tokens,
            temperature=work.temperature,
            loss_type="dr_grpo",
            scale_rewards="none",
            beta=0.0,
            learning_rate=work.learning_rate,
            lr_scheduler_type="constant",
            adam_beta1=work.betas[0],
            adam_beta2=work.betas[1],
            max_grad_norm=work.max_grad_norm,
            max_steps=work.warmup + work.steps,
            seed=work.seed,
            shuffle_dataset=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        meter = Meter(work)
        time_phases_of_trl(trainer, meter)
        trainer.train()
    updates = {
        "responses_per_step": rows,
        "optimizer": type(trainer.optimizer.optimizer).__name__,
        "tokens_seen_by_trl": trainer.state.num_input_tokens_seen,
        "tokens_counted": sum(map(sum, meter.lengths)),
        "prompt_tokens": work.samples * sum(len(tokenizer(q.prompt)["input_ids"]) for q in questions),
    }
    return meter.result() | updates


def time_phases_of_trl(trainer, meter: Meter) -> None:
    """Wrap the trainer's own calls: about ten a step, which costs nothing that could be measured."""
    trainer._generate_single_turn = meter.timed("generation", trainer._generate_single_turn)
    trainer._compute_loss = meter.timed("loss forward", trainer._compute_loss)
    trainer.accelerator.backward = meter.timed("backward", trainer.accelerator.backward)
    trainer._calculate_rewards = meter.timed("rewards", trainer._calculate_rewards)
    create = trainer.create_optimizer

    def create_timed(*args, **kwargs):
        optimizer = create(*args, **kwargs)
        optimizer.step = meter.timed("optimizer", optimizer.step)
        return optimizer

    trainer.create_optimizer = create_timed


# --- the model both sides start from ----------------------------------------------------------------------------------


def teach(out: Path, teaching: Teaching, threads: int) -> None:
    """Make the tokenizer and the model, teach it to write digits, save both as an ordinary model folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(teaching.seed)
    tokenizer = character_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=teaching.hidden,
        intermediate_size=teaching.intermediate,
        num_hidden_layers=teaching.layers,
        num_attention_heads=teaching.heads,
        num_key_value_heads=teaching.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=teaching.learning_rate, betas=(0.9, 0.95))
    started = time.monotonic()
    rng = random.Random(teaching.seed)
    questions = tasks(rng)
    for step in range(teaching.steps):
        ramp = min(1.0, (step + 1) / 20) * min(1.0, 3 * (1 - step / teaching.steps))
        optimizer.param_groups[0]["lr"] = teaching.learning_rate * ramp
        batch = list(itertools.islice(questions, teaching.rows))
        texts = [question.prompt + question.response(rng, teaching.lengths) + EOS for question in batch]
        ids = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
        for row, question in enumerate(batch):
            labels[row, : len(question.prompt)] = -100
        loss = model(**ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 20 == 0:
            spent = time.monotonic() - started
            print(f"  step {step + 1}/{teaching.steps}: loss {loss.item():.3f}, {spent:.0f} s", file=sys.stderr)
    print(f"  {model.num_parameters() / 1e6:.2f} M parameters, vocabulary {len(tokenizer)}", file=sys.stderr)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def shaped(out: Path, shape: str, device: str) -> None:
    """Save random weights in a shape, and a tokenizer of as many tokens."""
    from parts.bench import SHAPES, Bench

    bench = Bench("", out, device, shape == "tiny", 0.0)
    bench.policy(next(iter(SHAPES)) if shape == "tiny" else shape).save(out)


def character_tokenizer():
    """One token per character, and <pad>, <eos>, <unk>."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {token: i for i, token in enumerate([PAD, EOS, UNKNOWN, *CHARACTERS])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN)


def model_folder(teaching: Teaching, work: Workload) -> Path:
    """The folder of the model, taught or of random weights; made on first use and kept in the temporary folder."""
    made = {"shape": work.shape, "version": 1} if work.shape else dataclasses.asdict(teaching)
    digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"r1zero-versus-trl-{digest}"
    if not folder.exists():
        print(f"making the model (once; kept in {folder})", file=sys.stderr)
        how = ["--shape", work.shape, "--device", work.device] if work.shape else ["--lengths", teaching.lengths]
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as scratch:
            aside = Path(scratch) / "model"
            child(["--teach", aside, "--threads", work.threads, *how], work)
            aside.rename(folder)
    return folder


# --- the comparison ---------------------------------------------------------------------------------------------------


def child(arguments: Sequence, work: Workload) -> None:
    """Run this file again in a fresh process with its threads, offline; what it prints is shown if it fails."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(work.threads),
        "MKL_NUM_THREADS": str(work.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    if work.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stdout[-4000:]}")


def run_side(side: str, model_dir: Path, work: Workload, result: Path) -> None:
    """What a child process does: one run of one side, its numbers written to `result`."""
    import torch

    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    questions = tasks(random.Random(f"versus-trl/{work.seed}"))
    batch = [next(questions) for _ in range(work.prompts * (work.warmup + work.steps))]
    if work.hard_work:
        batch = [dataclasses.replace(task, easy=5) for task in batch]
    if work.shape:
        batch = [dataclasses.replace(task, shown=PROMPT_TOKENS) for task in batch]
    run = {"ours": run_ours, "trl": run_trl}[side]
    numbers = run(model_dir, batch, work)
    result.write_text(json.dumps(numbers), encoding="utf-8")


def measure(sides: Sequence[str], runs: int, work: Workload) -> dict[str, list[dict]]:
    """Alternating runs: one of each side in turn, `runs` times over."""
    model_dir = model_folder(Teaching(lengths=work.lengths), work)
    results: dict[str, list[dict]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(runs):
            for side in sides:
                file = Path(scratch) / "result.json"
                settings = json.dumps(dataclasses.asdict(dataclasses.replace(work, seed=work.seed + turn)))
                child(["--side", side, "--model", model_dir, "--work", settings, "--result", file], work)
                numbers = json.loads(file.read_text(encoding="utf-8"))
                results[side].append(numbers)
                print(line_of(side, turn, numbers), flush=True)
    return results


def line_of(side: str, turn: int, run: dict) -> str:
    """One run in words."""
    return (
        f"{side:>4} {turn + 1}: {run['seconds_per_step']:6.2f} s/step ({run['cpu_seconds_per_step']:.2f} cpu)  "
        f"{run['tokens_per_second']:7.0f} tok/s  length {run['mean_length']:5.1f} ({run['at_limit']:.0%} at limit)  "
        f"reward {run['mean_reward']:.2f}, {run['live_groups']:.0%} groups live  "
        f"peak {run['peak_memory_mb']:.0f} MB (loaded {run['loaded_memory_mb']:.0f})"
    )


def medians(runs: Sequence[dict]) -> dict:
    """The median over runs of every number; phases by name."""
    numbers = {name: statistics.median(run[name] for run in runs) for name, x in runs[0].items() if is_number(x)}
    phases = {name: statistics.median(run["phases"].get(name, 0.0) for run in runs) for name in runs[0]["phases"]}
    words = {name: x for name, x in runs[0].items() if isinstance(x, str)}
    return (
        {name: round(x, 4) for name, x in numbers.items()}
        | words
        | {"phases": {name: round(x, 4) for name, x in phases.items()}}
    )


def is_number(x: object) -> bool:
    return isinstance(x, (int, float))


def summary(results: dict[str, list[dict]], work: Workload, runs: int) -> dict:
    """The record printed by --json: the two ratios (ours over TRL's), both sides' medians, threads and versions."""
    sides = {side: medians(numbers) for side, numbers in results.items()}
    ratios: dict[str, float | None] = {"ratio_tokens_per_second": None, "ratio_peak_memory": None}
    if set(sides) == set(SIDES):
        for ratio, name in zip(ratios, ("tokens_per_second", "peak_memory_mb"), strict=True):
            ratios[ratio] = round(sides["ours"][name] / sides["trl"][name], 3)
    packages = ("r1zero", "trl", "transformers", "torch")
    return {
        **ratios,
        **sides,
        "runs": runs,
        "threads": work.threads,
        "workload": dataclasses.asdict(work),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def report(record: dict) -> None:
    """The summary in words."""
    for side in (side for side in SIDES if side in record):
        numbers = record[side]
        phases = ", ".join(f"{name} {x:.2f} s" for name, x in numbers["phases"].items())
        speed = f"{numbers['tokens_per_second']:.0f} tok/s, {numbers['seconds_per_step']:.2f} s/step"
        print(f"{side}: median {speed}; {phases}")
    if record["ratio_tokens_per_second"] is not None:
        print(
            f"ours over TRL: {record['ratio_tokens_per_second']:.2f} × tokens per second, "
            f"{record['ratio_peak_memory']:.2f} × peak memory ({record['threads']} threads)"
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="r1zero against TRL's GRPOTrainer, side by side.")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=Workload.steps, help="measured steps a run (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=Workload.warmup, help="steps left out (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=Workload.threads, help="threads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=Workload.seed, help="seed of the first run (default: %(default)s)")
    parser.add_argument("--lengths", choices=LENGTHS, default=Workload.lengths, help="how long responses are")
    parser.add_argument("--device", choices=MICRO_TOKENS, default=Workload.device, help="default: %(default)s")
    parser.add_argument("--shape", default="", help="random weights in this shape, such as qwen2.5-0.5b")
    parser.add_argument("--prompts", type=int, default=Workload.prompts, help="a step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=Workload.samples, help="a prompt (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=Workload.max_new_tokens, help="a response (default: %(default)s)")
    parser.add_argument("--hard-work", action="store_true", help="leave no dead groups to skip")
    parser.add_argument("--only", choices=SIDES, help="measure one side alone; no ratio then")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    for internal in ("--side", "--model", "--work", "--result", "--teach"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.teach and options.shape:
        shaped(Path(options.teach), options.shape, options.device)
    elif options.teach:
        teach(Path(options.teach), Teaching(lengths=options.lengths), options.threads)
    elif options.side:
        settings = json.loads(options.work)
        work = Workload(**(settings | {"betas": tuple(settings["betas"])}))
        run_side(options.side, Path(options.model), work, Path(options.result))
    else:
        names = ("warmup", "steps", "threads", "seed", "hard_work", "lengths", "device", "shape", "prompts", "samples")
        work = Workload(**{name: getattr(options, name) for name in names}, max_new_tokens=options.tokens)
        results = measure((options.only,) if options.only else SIDES, options.runs, work)
        record = summary(results, work, options.runs)
        report(record)
        if options.json:
            print(json.dumps(record))


if __name__ == "__main__":
    main()
