"""Question → prompt text, stop strings and answer format: one frozen object for training, evaluation and analysis.

A template is an experimental variable (a base model's accuracy swings by tens of points with it), so everything that
belongs to it stands in one record with one hash, which runs save. Prompts are made by concatenation, never by
`str.format`, so braces in questions are safe.

`render` gives the whole prompt text and adds no beginning-of-sequence token: whoever encodes it adds the tokenizer's,
unless the text already starts with it (many chat templates write it themselves), so that it stands there once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from r1zero.errors import UserError
from r1zero.types import AnswerFormat

if TYPE_CHECKING:
    import jinja2
    import jinja2.sandbox

JINJA_SUFFIXES = (".jinja", ".j2", ".jinja2")


class Renderer(Protocol):
    """How a question becomes a prompt. Implemented by `Surround`, `Chat` and `Jinja`."""

    def render(self, question_text: str) -> str:
        """The whole prompt."""
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
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> object:
        """The conversation as text, with `tokenize=False`."""
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

    def render(self, question_text: str) -> str:
        """The conversation up to the point where the assistant speaks."""
        user = f"{question_text}\n{self.instruction}" if self.instruction else question_text
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": user})
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if not isinstance(text, str):
            raise TypeError(f"apply_chat_template(tokenize=False) gave a {type(text).__name__}, not a string")
        return text

    @property
    def content(self) -> tuple[str, ...]:
        """The chat template's source and the texts that are put into it."""
        return ("chat", self.source, self.instruction, self.system)


@dataclass(frozen=True, slots=True)
class Jinja:
    """A user's Jinja template; `from_jinja` checks it."""

    source: str

    def render(self, question_text: str) -> str:
        """The template with `question` filled in."""
        return _compiled(self.source).render(question=question_text)

    @property
    def content(self) -> tuple[str, ...]:
        """The template's source."""
        return ("jinja", self.source)


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
        """The prompt for a question, byte for byte as it is tokenised.

        Raises:
            UserError: the tokenizer's chat template, or the user's own, fails on this question.
        """
        try:
            return self.renderer.render(question_text)
        except _rendering_errors() as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"template.name = {self.name!r} fails when it is rendered ({reason}): mend the template, or name "
                "another one"
            ) from error

    @property
    def hash(self) -> str:
        """16 hex digits of all that a run depends on: prompt text, stop strings, answer format. Not of the name."""
        content = [self.renderer.content, self.stop, self.answer_format.value]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


# The paper's three (its public code's strings; the printed Template 2 has a space before <|im_end|>, the code none).
_QWEN_MATH = Template(
    "qwen_math",
    AnswerFormat.BOXED,
    (),
    Surround(
        "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
    ),
)
# Ends in "<think>": the response does not hold the opening tag.
_R1 = Template(
    "r1",
    AnswerFormat.ANSWER_TAGS,
    ("</answer>",),
    Surround(
        "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The "
        "Assistant first thinks about the reasoning process in the mind and then provides the User with the answer. "
        "The reasoning process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> "
        "tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>.\nUser: ",
        "\nAssistant: <think>",
    ),
)
_NO = Template("no", AnswerFormat.BOXED, (), Surround("", ""))

# For base models on GSM8K-like sets, where the last number of the response is the answer. No space after "Answer:": in
# most tokenizers the space belongs to the first word of the response.
_QUESTION_ANSWER = Template(
    "question_answer", AnswerFormat.LAST_NUMBER, ("\nQuestion:",), Surround("Question: ", "\nAnswer:")
)

