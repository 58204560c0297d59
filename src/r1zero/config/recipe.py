"""A whole run: all sections, what follows from them, and what contradicts itself, which is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from r1zero.config import sections
from r1zero.config.question_sections import QuestionsSettings
from r1zero.config.rewards import OverlongOptions, RewardSettings, check_rewards, judge_of_answers
from r1zero.config.sections import ClusterSettings, Keeps, Section


class ContradictionsError(ValueError):
    """Settings that do not go together, each contradiction a sentence; it reads as the first of them."""

    def __init__(self, every: Sequence[str]):
        super().__init__(every[0])
        self.every = tuple(every)


class Recipe(Section):
    """A whole run. `load_recipe` reads it from TOML."""

    model: sections.ModelSettings
    questions: QuestionsSettings
    train: sections.TrainSettings
    template: sections.TemplateSettings = sections.TemplateSettings()
    sampling: sections.SamplingSettings = sections.SamplingSettings()
    rollout: sections.RolloutSettings = sections.RolloutSettings()
    objective: sections.ObjectiveSettings = sections.ObjectiveSettings()
    learner: sections.LearnerSettings = sections.LearnerSettings()
    critic: sections.CriticSettings = sections.CriticSettings()
    lora: sections.LoraSettings | None = None
    cluster: Annotated[ClusterSettings | None, Keeps.BOTH] = None
    verifier: sections.VerifierSettings = sections.VerifierSettings()
    reward: Annotated[tuple[RewardSettings, ...], Keeps.PLACE] = Field(default=(), exclude_if=lambda found: not found)
    """The parts of the reward; none: the verifier's verdict, or `verifier.reward`."""
    evaluation: sections.EvaluationSettings = sections.EvaluationSettings()
    checkpoint: Annotated[sections.CheckpointSettings, Keeps.BOTH] = sections.CheckpointSettings()
    log: Annotated[sections.LogSettings, Keeps.BOTH] = sections.LogSettings()

    @property
    def responses(self) -> int:
        """B = P·G: responses in a rollout batch."""
        return self.rollout.prompts * self.rollout.samples

    @property
    def responses_per_update(self) -> int:
        """N: responses in one optimiser step."""
        return self.responses // self.learner.updates

    @property
    def constant(self) -> float:
        """C, the constant normaliser of Dr. GRPO: by default the token budget (paper, Listing 1)."""
        return self.objective.constant or float(self.sampling.max_new_tokens)

    @property
    def own_golds(self) -> tuple[str | None, str | None]:
        """What grades in the verifier's place, of training questions and of benchmarks, whose golds are then taken as
        they stand. Where nothing of a list judges the answer, training questions need none, and benchmarks do.
        """
        if not self.reward:
            return self.verifier.reward, self.verifier.reward
        judge = judge_of_answers(self.reward)
        if judge is None:
            return self.reward[0].use, None
        return (None, None) if judge.use == "verify" else (judge.use, judge.use)

    @property
    def eval_max_new_tokens(self) -> int:
        """The token budget of evaluation."""
        return self.evaluation.max_new_tokens or self.sampling.max_new_tokens

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        """Raise a ValueError for settings that do not go together: their names, and what to do."""
        found = []
        for rule in (_batch, _objective, _engine, _one_step_ahead, _rewards, _overlong, _cluster, _layout):
            try:
                rule(self)
            except ValueError as error:
                found.append(str(error))
        if found:
            raise ContradictionsError(found)
        return self


def _batch(recipe: Recipe) -> None:
    rollout, updates = recipe.rollout, recipe.learner.updates
    if recipe.responses % updates:
        raise ValueError(
            f"learner.updates = {updates} does not divide the {recipe.responses} responses of a rollout batch "
            f"(rollout.prompts {rollout.prompts} x rollout.samples {rollout.samples}); set learner.updates to a "
            "divisor of it"
        )
    if rollout.rounds != type(rollout)().rounds and not rollout.dynamic:
        raise ValueError("rollout.rounds belongs to dynamic sampling; set rollout.dynamic = true, or leave it out")


