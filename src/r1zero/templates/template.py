"""What a template is: a renderer of questions, stop strings and an answer format, with one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from r1zero.errors import UserError, reason
from r1zero.templates.limits import LimitError, limited, of_readable_length
from r1zero.types import AnswerFormat, Question

T = TypeVar("T")


class Renderer(Protocol):
    """How a question becomes a prompt. Implemented by `Surround`, `Chat` and `Jinja`."""

    def render(self, question_text: str) -> str:
        """Return the whole prompt."""
        ...

    @property
    def content(self) -> tuple[str, ...]:
        """Everything that `render` depends on besides the question."""
        ...


class ChatTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that `chat` needs."""

    @property
    def chat_template(self) -> object:
        """The Jinja source (or several by name), or None for a tokenizer without one."""
        ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **options: Any
    ) -> object:
        """Return the conversation as text, with `tokenize=False`; `options` are for the template to read."""
        ...


@dataclass(frozen=True, slots=True)
class Surround:
    """Fixed text before and after the question."""

    before: str
    after: str

    def render(self, question_text: str) -> str:
        """`before + question + after`, nothing else."""
        return self.before + question_text + self.after

    @property
    def content(self) -> tuple[str, ...]:
        """Both texts."""
        return ("surround", self.before, self.after)


@dataclass(frozen=True, slots=True)
class Chat:
    """The tokenizer's own chat template around one user message, or a whole conversation."""

    tokenizer: ChatTokenizer = field(repr=False, compare=False)
    source: str
    instruction: str
    system: str
    options: str = "{}"
    """What the template reads beside the messages, as JSON."""

    def render(self, question_text: str) -> str:
        """Return the conversation up to the point where the assistant speaks."""
        return self.converse([*([("system", self.system)] if self.system else []), ("user", question_text)])

    def converse(self, turns: Sequence[tuple[str, str]]) -> str:
        """Return a whole conversation, (role, text) each, up to the same point; the instruction ends the last user's
        turn."""
        messages = [{"role": role, "content": text} for role, text in turns]
        if self.instruction:
            last = max(i for i, (role, _) in enumerate(turns) if role == "user")
            messages[last]["content"] += f"\n{self.instruction}"
        with limited():
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **json.loads(self.options)
            )
        if not isinstance(text, str):
            raise TypeError(f"apply_chat_template(tokenize=False) gave a {type(text).__name__}, not a string")
        return text

    @property
    def content(self) -> tuple[str, ...]:
        """The chat template's source and what is put into it."""
        options = () if self.options == "{}" else (self.options,)  # without any, the hash of before
        return ("chat", self.source, self.instruction, self.system, *options)


@dataclass(frozen=True, slots=True)
class Template:
    """How a question is put to a model, where its response stops and where the answer stands in it.

    `stop` holds the strings that end a response (the text up to and including one belongs to the response); without
    any, only the model's own end-of-sequence token ends it.
    """

    name: str
    answer_format: AnswerFormat
    stop: tuple[str, ...]
    renderer: Renderer

    def render(self, question_text: str) -> str:
        """Return the prompt for a question, byte for byte as it is tokenised.

        Raises:
            UserError: the tokenizer's chat template, or the user's own, fails on this question.
        """
        return self._rendered(self.renderer.render, question_text)

    def ask(self, question: Question) -> str:
        """Return the prompt that puts a question: under a chat template its whole conversation, else its text alone.

        Raises:
            UserError: as `render`, or it is a conversation of several turns, which no other template shows.
        """
        if not question.turns:
            return self.render(question.text)
        if isinstance(self.renderer, Chat):
            return self._rendered(self.renderer.converse, question.turns)
        if question.has_history:
            raise UserError(
                f"it is a conversation of {len(question.turns)} turns, of which template.name = {self.name!r} would "
                'show the last alone: set template.name = "chat", or leave the row out'
            )
        return self.render(question.text)

    def _rendered(self, render: Callable[[T], str], asked: T) -> str:
        try:
            return of_readable_length(render(asked))
        except rendering_errors() as error:
            raise UserError(
                f"template.name = {self.name!r} fails when it is rendered ({reason(error, None)}): mend the template, "
                "or name another one"
            ) from error

    @property
    def hash(self) -> str:
        """16 hex digits of all that a run depends on: prompt text, stop strings, answer format. Not of the name."""
        content = [self.renderer.content, self.stop, self.answer_format.value]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def rendering_errors() -> tuple[type[Exception], ...]:
    """Return what a template's own expressions can raise when they are evaluated."""
    import jinja2

    own = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)
    return (jinja2.TemplateError, LimitError, *own)
