"""Asking: question sets × sampler × verifier → graded responses, each kept the moment it is graded.

The template, the verifier and the sampler are the very objects that training uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.config import EvaluationSettings
from r1zero.errors import plural
from r1zero.evaluation.journal import Journal
from r1zero.evaluation.summary import SetResult, summarise
from r1zero.rollouts.collector import collect
from r1zero.rollouts.prompts import PreparedSet
from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import read_rollouts, rollout_table
from r1zero.sampling.protocol import Sampler, SamplingParams
from r1zero.templates import Template
from r1zero.types import Completion, Rollout
from r1zero.verify.protocol import VerifierProtocol
from r1zero.verify.working import check_graded

_NOISE_STEP = -1  # every evaluation of a run draws with the same noise, apart from that of any training step


@dataclass(frozen=True, slots=True)
class EvalProtocol:
    """Everything an evaluation's outcome depends on, besides the policy and the prepared sets."""

    params: SamplingParams
    samples: int
    seed: int


def evaluate_sets(
    sets: Sequence[PreparedSet],
    sampler: Sampler,
    verifier: VerifierProtocol,
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
    for prepared in sets:
        name = prepared.questions.name
        kept = folder and folder / f"{file_name(name)}.parquet"
        if kept and resumable and kept.exists():
            results.append(_summary(prepared, read_rollouts(kept), protocol))
            continue
        journal = Journal(kept.with_suffix(".jsonl")) if kept and resumable else None
        rollouts, seconds, _ = collect(
            prepared.prompts,
            sampler,
            verifier,
            prepared.template,
            protocol.params,
            samples=protocol.samples,
            seed=protocol.seed,
            step=_NOISE_STEP,
            progress=progress,
            known=journal.read(protocol.samples) if journal else {},
            keep=journal.add if journal else None,
        )
        if kept:
            write_parquet(kept, rollout_table(rollouts, {}, timed=False), resumes=not resumable)
        if journal:
            journal.path.unlink()
        results.append(_summary(prepared, rollouts, protocol, seconds))
    return results


def _summary(
    prepared: PreparedSet, rollouts: Sequence[Rollout], protocol: EvalProtocol, seconds: float = 0.0
) -> SetResult:
    """Return a set's numbers. Raises UserError where nothing could be graded: that is no accuracy of 0."""
    name = prepared.questions.name
    verdicts = [verdict for rollout in rollouts for verdict in rollout.verdicts]
    check_graded(verdicts, name, "mend the reward or the golds, and evaluate again with another --out")
    notes = (*prepared.notes(protocol.params.max_new_tokens), *_textless(prepared, rollouts))
    return summarise(name, rollouts, seconds, notes)


def _textless(prepared: PreparedSet, rollouts: Sequence[Rollout]) -> Iterator[str]:
    """Tell how many responses hold ids that have no text, if any: what was graded is not all that they say."""
    responses = [completion for rollout in rollouts for completion in rollout.completions]
    if count := sum(response.holds(prepared.textless) for response in responses):
        yield (
            f"{prepared.questions.name}: {count:,} of {plural(len(responses), 'response')} hold token ids that have "
            "no text, for the model has more embeddings than its tokenizer has tokens"
        )


def file_name(name: str) -> str:
    """Return a question set's name as a file's."""
    return name.replace("/", "_").replace(":", "_")


def make_protocol(
    settings: EvaluationSettings, template: Template, max_new_tokens: int, seed: int, positions: int | None
) -> EvalProtocol:
    """Tell how to evaluate a model of so many positions."""
    params = SamplingParams(
        max_new_tokens, settings.temperature, settings.top_p, settings.top_k, template.stop, positions
    )
    return EvalProtocol(params, settings.samples, seed)
