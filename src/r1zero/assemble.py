"""From a recipe to the parts of a run: the one place where settings become objects."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from r1zero import checkpoints, config, evaluate
from r1zero.config import Evaluation, Recipe
from r1zero.errors import UserError
from r1zero.gather import Gatherer, Penalty, ReferencePenalty, no_penalty
from r1zero.inputs import load_sets, longest_that_fits, notes
from r1zero.learner import Learner
from r1zero.objectives.objective import WEIGHTS
from r1zero.objectives.table import TABLE, Objective, make_objective
from r1zero.policy.load import Policy, load_policy
from r1zero.policy.lora import adapt
from r1zero.questions import QuestionSet
from r1zero.rewards import Truncation
from r1zero.rollout import PromptStream
from r1zero.runs import Run, provenance
from r1zero.sampling import Sampler, SamplingParams
from r1zero.sampling.torch_sampler import TorchSampler
from r1zero.sinks import Sink, check_sinks, opened
from r1zero.templates import Template, get_template
from r1zero.verify import Verifier


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the loop works with. `step` is how many steps are already done (0, or the checkpoint's)."""

    run: Run
    policy: Policy
    template: Template
    objective: Objective
    stream: PromptStream
    sampler: Sampler
    verifier: Verifier
    learner: Learner
    gather: Gatherer
    benchmarks: tuple[QuestionSet, ...]
    protocol: evaluate.Protocol
    sinks: tuple[Sink, ...]
    notes: tuple[str, ...]
    step: int


@contextmanager
def assemble(recipe: Recipe, out: Path, *, resume: bool) -> Iterator[Parts]:
    """Build all parts for a new run in `out`, or for the run there when `resume`.

    Everything that can be wrong with the recipe is found before the run directory is touched.

    Raises:
        UserError: anything that the user has to mend.
    """
    existing = Run.find(out, resume=resume)
    check_sinks(recipe.log.sinks)
    checkpoint, skipped = checkpoints.newest(out / "checkpoints") if existing else (None, [])
    done = checkpoint.step if checkpoint else 0
    threads = set_threads(recipe.train.threads or (existing.facts.get("threads") if existing else None))
    objective = recipe_objective(recipe)
    questions, benchmarks = load_sets(recipe)
    policy = recipe_policy(recipe.model, recipe.learner.autocast, checkpoint)
    adapt(policy, recipe.lora, recipe.train.seed)
    template = make_template(recipe.template, policy)
    longest = longest_that_fits(recipe, policy, template, questions, benchmarks)
    sampler = make_sampler(policy, recipe.sampling.batch_rows)
    stream = PromptStream(questions, template, policy.encode, max_tokens=longest, seed=recipe.train.seed)
    stream.check(recipe.rollout.prompts)
    facts = describe(objective, questions, benchmarks, template, policy, threads)
    reference = load_reference(recipe, objective)
    learner = make_learner(recipe, policy, objective, reference)
    if checkpoint:
        state = checkpoint.state()
        learner.restore(state["learner"])
        stream.restore(state["stream"])
    if existing:
        existing.check_same(recipe, facts, done)
        skipped += existing.moved(provenance() | facts)
    run = existing or Run.create(out, recipe, facts)
    with run.locked(), opened(recipe.log, run, recipe) as sinks, open_verifier(recipe.verifier) as verifier:
        if existing:
            run.rewind(done if checkpoint else -1)
            run.renew(recipe)
            run.note(done, skipped)
            checkpoints.unseal(out / "checkpoints", done)
        yield Parts(
            run=run,
            policy=policy,
            template=template,
            objective=objective,
            stream=stream,
            sampler=sampler,
            verifier=verifier,
            learner=learner,
            gather=make_gatherer(recipe, stream, sampler, verifier, template, objective, reference),
            benchmarks=benchmarks,
            protocol=make_protocol(recipe.evaluation, template, recipe.eval_max_new_tokens, recipe.train.seed),
            sinks=sinks,
            notes=(*skipped, *(note for chosen in (questions, *benchmarks) for note in notes(chosen))),
            step=done,
        )


@contextmanager
def open_verifier(settings: config.Verifier) -> Iterator[Verifier]:
    """The grading processes; a user's own reward function is tried at once."""
    with Verifier(settings.workers, settings.timeout_s, settings.memory_mb, settings.reward) as verifier:
        if settings.reward is not None:
            verifier.check()
        yield verifier


def recipe_policy(settings: config.Model, autocast: str, checkpoint: checkpoints.Checkpoint | None) -> Policy:
    """The model of a recipe, or of the checkpoint that its run goes on from."""
    return load_policy(
        str(checkpoint.path) if checkpoint else settings.path,
        revision=None if checkpoint else settings.revision,
        device=settings.device,
        attention=settings.attention,
        autocast=autocast,
    )


def make_template(settings: config.Template, policy: Policy) -> Template:
    """The template a recipe names, with the policy's tokenizer where it needs one."""
    return get_template(
        settings.name, policy.tokenizer, answer_format=settings.answer_format, instruction=settings.instruction
    )


