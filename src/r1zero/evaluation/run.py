"""Asking: question sets × sampler × verifier → graded responses, each kept the moment it is graded.

The template, the verifier and the sampler are the very objects that training uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.config import EvaluationSettings
from r1zero.evaluation.journal import Graded, Journal
from r1zero.evaluation.summary import SetResult, summarise
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import Encode, Prompt, make_prompt
from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import read_rollouts, rollout_table
from r1zero.sampling.protocol import Request, Sampler, SamplingParams
from r1zero.templates import Template
from r1zero.types import Completion, Rollout
from r1zero.verify.protocol import VerifierProtocol

_NOISE_STEP = -1  # every evaluation of a run draws with the same noise, apart from that of any training step


@dataclass(frozen=True, slots=True)
class EvalProtocol:
    """Everything an evaluation's outcome depends on, besides the policy."""

    template: Template
    params: SamplingParams
    samples: int
    seed: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Who answers and who grades."""

    sampler: Sampler
    verifier: VerifierProtocol
    encode: Encode


def evaluate_sets(
    sets: Sequence[QuestionSet],
    sampler: Sampler,
    verifier: VerifierProtocol,
    encode: Encode,
    protocol: EvalProtocol,
    *,
    folder: Path | None = None,
    resumable: bool = False,
    progress: Callable[[Completion], None] | None = None,
) -> list[SetResult]:
    """Evaluate on every set; with `folder`, keep every response there as SET.parquet.

    A `resumable` evaluation keeps responses in SET.jsonl while it runs, and takes from there and from finished sets
    what an interrupted one has already asked.
    """
    results = []
    judge = Judge(sampler, verifier, encode)
    for questions in sets:
        kept = folder and folder / f"{file_name(questions.name)}.parquet"
        if kept and resumable and kept.exists():
            results.append(summarise(questions.name, read_rollouts(kept)))
            continue
        journal = Journal(kept.with_suffix(".jsonl")) if kept and resumable else None
        prompts = [make_prompt(question, protocol.template, encode, question.id) for question in questions]
        rollouts, seconds = _ask(prompts, judge, protocol, journal, progress)
        if kept:
            write_parquet(kept, rollout_table(rollouts, {}, timed=False), resumes=not resumable)
        if journal:
            journal.path.unlink()
        results.append(summarise(questions.name, rollouts, seconds))
    return results


def file_name(name: str) -> str:
    """A question set's name as a file's."""
    return name.replace("/", "_").replace(":", "_")


def _ask(
    prompts: Sequence[Prompt],
    judge: Judge,
    protocol: EvalProtocol,
    journal: Journal | None,
    progress: Callable[[Completion], None] | None,
) -> tuple[list[Rollout], float]:
    """Graded groups in the order of `prompts`, and the seconds of sampling."""
    known = journal.read(protocol.samples) if journal else {}
    open_prompts = [p for p in range(len(prompts)) if p not in known]
    begin = time.perf_counter()
    completions: dict[tuple[int, int], Completion] = {}

    def keep(found: Sequence[tuple[tuple[int, int], Graded]]) -> None:
        for key, (completion, verdict) in found:
            question, sample = key
            known.setdefault(question, {})[sample] = (completion, verdict)
            if journal:
                journal.add(question, sample, completion, verdict)

    requests = [Request(prompts[p].key, prompts[p].ids) for p in open_prompts]
    for done in judge.sampler.sample(requests, protocol.samples, protocol.params, seed=protocol.seed, step=_NOISE_STEP):
        key = (open_prompts[done.request], done.sample)
        completions[key] = done.completion
        question = prompts[key[0]].question
        judge.verifier.submit(key, done.completion.text, question.gold, protocol.template.answer_format)
        keep([(k, (completions[k], verdict)) for k, verdict in judge.verifier.ready()])  # type: ignore[index]
        if progress is not None:
            progress(done.completion)
    seconds = time.perf_counter() - begin
    for k, verdict in judge.verifier.drain():
        keep([(k, (completions[k], verdict))])  # type: ignore[index]
    rollouts = []
    for p, prompt in enumerate(prompts):
        group = [known[p][g] for g in range(protocol.samples)]
        responses, verdicts = zip(*group, strict=True)
        rollouts.append(Rollout(prompt.question, prompt.text, prompt.ids, responses, verdicts))
    return rollouts, seconds


def make_protocol(settings: EvaluationSettings, template: Template, max_new_tokens: int, seed: int) -> EvalProtocol:
    """How to evaluate."""
    params = SamplingParams(max_new_tokens, settings.temperature, settings.top_p, settings.top_k, template.stop)
    return EvalProtocol(template, params, settings.samples, seed)
