"""Rewards as a list: a section `[[reward]]` for each part of r = Σ weight · r_k, with the options of those built in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from r1zero.config.sections import Keeps, Section
from r1zero.errors import did_you_mean


class FormatOptions(Section):
    """Of `format`."""

    think: bool = False
    """Ask for `<think>…</think>` before the answer, too."""


class OverlongOptions(Section):
    """Of `overlong`: DAPO's soft overlong punishment."""

    buffer: int = Field(ge=1)
    """L_cache: over so many tokens before `max` the punishment grows from 0 to −1."""
    max: int | None = Field(default=None, ge=1)
    """L_max; None takes `sampling.max_new_tokens`."""

    @model_validator(mode="after")
    def _fits(self) -> OverlongOptions:
        if self.max is not None and self.buffer > self.max:
            raise ValueError(f"buffer = {self.buffer} is more than max = {self.max}: set buffer to at most max")
        return self


class RepetitionOptions(Section):
    """Of `repetition`."""

    n: int = Field(default=3, ge=1)
    """Tokens of an n-gram."""
    max_penalty: float = Field(default=1.0, ge=0)
    """What a response of one n-gram over and over would pay."""


class JudgeOptions(Section):
    """Of `judge`: a language model behind an OpenAI-compatible endpoint. Its key is taken from $R1ZERO_JUDGE_KEY."""

    server: str
    """Its address, such as http://localhost:8000/v1."""
    model: str
    prompt: str = (
        "Here is a question and a response to it.\n\nQuestion:\n{question}\n\nAn answer that counts as right:\n{gold}\n"
        "\nResponse:\n{response}\n\nHow good is the response?"
    )
    """What it is asked; {question}, {response} and {gold} stand for these."""
    scale: tuple[float, float] = (0.0, 1.0)
    """The worst and the best score, which earn 0 and 1."""
    timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """The limit of one request."""
    patience_s: float = Field(default=120.0, ge=0)
    """How long a server that is away is waited for."""
    workers: int = Field(default=16, ge=1)
    """Requests under way at a time."""
    max_tokens: int = Field(default=512, ge=1)
    """Tokens of one of its answers."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> JudgeOptions:
        if "{response}" not in self.prompt:
            raise ValueError("prompt does not hold {response}, where the response is put: write it in")
        if self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale = {list(self.scale)} has no room: write the worst score, then the best")
        return self


class NoOptions(Section):
    """Of what has none."""


BUILT_IN: dict[str, type[Section]] = {
    "verify": NoOptions,
    "format": FormatOptions,
    "overlong": OverlongOptions,
    "repetition": RepetitionOptions,
    "judge": JudgeOptions,
    "reasoning_gym": NoOptions,
}
"""The rewards that have a name of their own, and their options."""
_SHAPES = ("format", "overlong", "repetition")
"""Those that say nothing of the answer."""
_COMMAND = "cmd:"


class RewardSettings(Section):
    """One part of the reward."""

    use: Annotated[str, Keeps.PLACE]
    """`verify`, `format`, `overlong`, `repetition`, `judge`, `reasoning_gym`; or a function (`file.py:function`,
    `module:function`) or command (`cmd: …`) of your own."""
    weight: float = 1.0
    """What it counts in the sum; 0: it is watched, and earns nothing."""
    name: str = Field(default="", pattern=r"^([A-Za-z][\w-]*)?$")
    """What it is called in metrics and saved rollouts; by default as in `use`."""
    correctness: bool = False
    """It judges the answer: pass@k, accuracy and dynamic sampling go by it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of a built-in reward, or what a function is called with."""

    @property
    def called(self) -> str:
        """Its name."""
        if self.name or self.use in BUILT_IN:
            return self.name or self.use
        if self.use.startswith(_COMMAND):
            return "command"
        return re.sub(r"\W", "_", self.use.rpartition(":")[2])

    @property
    def code(self) -> str | None:
        """The function or command of the user's own, if it is one."""
        return None if self.use in BUILT_IN else self.use

    def settings(self) -> Section:
        """Return the options of a built-in reward, checked. Raises ValidationError."""
        return BUILT_IN[self.use].model_validate(self.options)

    @model_validator(mode="after")
    def _is_one(self) -> RewardSettings:
        if self.use in _SHAPES and self.correctness:
            raise ValueError(f'a reward with use = "{self.use}" does not judge the answer: leave correctness out of it')
        if self.use in BUILT_IN:
            self._check_options()
        elif self.use.startswith(_COMMAND):
            if self.options:
                raise ValueError(
                    f'the reward "{self.use}" is a command, which takes its options as words: write them so'
                )
        elif ":" not in self.use:
            hint = did_you_mean(self.use, BUILT_IN)
            raise ValueError(
                f'use = "{self.use}" is not a valid reward: {hint}write {", ".join(BUILT_IN)}, FILE.py:FUNCTION, '
                "MODULE:FUNCTION or cmd: COMMAND"
            )
        return self

    def _check_options(self) -> None:
        try:
            self.settings()
        except ValidationError as error:
            first, known = error.errors()[0], BUILT_IN[self.use].model_fields
            key = ".".join(map(str, first["loc"]))
            what = f'the reward "{self.called}"'
            if first["type"] == "extra_forbidden":
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(f"{what} has no option {key!r}: {has}") from None
            if first["type"] == "missing":
                raise ValueError(f"{what} lacks its option {key!r}: write options = {{ {key} = … }}") from None
            said = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"{what}: {f'its option {key} ' if key else ''}{said}") from None


def judge_of_answers(rewards: Sequence[RewardSettings]) -> RewardSettings | None:
    """Return the reward by which answers are right or wrong: the one that is marked, else the verifier, else
    reasoning-gym's; None where there is none, and the verifier judges without a weight.
    """
    marked = [each for each in rewards if each.correctness]
    named = [each for use in ("verify", "reasoning_gym") for each in rewards if each.use == use]
    return next(iter([*marked, *named]), None)


def check_rewards(rewards: Sequence[RewardSettings], short: str | None) -> None:
    """Raise a ValueError where a list of rewards contradicts itself, or the short form beside it."""
    if not rewards:
        return
    if short is not None:
        raise ValueError(
            f'verifier.reward = "{short}" is the short form of one reward, and [[reward]] is a list of them: leave '
            f'verifier.reward out, and write [[reward]] use = "{short}" beside the others'
        )
    names = [each.called for each in rewards]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'two rewards are called "{twice}": give one of them another name = "…"')
    for use in ("verify", "reasoning_gym"):
        if sum(each.use == use for each in rewards) > 1:
            raise ValueError(f'[[reward]] use = "{use}" stands in the list more than once: keep one of them')
    marked = [each.called for each in rewards if each.correctness]
    marked += [each.called for each in rewards if each.use == "verify" and not each.correctness and marked]
    if len(marked) > 1:
        raise ValueError(
            f"the rewards {' and '.join(marked)} both judge the answer: mark one alone with correctness = true, and "
            "leave verify out where it is not the one"
        )
    if not any(each.weight for each in rewards):
        raise ValueError("every reward of the list has weight = 0, so nothing is earned: give one of them a weight")