DEMONSTRATIONS: tuple[tuple[str, str], ...] = (
    (
        "The sum of two positive numbers is $26$ and the difference of their squares is $208$. "
        "What is the larger of the two numbers?",
        "Call the numbers $x > y$. Then $x^2 - y^2 = (x + y)(x - y) = 26(x - y) = 208$, so $x - y = 8$. Adding this to "
        "$x + y = 26$ gives $2x = 34$ and $x = 17$. The answer is $\\boxed{17}$.",
    ),
    (
        "How many positive integers less than $200$ are multiples of $6$ but not of $9$?",
        "The multiples of $6$ below $200$ are $6 \\cdot 1, \\ldots, 6 \\cdot 33$, which is $33$ numbers. Those "
        "that are also multiples of $9$ are the multiples of $18$, from $18 \\cdot 1$ to $18 \\cdot 11$, which is $11$ "
        "numbers. That leaves $33 - 11 = 22$. The answer is $\\boxed{22}$.",
    ),
    (
        "A rectangle has perimeter $34$ and its diagonals have length $13$. What is its area?",
        "Let the sides be $a$ and $b$. Then $a + b = 17$ and $a^2 + b^2 = 13^2 = 169$. Since "
        "$(a + b)^2 = a^2 + b^2 + 2ab$, we get $2ab = 289 - 169 = 120$, so the area is $ab = 60$. "
        "The answer is $\\boxed{60}$.",
    ),
    (
        "A bag holds $4$ red and $6$ blue marbles. Two marbles are drawn at random without putting the first one back. "
        "What is the probability that they have different colours?",
        "There are $\\binom{10}{2} = 45$ equally likely pairs, and $4 \\cdot 6 = 24$ of them have one marble of each "
        "colour. The probability is $\\frac{24}{45} = \\frac{8}{15}$. The answer is $\\boxed{\\frac{8}{15}}$.",
    ),
)
"""Our own four worked problems: the paper's 4-shot text was never released."""


def few_shot(demonstrations: Sequence[tuple[str, str]] = DEMONSTRATIONS) -> Template:
    r"""Worked examples before the question: `Question: {q}\nAnswer: {a}`, joined by two empty lines.

    The paper's rows "4-shot" used a text that it did not release; their numbers point to the Qwen2.5-Math evaluation
    toolkit, whose layout this is. The four demonstrations are **our own**, so results are comparable in kind, not to
    the digit. Answers should end in `The answer is $\boxed{…}$.`, which the BOXED answer format reads.

    A base model goes on with a next question of its own, so a response stops at `\n\nQuestion:` (two line breaks: an
    answer may well use the word at the start of a line).

    Raises:
        UserError: there is no demonstration.
    """
    if not demonstrations:
        raise UserError("few_shot needs at least one demonstration: give (question, answer) pairs")
    shown = "".join(f"Question: {question}\nAnswer: {answer}\n\n\n" for question, answer in demonstrations)
    return Template("few_shot", AnswerFormat.BOXED, ("\n\nQuestion:",), Surround(f"{shown}Question: ", "\nAnswer:"))


def chat(tokenizer: ChatTokenizer, *, instruction: str = "", system: str = "") -> Template:
    """The tokenizer's own chat template: one user message, the question.

    `instruction` follows the question on a line of its own; `system` is a system message before it. No stop strings:
    chat models end their turn with a token.

    Raises:
        UserError: the tokenizer has no chat template, as those of many base models.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "template.name is 'chat', but the model's tokenizer has no chat template: "
            f"use one of {', '.join(_TABLE)} or a {JINJA_SUFFIXES[0]} file"
        )
    source = tokenizer.chat_template
    text = source if isinstance(source, str) else json.dumps(source, sort_keys=True)
    return Template("chat", AnswerFormat.BOXED, (), Chat(tokenizer, text, instruction, system))


def from_jinja(path: Path) -> Template:
    r"""A user's template file, with the one variable `question`.

        {% set stop = ["</answer>"] %}
        {% set answer_format = "answer_tags" %}
        User: {{ question }}
        Assistant: <think>{# #}

    `stop` (a list of strings) and `answer_format` ("boxed", "answer_tags" or "last_number") are optional; without them
    the response ends at end-of-sequence only and the answer is boxed. The text is kept byte for byte, with two rules:
    the line break right after a `{% … %}` or `{# … #}` is dropped, and Windows line ends become `\n`. A line break at
    the end of the file therefore belongs to the prompt, unless a `{# #}` stands before it, as above.

    Templates run in Jinja's sandbox, and a name that is not `question` is an error, not an empty string.

    Raises:
        UserError: the file is missing or unreadable, its syntax is wrong, it uses another variable or not `question`,
            or `stop` or `answer_format` hold something else; the sentence names the file.
    """
    import jinja2

    try:
        source = path.read_text(encoding="utf-8-sig")
        _check_names(source, path)
        module = _compiled(source).make_module({"question": "1 + 1 = ?"})
    except OSError as error:
        raise UserError(
            f"template.name is {str(path)!r}, which cannot be read ({error.strerror}): mend the path"
        ) from (error)
    except UnicodeDecodeError as error:
        raise UserError(f"the template {path} is not UTF-8: save it as UTF-8") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"the template {path} has a syntax error in line {error.lineno}: {error.message}") from error
    except _rendering_errors() as error:
        raise UserError(f"the template {path} fails when it is rendered: {error}") from error
    stop = _stop_strings(getattr(module, "stop", []), path)
    answer_format = _answer_format(getattr(module, "answer_format", AnswerFormat.BOXED.value), path)
    return Template(path.stem, answer_format, stop, Jinja(source))


def _rendering_errors() -> tuple[type[Exception], ...]:
    """What a template's own expressions can raise when they are evaluated."""
    import jinja2

    own = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)
    return (jinja2.TemplateError, *own)


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    import jinja2
    import jinja2.sandbox

    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    """Compiled once per source and process, so that the `Jinja` record itself stays plain data that can be pickled."""
    return _environment().from_string(source)


