"""Questions × sampler × verifier → rollouts: what to ask next, and collecting graded groups.

Grading overlaps decoding: each response is handed to the verifier's processes the moment it is finished.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from r1zero.errors import UserError
from r1zero.questions import QuestionSet
from r1zero.templates import Template
from r1zero.types import Question, is_text

Encode = Callable[[str], tuple[int, ...]]

_ALL_BUT_ENDLESS = 100_000  # no real set is larger, and generated questions resemble one another


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question rendered and encoded. `key` names it in the sampling noise; it differs from epoch to epoch."""

    question: Question
    text: str
    ids: tuple[int, ...]
    key: str


def make_prompt(question: Question, template: Template, encode: Encode, key: str) -> Prompt:
    """Render and encode a question. Raises UserError when nothing comes of it: a model must be given something."""
    try:
        text = template.render(question.text)
    except UserError as error:
        raise UserError(f"Question {question.id}: {error}") from error
    if not is_text(text):
        raise UserError(
            f"Question {question.id} under template {template.name} holds half a character (a lone surrogate), which "
            "no tokenizer reads; mend the question or the template."
        )
    ids = encode(text)
    if not ids:
        raise UserError(f"Question {question.id} is an empty prompt under template {template.name}; remove its row.")
    return Prompt(question, text, ids, key)


def longest_prompt(
    questions: QuestionSet, template: Template, encode: Encode, at_most: int, *, ignoring: int = 0
) -> int:
    """Return tokens of the set's longest prompt among those of `at_most` tokens. Of an endless set, its beginning
    counts. Prompts of `ignoring` bytes or less are not looked at: encoding many of them takes half a minute.
    """
    first = itertools.islice(questions, _ALL_BUT_ENDLESS)
    wanted = (each for each in first if len(template.render(each.text).encode(errors="replace")) > ignoring)
    lengths = (len(make_prompt(question, template, encode, question.id).ids) for question in wanted)
    return max((length for length in lengths if length <= at_most), default=0)


@dataclass(frozen=True)
class PreparedSet:
    """A finite question set under a template; rendered and encoded once, when first looked at."""

    questions: QuestionSet
    template: Template
    encode: Encode
    textless: frozenset[int] = frozenset()
    """Token ids that the model can say and its tokenizer has no text for."""

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """All questions, in order. Raises UserError like `make_prompt`."""
        return tuple(make_prompt(each, self.template, self.encode, each.id) for each in self.questions)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max((len(prompt.ids) for prompt in self.prompts), default=0)


class PromptStream:
    """Deals a question set in a seeded order, epoch after epoch; its position is two numbers that a checkpoint holds.

    A batch may go over the end of an epoch, and of a set smaller than itself over several: a question that is asked
    again is so under the next epoch's key, as another group.

    Prompts longer than `max_tokens` are passed over, never cut, and counted in `dropped`.
    """

    def __init__(self, questions: QuestionSet, template: Template, encode: Encode, *, max_tokens: int, seed: int):
        self.questions, self.template, self.encode = questions, template, encode
        self.max_tokens, self.seed = max_tokens, seed
        self.position, self.dropped = 0, 0
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def epoch(self) -> float:
        """Passes over the set so far."""
        return self.position / len(self.questions)

    def next(self, count: int) -> list[Prompt]:
        """Deal the next `count` prompts. Raises UserError like `peek`."""
        prompts, position = self._deal(count)
        self.dropped += position - self.position - len(prompts)
        self.position = position
        return prompts

    def peek(self, count: int) -> list[Prompt]:
        """Return the prompts that `next` would deal.

        Raises:
            UserError: no prompt of the set is short enough.
        """
        return self._deal(count)[0]

    def _deal(self, count: int) -> tuple[list[Prompt], int]:
        """Return the next `count` prompts, and the position after them."""
        size = len(self.questions)
        prompts: list[Prompt] = []
        position, last = self.position, self.position
        while len(prompts) < count:
            if position - last >= 2 * size:
                raise UserError(
                    f"No prompt of {self.questions.name} fits into questions.max_prompt_tokens = {self.max_tokens}; "
                    "raise it."
                )
            epoch, index = divmod(position, size)
            question = self.questions[int(self._permutation(epoch)[index])]
            prompt = make_prompt(question, self.template, self.encode, f"{epoch}:{question.id}")
            position += 1
            if len(prompt.ids) <= self.max_tokens:
                prompts.append(prompt)
                last = position
        return prompts, position

    def state(self) -> dict[str, int]:
        """Tell where the stream stands."""
        return {"position": self.position, "dropped": self.dropped}

    def restore(self, state: dict[str, int]) -> None:
        """Continue from `state()`."""
        self.position, self.dropped = state["position"], state["dropped"]

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.questions))
        return self._order[1]
