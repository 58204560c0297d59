"""What a template is: a renderer of questions, stop strings and an answer format, with one hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from r1zero.errors import UserError, reason
from r1zero.templates.limits import LimitError, limited, of_readable_length
from r1zero.types import AnswerFormat


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
    """The tokenizer's own chat template around one user message."""

    tokenizer: ChatTokenizer = field(repr=False, compare=False)
    source: str
    instruction: str
    system: str
    options: str = "{}"
    """What the template reads beside the messages, as JSON."""

    def render(self, question_text: str) -> str:
        """Return the conversation up to the point where the assistant speaks."""
        user = f"{question_text}\n{self.instruction}" if self.instruction else question_text
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": user})
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
        try:
            return of_readable_length(self.renderer.render(question_text))
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