def _objective(recipe: Recipe) -> None:
    objective = recipe.objective
    if (objective.truncation == "penalise") != (objective.truncation_penalty is not None):
        raise ValueError(
            'objective.truncation = "penalise" and objective.truncation_penalty belong together; set both or none'
        )
    if objective.reference and objective.kl == "none":
        raise ValueError(
            "objective.reference is a model to stay close to, and nothing uses it; set objective.kl and "
            "objective.kl_coefficient, or leave it out"
        )


def _rewards(recipe: Recipe) -> None:
    check_rewards(recipe.reward, recipe.verifier.reward)


def _overlong(recipe: Recipe) -> None:
    for each in recipe.reward:
        if each.use == "overlong":
            options, budget = OverlongOptions.model_validate(each.options), recipe.sampling.max_new_tokens
            if options.max is None and options.buffer > budget:
                raise ValueError(
                    f'the reward "{each.called}" has buffer = {options.buffer}, which is more than '
                    f"sampling.max_new_tokens = {budget}: set buffer to at most that"
                )


def _engine(recipe: Recipe) -> None:
    ours, device = recipe.sampling, recipe.model.device
    plain, embedded = type(ours)(), ours.engine == "torch"
    unused = [name for name in ("memory", "tensor_parallel") if getattr(ours, name) != getattr(plain, name)]
    if unused and embedded:
        raise ValueError(
            f"sampling.{unused[0]} is vLLM's, and the embedded sampler has no use for it; leave it out, or set "
            'sampling.engine = "vllm"'
        )
    own_weights = not embedded or recipe.cluster is not None
    if ours.check_every != plain.check_every and not own_weights:
        raise ValueError(
            "sampling.check_every is for engines with weights of their own, and the embedded sampler has the "
            'learner\'s; leave it out, or set sampling.engine = "vllm"'
        )
    if re.fullmatch(r"cuda:\d+", device) and own_weights:
        raise ValueError(
            f'model.device = "{device}" is for one process, and engines and actors take the GPUs that they see; set '
            f'CUDA_VISIBLE_DEVICES={device[5:]} and write "cuda"'
        )


def _one_step_ahead(recipe: Recipe) -> None:
    if not recipe.rollout.max_staleness:
        return
    if recipe.cluster is None and recipe.sampling.engine == "torch":
        raise ValueError(
            "rollout.max_staleness = 1 draws with weights that are one step old, and the embedded sampler has none "
            'but the learner\'s; set sampling.engine = "vllm", or add the section [cluster]'
        )
    if recipe.objective.importance_cap is None:
        raise ValueError(
            "rollout.max_staleness = 1 trains on responses of an older policy, which importance weights make up "
            "for; set objective.importance_cap (2.0, say)"
        )


def _cluster(recipe: Recipe) -> None:
    cluster = recipe.cluster
    if cluster is None:
        return
    if recipe.learner.layout == "shared":
        raise ValueError(
            'learner.layout = "shared" does not go with the section [cluster], whose ranks make their passes side '
            'by side; write "padded" or "packed"'
        )
    if cluster.share_gpus and (cluster.learners != cluster.samplers or recipe.sampling.tensor_parallel > 1):
        raise ValueError(
            f"cluster.share_gpus puts one sampler on each learner's GPU, which cluster.learners = "
            f"{cluster.learners}, cluster.samplers = {cluster.samplers} and sampling.tensor_parallel = "
            f"{recipe.sampling.tensor_parallel} do not allow; set the first two to the same and the last to 1"
        )
    if cluster.share_gpus and recipe.rollout.max_staleness:
        raise ValueError(
            "rollout.max_staleness = 1 lets samplers and learners work at the same time, and under "
            "cluster.share_gpus they take turns; leave one of them out"
        )


def _layout(recipe: Recipe) -> None:
    if recipe.learner.layout == "packed" and recipe.model.attention == "eager":
        raise ValueError('learner.layout = "packed" needs model.attention = "sdpa" or "flash_attention_2", not "eager"')
