"""The records that flow through the program, left to right.

    Question ─template→ prompt ─sampler→ Completion ─verifier→ Verdict ─→ Rollout

All are frozen; whatever can be computed from a field (a length, a flag) is a property. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

INSTRUCTING = frozenset({"system", "developer"})
"""Roles of turns that ask nothing themselves."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question and every answer that counts as right.

    `id` is unique within its set and stable between runs ("gsm8k/17"); `text` is the bare question, no template;
    `gold` holds one or more accepted alternatives, as strings; `level` is the set's own difficulty label, if any;
    `extra` holds every further column of its row, in plain values, for rewards and readers; `turns` is the conversation
    that asks, as (role, text), where that is more than one user's turn: `text` is then the last of these.
    """

    id: str
    text: str
    gold: tuple[str, ...]
    level: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict, compare=False)
    turns: tuple[tuple[str, str], ...] = ()

    @property
    def asked(self) -> str:
        """What tells questions apart in numbers over them: the text, however it is spaced; the id where it has none."""
        return asked(" ".join(text for _, text in self.turns) or self.text, self.id)

    @property
    def source(self) -> str:
        """The name of its set: the id without the row."""
        return self.id.rpartition("/")[0]

    @property
    def has_history(self) -> bool:
        """Whether more than instructions (a system's or developer's turn) stand beside the one user's turn."""
        return sum(role not in INSTRUCTING for role, _ in self.turns) > 1


def asked(text: str, identity: str) -> str:
    """Return what a question asks, to tell whether two rows ask the same: its text with white space collapsed, or its
    `identity` where it has no text."""
    return " ".join(text.split()) or identity


def is_text(value: str) -> bool:
    """Tell whether a string can be written as UTF-8, which one with a lone surrogate (half of a pair) cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class AnswerFormat(StrEnum):
    """Where in a response its final answer stands: part of a template, read by the verifier."""

    BOXED = "boxed"
    r"""The last balanced `\boxed{…}`."""
    ANSWER_TAGS = "answer_tags"
    """`</think>`, any white space, `<answer>…</answer>`: the R1 template's form."""
    ANSWER_TAGS_STRICT = "answer_tags_strict"
    """The paper's own rule for the R1 template: exactly `</think> <answer>`, and `</answer>` anywhere."""
    ANSWER_TAGS_LOOSE = "answer_tags_loose"
    """The paper's own rule for Open-Reasoner-Zero: `<answer>` and `</answer>` anywhere."""
    LAST_NUMBER = "last_number"
    """The last number of the text, as for GSM8K-like sets."""
    AUTO = "auto"
    """The last box, else answer tags, else a stated final answer, else the last number or expression: for audits."""
    BARE = "bare"
    """The whole text is the answer: for audits."""


class Stop(StrEnum):
    """How a response ended, as the engine saw it; never inferred from the ids afterwards."""

    EOS = "eos"
    """The model sampled one of its end-of-sequence tokens, which is the response's last token."""
    STOP_STRING = "stop_string"
    """The text came to contain one of the template's stop strings."""
    LENGTH = "length"
    """The token budget ran out: the response is truncated."""
    CONTEXT = "context"
    """The model's positions ran out before the token budget did: the response is truncated."""


CUT_OFF = frozenset({Stop.LENGTH, Stop.CONTEXT})
"""How truncated responses end; they would have gone on."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response: exactly the ids that were sampled, terminator included, and the engine's log-probs of them.

    `logprobs[t]` is log π(token_ids[t] | prompt, token_ids[:t]) of the *sampling* distribution (after temperature and
    any top-p or top-k filter), in nats. `text` is for graders and readers only; training never re-tokenises it.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stop: Stop

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(f"{len(self.token_ids)} token ids but {len(self.logprobs)} log-probs")

    @property
    def length(self) -> int:
        """|o|: the number of response tokens, terminator included."""
        return len(self.token_ids)

    def holds(self, ids: frozenset[int]) -> bool:
        """Tell whether any of these token ids is in it."""
        return not ids.isdisjoint(self.token_ids)

    @property
    def truncated(self) -> bool:
        """Whether the token budget, or the model's context, cut the response off."""
        return self.stop in CUT_OFF


class Outcome(StrEnum):
    """What the verifier found. Only the first three are judgements of the response."""

    RIGHT = "right"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """The response holds no answer in the asked-for format. Earns nothing, like a wrong one."""
    UNGRADED = "ungraded"
    """The gold answer is unusable or the grader failed: nobody knows whether the response is right."""
    TIMEOUT = "timeout"
    """The grader ran into its limit and was killed: nobody knows either."""


