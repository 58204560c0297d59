"""Questions × sampler × verifier → rollouts: what to ask next, and collecting graded groups.

Grading overlaps decoding: each response is handed to the verifier's processes the moment it is finished.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from r1zero.errors import UserError, plural
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
    text = _asked(question, template)
    if not is_text(text):
        raise UserError(
            f"Question {question.id} under template {template.name} holds half a character (a lone surrogate), which "
            "no tokenizer reads; mend the question or the template."
        )
    ids = encode(text)
    if not ids:
        raise UserError(f"Question {question.id} is an empty prompt under template {template.name}; remove its row.")
    return Prompt(question, text, ids, key)


def _asked(question: Question, template: Template) -> str:
    try:
        return template.ask(question)
    except UserError as error:
        raise UserError(f"Question {question.id}: {error}") from error


def unshown_turns(questions: QuestionSet, template: Template) -> list[str]:
    """Tell of how many questions a template leaves out the system's turn; nothing where it shows all there is."""
    stored = questions.questions if isinstance(questions.questions, tuple) else ()
    hidden = sum(bool(each.turns) for each in stored) if template.name != "chat" else 0
    told = (
        f"{questions.name}: {plural(hidden, 'question')} with a system's turn, which template.name = "
        f'{template.name!r} leaves out (template.name = "chat" shows it)'
    )
    return [told] if hidden else []


def long_prompts(questions: QuestionSet, template: Template, encode: Encode, above: int) -> dict[str, int]:
    """Return the tokens of the prompts that have more than so many, by question id. Of an endless set, its beginning
    is looked at; of texts too short for it, nothing: encoding many of them takes half a minute.
    """
    # no tokenizer makes more tokens of a text than it has bytes, but for the one that opens it
    first = itertools.islice(questions, _ALL_BUT_ENDLESS)
    wanted = (each for each in first if len(_asked(each, template).encode(errors="replace")) >= above)
    lengths = {each.id: len(make_prompt(each, template, encode, each.id).ids) for each in wanted}
    return {name: length for name, length in lengths.items() if length > above}


@dataclass(frozen=True)
class PreparedSet:
    """A finite question set under a template, for a model of so many `positions` where they are known; rendered and
    encoded once, when first looked at.
    """

    questions: QuestionSet
    template: Template
    encode: Encode
    textless: frozenset[int] = frozenset()
    """Token ids that the model can say and its tokenizer has no text for."""
    positions: int | None = None

    @cached_property
    def _encoded(self) -> tuple[Prompt, ...]:
        return tuple(make_prompt(each, self.template, self.encode, each.id) for each in self.questions)

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """All questions that leave room for a response, in order.

        Raises:
            UserError: one cannot be asked, see `make_prompt`, or none leaves room.
        """
        found = tuple(each for each in self._encoded if self.positions is None or len(each.ids) < self.positions)
        if self._encoded and not found:
            raise UserError(
                f"No prompt of {self.questions.name} fits into the model's {self.positions} positions: take a shorter "
                "template, or a model of a longer context."
            )
        return found

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max((len(prompt.ids) for prompt in self.prompts), default=0)

    def cramped(self, budget: int) -> int:
        """Return how many prompts leave less room than a budget of so many tokens."""
        return sum(len(each.ids) + budget > (self.positions or math.inf) for each in self.prompts)

    def notes(self, budget: int) -> tuple[str, ...]:
        """Tell what a reader must know of the questions, where responses are given so many tokens."""
        return (*self.questions.notes, *unshown_turns(self.questions, self.template), *self.fit(budget))

    def fit(self, budget: int) -> list[str]:
        """Tell how the prompts, and responses of so many tokens, fit into the model's positions; nothing if they do."""
        asked = {each.question.id for each in self.prompts}
        crowded = [each.question.id for each in self._encoded if each.question.id not in asked]
        return fit_told(self.questions.name, self.positions, budget, crowded, self.cramped(budget))


def first_of(ids: Sequence[str], most: int = 3) -> str:
    """List the first of some questions, and say how many more there are."""
    return ", ".join(ids[:most]) + (f" (and {len(ids) - most:,} more)" if len(ids) > most else "")


def fit_told(name: str, positions: int | None, budget: int, crowded: Sequence[str], cramped: int) -> list[str]:
    """Say how a set's prompts fit into a model's positions: those that fill them all, and how many leave less than the
    budget.
    """
    told = []
    if crowded:
        told.append(
            f"{name}: {plural(len(crowded), 'question')} left out, whose prompts fill the model's {positions} "
            f"positions: {first_of(crowded)}"
        )
    if cramped:
        told.append(
            f"{name}: {plural(cramped, 'prompt')} of which less than the budget of {budget} tokens is left of the "
            f"model's {positions} positions: a response ends there, and counts as truncated"
        )
    return told


class PromptStream:
    """Deals a question set in a seeded order, epoch after epoch; its position is two numbers that a checkpoint holds.

    A batch may go over the end of an epoch, and of a set smaller than itself over several: a question that is asked
    again is so under the next epoch's key, as another group.

    Prompts longer than `max_tokens`, or that fill all of the model's `positions`, are passed over, never cut, and
    counted in `dropped`. `salt` gives an order of its own to a set beside others of the same seed; `setting` is what
    `max_tokens` is called.
    """

    def __init__(
        self,
        questions: QuestionSet,
        template: Template,
        encode: Encode,
        *,
        max_tokens: int,
        seed: int,
        positions: int | None = None,
        salt: tuple[int, ...] = (),
        setting: str = "questions.max_prompt_tokens",
    ):
        self.salt = salt
        self.questions, self.template, self.encode = questions, template, encode
        self.max_tokens, self.seed = max_tokens if positions is None else min(max_tokens, positions - 1), seed
        self._bound = f"{setting} = {max_tokens}; raise it"
        if self.max_tokens < max_tokens:
            self._bound = f"the model's {positions} positions; take a shorter template, or a model of a longer context"
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
                raise UserError(f"No prompt of {self.questions.name} fits into {self._bound}.")
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
            self._order = epoch, np.random.default_rng([self.seed, epoch, *self.salt]).permutation(len(self.questions))
        return self._order[1]