def recipe_objective(recipe: Recipe) -> Objective:
    """The objective of a recipe.

    Raises:
        UserError: the settings do not go with this objective.
    """
    row = TABLE.get(recipe.objective.name)
    if recipe.objective.constant is not None and row is not None and "{constant" not in WEIGHTS[row.weights].formula:
        raise UserError(
            f"objective.constant = {recipe.objective.constant:g} has no place in {row.name}, whose weights are "
            f"{row.weights}; leave it out."
        )
    given = recipe.objective.model_dump(exclude={"name", "constant", "reference", "truncation", "truncation_penalty"})
    objective = make_objective(recipe.objective.name, constant=recipe.constant, **given)
    _check_groups(recipe, objective)
    return objective


def _check_groups(recipe: Recipe, objective: Objective) -> None:
    """Whether the rollout batch gives the objective its baseline. Raises UserError."""
    alone = objective.critic or objective.advantage == "raw"  # no baseline from the group
    if recipe.rollout.samples < 2 and not alone:
        raise UserError(
            "rollout.samples = 1 leaves every group without a baseline, so every advantage is 0; set rollout.samples "
            "to 2 or more."
        )
    if recipe.rollout.dynamic and alone:
        raise UserError(
            f"rollout.dynamic leaves out groups whose rewards are all equal, and {objective.name} learns from these, "
            "too; leave rollout.dynamic out."
        )
    if recipe.critic != config.Critic() and not objective.critic:
        raise UserError(
            f"the section [critic] belongs to an objective with a critic, which {objective.name} has not; leave it "
            'out, or set objective.name to "ppo".'
        )


def load_reference(recipe: Recipe, objective: Objective) -> Policy | None:
    """The reference model of a KL term; none is loaded without one."""
    if objective.kl == "none":
        return None
    try:
        reference = load_policy(
            recipe.objective.reference or recipe.model.path,
            revision=None if recipe.objective.reference else recipe.model.revision,
            device=recipe.model.device,
            attention=recipe.model.attention,
            autocast=recipe.learner.autocast,
        )
    except UserError as error:
        named = str(error).replace("model.path", "objective.reference") if recipe.objective.reference else str(error)
        raise UserError(named) from None
    reference.model.requires_grad_(requires_grad=False)
    return reference


def make_penalty(recipe: Recipe, objective: Objective, reference: Policy | None) -> Penalty:
    """What is taken from whole responses' rewards: a critic charges its KL term token by token instead."""
    if reference is None or objective.kl != "k1_reward" or objective.critic:
        return no_penalty
    settings = recipe.learner
    return ReferencePenalty(
        reference, objective.kl_coefficient, recipe.sampling.temperature, settings.layout, settings.micro_tokens
    )


def make_gatherer(
    recipe: Recipe,
    stream: PromptStream,
    sampler: Sampler,
    verifier: Verifier,
    template: Template,
    objective: Objective,
    reference: Policy | None,
) -> Gatherer:
    """What makes a recipe's rollout batches."""
    return Gatherer(
        stream,
        sampler,
        verifier,
        template,
        SamplingParams(recipe.sampling.max_new_tokens, recipe.sampling.temperature, stop=template.stop),
        objective,
        Truncation(recipe.objective.truncation, recipe.objective.truncation_penalty or 0.0),
        make_penalty(recipe, objective, reference),
        recipe.rollout.prompts,
        recipe.rollout.samples,
        recipe.train.seed,
        recipe.rollout.rounds if recipe.rollout.dynamic else 1,
    )


def make_learner(recipe: Recipe, policy: Policy, objective: Objective, reference: Policy | None = None) -> Learner:
    """The learner of a recipe."""
    return Learner(
        policy,
        objective,
        recipe.learner,
        temperature=recipe.sampling.temperature,
        seed=recipe.train.seed,
        total_updates=recipe.train.steps * recipe.learner.updates,
        max_logprob_gap=recipe.train.max_logprob_gap,
        reference=reference,
        critic=recipe.critic,
    )


def make_protocol(settings: Evaluation, template: Template, max_new_tokens: int, seed: int) -> evaluate.Protocol:
    """How to evaluate."""
    params = SamplingParams(max_new_tokens, settings.temperature, settings.top_p, settings.top_k, template.stop)
    return evaluate.Protocol(template, params, settings.samples, seed)


def make_sampler(policy: Policy, rows: int) -> Sampler:
    """The embedded sampler on a policy."""
    return TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, rows=rows, autocast=policy.autocast)


def set_threads(threads: int | None) -> int:
    """Set torch's CPU threads to `threads`, or to what other processes leave free; returns the number.

    Two threads that share a core with someone else wait for each other at every operation.
    """
    if threads is None:
        threads = max(1, round((os.cpu_count() or 1) - os.getloadavg()[0]))
    torch.set_num_threads(threads)
    return threads


def describe(
    objective: Objective,
    questions: QuestionSet,
    benchmarks: Sequence[QuestionSet],
    template: Template,
    policy: Policy,
    threads: int,
) -> dict[str, Any]:
    """What run.json says beyond versions and commit."""
    return {
        "objective": objective.name,
        "objective_formula": objective.formula,
        "objective_hash": objective.hash,
        "questions": questions.name,
        "questions_count": len(questions),
        "questions_dropped": dict(questions.dropped),
        "questions_fingerprint": questions.fingerprint,
        "benchmarks_fingerprint": " ".join(each.fingerprint for each in benchmarks),
        "template": template.name,
        "template_hash": template.hash,
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "device": str(policy.device),
        "threads": threads,
    }
