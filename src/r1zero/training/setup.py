"""From a recipe to the parts of a run: the one place where they are put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.evaluation.run import EvalProtocol, make_protocol
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.objectives.table import Objective
from r1zero.policy.device import processor, set_threads
from r1zero.policy.load import Policy, load_blank, recipe_policy
from r1zero.policy.lora import add_lora
from r1zero.policy.precision import settled
from r1zero.policy.vocabulary import check_ids, textless_ids
from r1zero.questions import QuestionSet
from r1zero.rewards.grader import AnswersOnly
from r1zero.rewards.open import RewardSource, may_fail, own_golds, reward_facts
from r1zero.rollouts.async_collector import AsyncCollector
from r1zero.rollouts.collector import ColocatedCollector, Penalty, RolloutCollector, reference_penalty
from r1zero.rollouts.mixture import Stream, make_stream
from r1zero.rollouts.prompts import PreparedSet, make_prompt
from r1zero.rollouts.question_sets import context_length, fit_notes
from r1zero.rollouts.rewards import Truncation
from r1zero.runs.begin import Beginning
from r1zero.runs.run import Run
from r1zero.sampling.embedded.draw import drawing
from r1zero.sampling.protocol import Request, Sampler
from r1zero.templates import Template
from r1zero.templates.table import make_template
from r1zero.trackers import Sink, check_sinks, opened
from r1zero.training.given import NOTHING, Given
from r1zero.training.places import benchmark_mark, load_own_sets, located, model_facts, place_facts
from r1zero.training.workers import LearnerProtocol, Workers, WorkerSpec, check_apart, open_workers
from r1zero.verify.fingerprint import reward_fingerprint, verifier_fingerprint
from r1zero.verify.protocol import VerifierProtocol
from r1zero.verify.working import try_reward

_PROBES = 4  # prompts that an engine is held against the learner on; every replica gets one


Collector = RolloutCollector | ColocatedCollector | AsyncCollector
"""What makes rollout batches, and can be gone on with."""


@dataclass(frozen=True, slots=True)
class RunSetup:
    """Everything the loop works with. `step` is how many steps are already done (0, or the checkpoint's)."""

    run: Run
    template: Template
    objective: Objective
    sampler: Sampler
    verifier: VerifierProtocol
    learner: LearnerProtocol
    collector: Collector
    benchmarks: tuple[PreparedSet, ...]
    protocol: EvalProtocol
    sinks: tuple[Sink, ...]
    notes: tuple[str, ...]
    step: int


@contextmanager
def set_up(
    recipe: Recipe, out: Path, given: Given = NOTHING, *, resume: bool, from_step: int | None = None
) -> Iterator[RunSetup]:
    """Build all parts for a new run in `out`, or for the run there when `resume`, from its newest checkpoint or from
    that of `from_step`. `given` are objects of which it holds only a name.

    Everything that can be wrong with the recipe is found before the run directory is touched.

    Raises:
        UserError: anything that the user has to mend.
    """
    beginning = Beginning.find(out, resume=resume, from_step=from_step)
    check_sinks(recipe.log.sinks)
    checkpoint = beginning.checkpoint
    recipe = located(recipe, beginning)
    threads = set_threads(beginning.threads(recipe.train.threads) or (1 if recipe.cluster else None))
    objective = recipe_objective(recipe, given.objective)

    _check_given(beginning, given)
    parts = _rewards(recipe, given.rewards)
    questions, benchmarks = load_own_sets(recipe, beginning.existing, own_golds(parts))
    check_apart(recipe)
    policy, precision = _policy(recipe, beginning)
    template = make_template(recipe.template, policy.tokenizer)
    asked = _asked(recipe, policy, template, questions, benchmarks)

    facts = describe(recipe, objective, questions, benchmarks, template, policy, threads) | precision
    facts |= model_facts(recipe, beginning) | place_facts(recipe) | given.facts | reward_facts(parts)
    going_on = _check_same(beginning, recipe, facts, parts)
    context = context_length(recipe, policy.positions, asked.stream.max_tokens, asked.benchmarks)
    exact = _in_precision(recipe, precision["autocast"])
    spec = WorkerSpec(exact, policy, objective, checkpoint, context, asked.probe, parts, out)
    with open_workers(spec) as workers, _open_collector(spec, asked.stream, template, workers) as (collector, sampler):
        _try_rewards(spec, questions, template, workers.verifier)
        if checkpoint:
            collector.restore(checkpoint.state()["stream"])
        run = beginning.run(recipe, facts)
        with opened(recipe.log, run, recipe) as sinks:
            going_on = beginning.go_on(recipe, facts, going_on)
            yield RunSetup(
                run=run,
                template=template,
                objective=objective,
                sampler=sampler,
                verifier=AnswersOnly(workers.verifier),
                learner=workers.learner,
                collector=collector,
                benchmarks=asked.benchmarks,
                protocol=make_protocol(
                    recipe.evaluation, template, recipe.eval_max_new_tokens, recipe.train.seed, policy.positions
                ),
                sinks=sinks,
                notes=(*going_on, *_precision_notes(precision), *given.notes, *asked.notes),
                step=beginning.done,
            )


@dataclass(frozen=True, slots=True)
class _Asked:
    """The questions as they are put to the model: what deals those of training, prompts to hold an engine against the
    learner on, the benchmarks, and what a reader must know of them all.
    """

    stream: Stream
    probe: tuple[Request, ...]
    benchmarks: tuple[PreparedSet, ...]
    notes: tuple[str, ...]


def _asked(
    recipe: Recipe, policy: Policy, template: Template, questions: QuestionSet, benchmarks: Sequence[QuestionSet]
) -> _Asked:
    """Put the questions under the template. Raises UserError where they cannot be asked."""
    textless = textless_ids(policy.tokenizer, policy.model)
    prepared = tuple(PreparedSet(each, template, policy.encode, textless, policy.positions) for each in benchmarks)
    told = [*questions.notes, *fit_notes(recipe, policy.positions, questions, template, policy.encode)]
    told += (note for each in prepared for note in each.notes(recipe.eval_max_new_tokens))
    stream = make_stream(recipe, questions, template, policy.encode, policy.positions)
    probe = _probe(stream, recipe)
    check_ids((request.prompt_ids for request in probe), policy.model, policy.tokenizer)
    return _Asked(stream, probe, prepared, tuple(told))


def _try_rewards(spec: WorkerSpec, questions: QuestionSet, template: Template, verifier: VerifierProtocol) -> None:
    """Grade a question of every source by rewards that are not the verifier alone. Raises UserError where one fails."""
    reward, parts = spec.recipe.verifier.reward, spec.rewards
    if not parts and reward is None:
        return
    for source in questions.parts or (questions,):
        tried = make_prompt(source[0], template, spec.policy.encode, "")
        try_reward(verifier, reward, tried.text, tried.question, may_fail(parts))


def _source_facts(questions: QuestionSet) -> dict[str, Any]:
    """Tell every part of a mixture; nothing of a single set."""
    told = [
        {"name": part.name, "count": len(part), "dropped": dict(part.dropped), "fingerprint": part.fingerprint}
        for part in questions.parts
    ]
    return {"sources": told} if told else {}


def _check_given(beginning: Beginning, given: Given) -> None:
    """Make sure that functions which a run was given are given again. Raises UserError where they are not."""
    was = beginning.existing.facts.get("objects") if beginning.existing else None
    if isinstance(was, dict) and "reward" in was and not given.rewards:
        raise UserError(
            f"The rewards of {beginning.path} are functions of a program's own ({was['reward']}): give them again, "
            "from Python, with r1zero.train(…, resume=True, reward=…)."
        )


def _rewards(recipe: Recipe, given: Sequence[RewardSource]) -> tuple[RewardSource, ...]:
    """Return the parts of the reward, where it is a list. Raises UserError where both are given."""
    if given and (recipe.reward or recipe.verifier.reward):
        named = "[[reward]]" if recipe.reward else "verifier.reward"
        raise UserError(f"Rewards are given as Python objects and by {named} of the recipe; leave one of them out.")
    return tuple(given or recipe.reward)


def _check_same(
    beginning: Beginning, recipe: Recipe, facts: dict[str, Any], rewards: Sequence[RewardSource] = ()
) -> list[str]:
    """Make sure that a run goes on as the run that it is; return notes on how. Raises UserError."""
    if beginning.existing is None:
        return []
    was = beginning.existing.recipe
    proof = facts | {"reward_fingerprint": reward_fingerprint(recipe.verifier.reward, called=was.verifier.reward)}
    proof |= reward_facts(rewards, before=was.reward)
    beginning.existing.check_same(recipe, proof, beginning.done)
    return beginning.notes(recipe, proof)


def _policy(recipe: Recipe, beginning: Beginning) -> tuple[Policy, dict[str, str]]:
    """Return the policy, or on a cluster what is known of it without its weights, which live there; and what the run
    records of the precision that it computes in, which is decided as it begins.
    """
    asked = beginning.autocast(recipe.learner.autocast)
    if recipe.cluster is not None:
        policy, precision = load_blank(recipe.model.path, revision=recipe.model.revision), {"autocast": asked}
    else:
        policy, precision = settled(recipe_policy(recipe.model, asked, beginning.checkpoint), asked)
    add_lora(policy, recipe.lora, recipe.train.seed)
    return policy, precision


def _precision_notes(precision: dict[str, str]) -> list[str]:
    reason = precision.get("autocast_reason")
    return [f'learner.autocast = "auto" is "{precision["autocast"]}" in this run: {reason}'] if reason else []


def _in_precision(recipe: Recipe, autocast: str) -> Recipe:
    """Return the recipe as its workers get it, to whom nothing is left to decide."""
    return recipe.model_copy(update={"learner": recipe.learner.model_copy(update={"autocast": autocast})})


def _probe(stream: Stream, recipe: Recipe) -> tuple[Request, ...]:
    """Prompts to hold an engine against the learner on, from the first batch. Raises UserError where that has none."""
    prompts = stream.peek(recipe.rollout.prompts)
    count = max(_PROBES, recipe.cluster.samplers if recipe.cluster else 1)
    if len(prompts) < count:
        prompts = stream.peek(min(count, len(stream.questions)))
    return tuple(Request(prompt.key, prompt.ids) for prompt in prompts[:count])


@contextmanager
def _open_collector(
    spec: WorkerSpec, stream: Stream, template: Template, workers: Workers
) -> Iterator[tuple[Collector, Sampler]]:
    """What makes the run's rollout batches, and the sampler of its evaluations."""
    collector = _collector(spec, stream, template, workers)
    if workers.engine is None:
        yield collector, workers.sampler
    elif spec.recipe.rollout.max_staleness:
        with closing(AsyncCollector(collector, workers.engine, spec.recipe.train.steps)) as ahead:
            yield ahead, ahead
    else:
        yield ColocatedCollector(collector, workers.engine), workers.sampler


def _collector(spec: WorkerSpec, stream: Stream, template: Template, workers: Workers) -> RolloutCollector:
    """One that is ahead brings the engine up to date by itself."""
    recipe, engine = spec.recipe, workers.engine
    return RolloutCollector(
        stream,
        engine.engine if engine is not None and recipe.rollout.max_staleness else workers.sampler,
        workers.verifier,
        template,
        replace(spec.params, stop=template.stop),
        spec.objective,
        Truncation(recipe.objective.truncation, recipe.objective.truncation_penalty or 0.0),
        _penalty(workers.learner, spec.objective),
        recipe.rollout.prompts,
        recipe.rollout.samples,
        recipe.train.seed,
        recipe.rollout.rounds if recipe.rollout.dynamic else 1,
        textless_ids(spec.policy.tokenizer, spec.policy.model),
    )


def _penalty(learner: LearnerProtocol, objective: Objective) -> Penalty | None:
    """Return what is taken from whole responses' rewards: a critic charges its KL term token by token instead."""
    if objective.kl != "k1_reward" or objective.critic:
        return None
    logprobs = partial(learner.logprobs, reference=True)
    return partial(reference_penalty, logprobs=logprobs, coefficient=objective.kl_coefficient)


def describe(
    recipe: Recipe,
    objective: Objective,
    questions: QuestionSet,
    benchmarks: Sequence[QuestionSet],
    template: Template,
    policy: Policy,
    threads: int,
) -> dict[str, Any]:
    """Return what run.json says beyond versions and commit."""
    cluster = recipe.cluster
    actors = cluster and f"{cluster.learners} learners and {cluster.samplers} samplers on {cluster.address}"
    vocabulary: int = policy.model.config.get_text_config().vocab_size
    return {
        "objective": objective.name,
        "objective_formula": objective.formula,
        "objective_hash": objective.hash,
        "questions": questions.name,
        "questions_count": len(questions),
        "questions_dropped": dict(questions.dropped),
        "questions_fingerprint": questions.fingerprint,
        **_source_facts(questions),
        "benchmarks": [each.name for each in benchmarks],
        "benchmarks_fingerprint": benchmark_mark(benchmarks),
        "template": template.name,
        "template_hash": template.hash,
        "reward_fingerprint": reward_fingerprint(recipe.verifier.reward),
        "verifier_fingerprint": verifier_fingerprint(),
        "drawing": drawing(vocabulary) if recipe.sampling.engine == "torch" else None,
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "device": actors or str(policy.device),
        **processor(threads),
    }