def _check_names(source: str, path: Path) -> None:
    """Whether `question` and nothing else is read, in all branches, before any of it runs."""
    from jinja2 import meta

    environment = _environment()
    tree = environment.parse(source)
    if list(meta.find_referenced_templates(tree)):
        raise UserError(f"the template {path} includes or extends another file: write it as one file")
    names = meta.find_undeclared_variables(tree)
    unknown = sorted(names - {"question"} - set(environment.globals))
    if unknown:
        raise UserError(f"the template {path} uses {', '.join(unknown)}, but the only variable is {{{{ question }}}}")
    if "question" not in names:
        raise UserError(f"the template {path} never uses {{{{ question }}}}: every prompt would be the same")


def _stop_strings(value: object, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise UserError(f'the template {path} sets stop to {value!r}: write a list of strings, such as ["</answer>"]')
    return tuple(value)


def _answer_format(value: object, path: Path) -> AnswerFormat:
    known = [each.value for each in AnswerFormat]
    if value not in known:
        raise UserError(f"the template {path} sets answer_format to {value!r}: set it to one of {', '.join(known)}")
    return AnswerFormat(str(value))


_TABLE: Mapping[str, Template] = MappingProxyType(
    {template.name: template for template in (_QWEN_MATH, _R1, _NO, few_shot(), _QUESTION_ANSWER)}
)
_ALIASES: Mapping[str, str] = MappingProxyType({"none": "no"})


def template_names() -> tuple[str, ...]:
    """The names that `get_template` knows; `none` is another name of `no`."""
    return (*_TABLE, "chat")


def get_template(
    name: str,
    tokenizer: ChatTokenizer | None = None,
    *,
    answer_format: AnswerFormat | None = None,
    instruction: str = "",
) -> Template:
    """The template called `name`, or the Jinja file at that path (ending in .jinja, .j2 or .jinja2).

    `tokenizer` and `instruction` are used by `chat` alone; `answer_format` overrides the template's own.

    Raises:
        UserError: nothing goes by that name, the file is faulty, `chat` has no tokenizer or chat template, or an
            instruction is given to a template whose text is fixed.
    """
    if instruction and name != "chat":
        raise UserError(
            f"template.instruction is for chat only, and template.name is {name!r}: "
            f"remove the instruction, or write the whole prompt as a {JINJA_SUFFIXES[0]} file"
        )
    template = _named(name, tokenizer, instruction)
    return template if answer_format is None else replace(template, answer_format=answer_format)


def _named(name: str, tokenizer: ChatTokenizer | None, instruction: str) -> Template:
    key = _ALIASES.get(name, name)
    if key in _TABLE:
        return _TABLE[key]
    if name == "chat":
        if tokenizer is None:
            raise UserError("template.name is 'chat', which needs a model with a tokenizer: name another template here")
        return chat(tokenizer, instruction=instruction)
    if name.endswith(JINJA_SUFFIXES):
        return from_jinja(Path(name).expanduser())
    known = template_names()
    close = difflib.get_close_matches(name, [*known, *_ALIASES], n=1, cutoff=0.4)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UserError(
        f"template.name is {name!r}, which is no template: {meant}"
        f"set it to one of {', '.join(known)} or to a {JINJA_SUFFIXES[0]} file"
    )