class Fate(StrEnum):
    """What became of a response, exactly one of these: the four of the paper's App. D, and what nobody could grade."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNFORMATTED = "unformatted"
    """It holds no answer in the asked-for format."""
    TRUNCATED = "truncated"
    """The token budget or the context cut it off, whatever its verdict."""
    UNGRADED = "ungraded"

    @classmethod
    def of(cls, outcome: str, truncated: bool) -> Fate:
        """Derive it from an outcome and how the response ended; an outcome of another version is ungraded."""
        return cls.TRUNCATED if truncated else _FATES.get(outcome, cls.UNGRADED)

    @property
    def coarse(self) -> Fate:
        """The same where `unformatted` is not told apart from `incorrect`."""
        return Fate.INCORRECT if self is Fate.UNFORMATTED else self


_FATES: dict[str, Fate] = {
    Outcome.RIGHT: Fate.CORRECT,
    Outcome.WRONG: Fate.INCORRECT,
    Outcome.NO_ANSWER: Fate.UNFORMATTED,
}
COARSE_FATES = tuple(fate for fate in Fate if fate.coarse is fate)
"""The fates without `unformatted` apart."""


@dataclass(frozen=True, slots=True)
class GradingTask:
    """A response as a grader is given it: the text and its tokens, how it ended, and the question it answers.

    `gold` and `answer_format` are what the verifier reads; the rest is for rewards that name it. `extra` are further
    columns of the question's row, `turns` the conversation that asks, as (role, text), where it is one. `answer_only`
    asks for the judgement of the answer alone: evaluation does.
    """

    response: str
    gold: Sequence[str]
    answer_format: AnswerFormat
    question: str = ""
    id: str = ""
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    prompt: str = ""
    token_ids: tuple[int, ...] = ()
    stop: Stop | None = None
    turns: tuple[tuple[str, str], ...] = ()
    answer_only: bool = False

    @classmethod
    def of(cls, question: Question, prompt: str, completion: Completion, answer_format: AnswerFormat) -> GradingTask:
        """Return the task of a sampled response."""
        return cls(
            completion.text,
            question.gold,
            answer_format,
            question.text,
            question.id,
            question.extra,
            prompt,
            completion.token_ids,
            completion.stop,
            question.turns,
        )

    @property
    def length(self) -> int:
        """|o|, in tokens."""
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class RewardPart:
    """One part of a response's reward: r = Σ weight · verdict.reward. `answers` marks the part that judges the answer,
    which a truncation policy concerns.
    """

    name: str
    verdict: Verdict
    weight: float = 1.0
    answers: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verifier's answer about one response: the outcome, what it extracted, the rule that decided, and the time.

    `score` is what a user's own reward function gave, if it gave a number; the outcome is then right from 1 upwards.
    `columns` are further numbers that it gave. Of a list of rewards the outcome is the judgement of the answer, and
    `parts` are all of them.
    """

    outcome: Outcome
    extracted: str | None = None
    rule: str = ""
    seconds: float = 0.0
    score: float | None = None
    columns: Mapping[str, float] = field(default_factory=dict, hash=False)
    parts: tuple[RewardPart, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the response counts as right."""
        return self.outcome is Outcome.RIGHT

    @property
    def answer_reward(self) -> float:
        """What the answer earns: the score of a user's own function, else 1 if it is right and 0 if not."""
        return float(self.right) if self.score is None else self.score

    @property
    def reward(self) -> float:
        """What the response earns, truncation aside: `answer_reward`, or the weighted sum of the graded parts."""
        if not self.parts:
            return self.answer_reward
        return sum(part.weight * part.verdict.reward for part in self.parts if part.verdict.graded)

    @property
    def graded(self) -> bool:
        """Whether this verdict says anything about the answer (right, wrong or no answer)."""
        return self.outcome not in (Outcome.UNGRADED, Outcome.TIMEOUT)

    @property
    def ungraded_part(self) -> RewardPart | None:
        """The first part that weighs something and that nobody could grade; of a plain verdict there is none."""
        return next((part for part in self.parts if part.weight and not part.verdict.graded), None)

    @property
    def earned(self) -> Outcome:
        """Why nobody knows the reward, ungraded or timeout; else the outcome. Of a list, one part that weighs something
        and could not be graded leaves the whole ungraded, and the answer's own outcome need not be known."""
        part = self.ungraded_part
        if part is not None:
            return part.verdict.outcome
        return Outcome.WRONG if self.parts and not self.graded else self.outcome

    @property
    def rewarded(self) -> bool:
        """Whether the reward is known."""
        return self.earned not in (Outcome.UNGRADED, Outcome.TIMEOUT)


@dataclass(frozen=True)
class Rollout:
    """One question's G samples with their verdicts: a group, complete by construction.

    `completions[g]` and `verdicts[g]` belong together; `prompt_ids` are the ids the sampler was given.
    """

    question: Question
    prompt: str
    prompt_ids: tuple[int, ...]
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict, ...]

    def __post_init__(self) -> None:
        if len(self.completions) != len(self.verdicts):
            raise ValueError(f"{len(self.completions)} completions but {len(self.verdicts)} verdicts")

    @cached_property
    def pass_rate(self) -> float | None:
        """Share of the graded samples that are right, or None when none was graded."""
        graded = [v.right for v in self.verdicts if v.graded]
        return sum(graded) / len(graded) if graded else None
