"""Several question sets at once: which source is asked next, and each source's own epochs.

Which source stands at a position is a function of (seed, position) alone: the multiples of the golden ratio, begun at a
place that hangs on the seed, fall into the sources' shares of [0, 1). No sequence of points is spread more evenly by a
rule so short: of n questions, every source has its share to within a few, where draws by chance would be off by √n.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, overload

import numpy as np

from r1zero.config import Recipe
from r1zero.metrics import Tally, source_key
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import Encode, Prompt, PromptStream
from r1zero.templates import Template
from r1zero.types import Question

_TURN = 1 << 64
_GOLDEN = 0x9E3779B97F4A7C15  # _TURN divided by the golden ratio, odd


@dataclass(frozen=True)
class _Together(Sequence[Question]):
    """The questions of several sets, one set after the other; of those that are made, each when it is asked for."""

    sets: tuple[QuestionSet, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __iter__(self) -> Iterator[Question]:
        return chain.from_iterable(self.sets)

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Question, ...]: ...
    def __getitem__(self, index: int | slice) -> Question | tuple[Question, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        for each in self.sets:
            if 0 <= place < len(each):
                return each[place]
            place -= len(each)
        raise IndexError(f"question {index} of {len(self)}")


def mixed(parts: Sequence[QuestionSet]) -> QuestionSet:
    """Return several sets as one, which knows its `parts`."""
    dropped: Counter[str] = Counter()
    for each in parts:
        dropped.update(each.dropped)
    return QuestionSet(
        " + ".join(each.name for each in parts),
        _Together(tuple(parts)),
        dict(dropped),
        hashlib.sha256("\n".join(each.fingerprint for each in parts).encode()).hexdigest()[:16],
        "; ".join(each.source for each in parts),
        tuple(note for each in parts for note in each.notes),
        tuple(parts),
    )


class MixedStream:
    """Deals several sets by their weights, each in its own seeded order, epoch after epoch. What a set passes over
    takes no place of another's. Its state is its position and those of the sets' streams.
    """

    def __init__(self, questions: QuestionSet, streams: Sequence[PromptStream], weights: Sequence[float], seed: int):
        self.questions, self.streams, self.position = questions, tuple(streams), 0
        total = sum(weights)
        self._ends = [round(end / total * _TURN) for end in accumulate(weights)][:-1]
        self._begin = int(np.random.default_rng([seed, len(streams)]).integers(_TURN, dtype=np.uint64, endpoint=False))

    def source_at(self, position: int) -> int:
        """Tell which source is asked at a position, from the seed alone."""
        return bisect_right(self._ends, (self._begin + position * _GOLDEN) % _TURN)

    @property
    def names(self) -> list[str]:
        """What the sources are called."""
        return [stream.questions.name for stream in self.streams]

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest prompt that may be asked."""
        return max(stream.max_tokens for stream in self.streams)

    @property
    def dropped(self) -> int:
        """Prompts passed over, of all sources."""
        return sum(stream.dropped for stream in self.streams)

    @property
    def epoch(self) -> float:
        """Questions passed, over the questions of all sources."""
        return sum(stream.position for stream in self.streams) / len(self.questions)

    def next(self, count: int) -> list[Prompt]:
        """Deal the next `count` prompts. Raises UserError like `peek`."""
        prompts = self._deal(count, lambda stream, part: stream.next(part))
        self.position += count
        return prompts

    def peek(self, count: int) -> list[Prompt]:
        """Return the prompts that `next` would deal.

        Raises:
            UserError: no prompt of a source is short enough.
        """
        return self._deal(count, lambda stream, part: stream.peek(part))

    def _deal(self, count: int, take: Callable[[PromptStream, int], list[Prompt]]) -> list[Prompt]:
        order = [self.source_at(self.position + i) for i in range(count)]
        dealt = [iter(take(stream, order.count(source))) for source, stream in enumerate(self.streams)]
        return [next(dealt[source]) for source in order]

    def observe(self, tally: Tally) -> None:
        """Tell how far every source is."""
        for stream in self.streams:
            name = stream.questions.name
            tally.add(source_key(name, "epoch"), stream.epoch)
            tally.add(source_key(name, "prompts_dropped"), stream.dropped)

    def state(self) -> dict[str, Any]:
        """Tell where the streams stand."""
        return {"position": self.position, "sources": [stream.state() for stream in self.streams]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.position = state["position"]
        for stream, kept in zip(self.streams, state["sources"], strict=True):
            stream.restore(kept)


Stream = PromptStream | MixedStream
"""What deals a run's questions."""


def make_stream(
    recipe: Recipe, questions: QuestionSet, template: Template, encode: Encode, positions: int | None
) -> Stream:
    """Return what deals the training questions of a recipe: one set, or the parts of several."""
    bound, seed, sources = recipe.questions.max_prompt_tokens, recipe.train.seed, recipe.questions.sources or ()
    if not questions.parts:
        return PromptStream(questions, template, encode, max_tokens=bound, seed=seed, positions=positions)
    streams = [
        PromptStream(
            part, template, encode, max_tokens=source.max_prompt_tokens or bound, seed=seed, positions=positions,
            salt=(number,),
            setting=f"questions.{f'sources.{number - 1}.' if source.max_prompt_tokens else ''}max_prompt_tokens",
        )
        for number, (part, source) in enumerate(zip(questions.parts, sources, strict=True), start=1)
    ]  # fmt: skip
    return MixedStream(questions, streams, [source.weight for source in sources], seed)
