"""The table of templates, and finding one by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from r1zero import config
from r1zero.errors import UserError, did_you_mean
from r1zero.templates.jinja import JINJA_SUFFIXES, from_jinja
from r1zero.templates.limits import LimitError, check_constants, read_names
from r1zero.templates.template import Chat, ChatTokenizer, Surround, Template
from r1zero.types import AnswerFormat

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
_R1_TEXT = (
    "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The "
    "Assistant first thinks about the reasoning process in the mind and then provides the User with the answer. "
    "The reasoning process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> "
    "tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>.\nUser: "
)
# Ends in "<think>": the response does not hold the opening tag.
_R1 = Template(
    "r1",
    AnswerFormat.ANSWER_TAGS,
    ("</answer>",),
    Surround(
        _R1_TEXT,
        "\nAssistant: <think>",
    ),
)
_NO = Template("no", AnswerFormat.BOXED, (), Surround("", ""))

# For base models on GSM8K-like sets, where the last number of the response is the answer. No space after "Answer:": in
# most tokenizers the space belongs to the first word of the response.
_QUESTION_ANSWER = Template(
    "question_answer", AnswerFormat.LAST_NUMBER, ("\nQuestion:",), Surround("Question: ", "\nAnswer:")
)

# Other models' own prompts, to evaluate them with. The last two are those of the paper's public code
# (evaluate_model.py of sail-sg/understand-r1-zero at dfca49d), which sets no stop string for either.
_QWEN3 = Template(
    "qwen3",
    AnswerFormat.BOXED,
    (),
    Surround(
        "<|im_start|>user\nQuestion: ",
        "\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n<|im_start|>assistant\n",
    ),
)
_R1_DISTILL_QWEN = Template(
    "r1_distill_qwen",
    AnswerFormat.BOXED,
    (),
    Surround(
        "<｜begin▁of▁sentence｜><｜User｜>",
        " Please reason step by step, and put your final answer within \\boxed{}.\n<｜Assistant｜><think>\n",
    ),
)
_PARAGRAPH = _R1_TEXT.removesuffix("\nUser: ")
_THEIR_INSTRUCTION = (
    " User: You must put your answer inside <answer> </answer> tags, i.e., <answer> answer here </answer>. And your "
    "final answer will be extracted automatically by the \\boxed{} tag.\nThis is the problem:\n"
)
# Of PRIME's model card: a paragraph of its own, and only the second "Assistant" with a capital letter.
_PRIME_ZERO = Template(
    "prime_zero",
    AnswerFormat.BOXED,
    (),
    Surround(
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: ",
        "\n\nPresent the answer in LaTex format: \\boxed{Your answer}. Assistant:",
    ),
)
# One line break before "Assistant": Jinja drops the one that ends the inner template.
_OPEN_REASONER_ZERO = Template(
    "open_reasoner_zero",
    AnswerFormat.ANSWER_TAGS_LOOSE,
    (),
    Surround(_PARAGRAPH + _THEIR_INSTRUCTION, "\nAssistant: <think>"),
)
# What went by these names before, put together from descriptions: saved runs hold its prompts and hashes.
_FORMER_PRIME_ZERO = Template(
    "prime_zero",
    AnswerFormat.BOXED,
    (),
    Surround(
        _PARAGRAPH.replace("The User", "The user")
        .replace("The Assistant", "The assistant")
        .replace("the User", "the user")
        + " User: ",
        "\n\nPresent the answer in LaTex format: \\boxed{Your answer}. Assistant:",
    ),
)
_FORMER_OPEN_REASONER_ZERO = Template(
    "open_reasoner_zero",
    AnswerFormat.ANSWER_TAGS,
    ("</answer>",),
    Surround(_PARAGRAPH + _THEIR_INSTRUCTION, "\n\nAssistant: <think>"),
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


def chat(
    tokenizer: ChatTokenizer, *, instruction: str = "", system: str = "", options: Mapping[str, object] | None = None
) -> Template:
    """Return the tokenizer's own chat template: one user message, the question.

    `instruction` follows the question on a line of its own; `system` is a system message before it; `options` is what
    the template reads beside the messages. No stop strings: chat models end their turn with a token.

    Raises:
        UserError: the tokenizer has no chat template, as those of many base models, or it does not read an option.
    """
    if not tokenizer.chat_template:
        raise UserError(
            "template.name is 'chat', but the model's tokenizer has no chat template: "
            f"use one of {', '.join(_TABLE)} or a {JINJA_SUFFIXES[0]} file"
        )
    source = tokenizer.chat_template
    text = source if isinstance(source, str) else json.dumps(source, sort_keys=True)
    sources = [source] if isinstance(source, str) else list(source.values()) if isinstance(source, dict) else []
    for each in sources:
        try:
            check_constants(str(each))
        except LimitError as error:
            raise UserError(
                f"template.name = 'chat' is not a valid template here ({error}): name another one"
            ) from error
    _check_options(options or {}, list(map(str, sources)))
    given = json.dumps(options or {}, sort_keys=True)
    return Template("chat", AnswerFormat.BOXED, (), Chat(tokenizer, text, instruction, system, given))


_OURS = frozenset({"messages", "conversation", "tokenize", "add_generation_prompt", "chat_template", "return_dict"})


def _check_options(options: Mapping[str, object], sources: Sequence[str]) -> None:
    """Raise a UserError for an option that would do nothing, or that is not the template's."""
    read = [read_names(source) for source in sources]
    known = sorted({name for names in read if names is not None for name in names} - _OURS)
    for name in options:
        if name in _OURS or (name not in known and None not in read):
            raise UserError(
                f"template.options holds {name!r}, which the model's chat template does not take; "
                f"{did_you_mean(name, known)}it reads {', '.join(known) or 'nothing beside the messages'}: write "
                "one of these, or leave it out"
            )


_OTHERS = (_QWEN3, _R1_DISTILL_QWEN, _PRIME_ZERO, _OPEN_REASONER_ZERO)
_TABLE: Mapping[str, Template] = MappingProxyType(
    {template.name: template for template in (_QWEN_MATH, _R1, _NO, few_shot(), _QUESTION_ANSWER, *_OTHERS)}
)
_ALIASES: Mapping[str, str] = MappingProxyType({"none": "no"})
_FORMER: Mapping[str, tuple[Template, ...]] = MappingProxyType(
    {former.name: (former,) for former in (_FORMER_PRIME_ZERO, _FORMER_OPEN_REASONER_ZERO)}
)


def texts_of(name: str) -> tuple[Template, ...]:
    """Return every template of fixed text that ever went by `name`, the present one first; none for another name."""
    key = _ALIASES.get(name, name)
    return (_TABLE[key], *_FORMER.get(key, ())) if key in _TABLE else ()


def template_names() -> tuple[str, ...]:
    """Return the names that `get_template` knows; `none` is another name of `no`."""
    return (*_TABLE, "chat")


def get_template(
    name: str,
    tokenizer: ChatTokenizer | None = None,
    *,
    answer_format: AnswerFormat | None = None,
    instruction: str = "",
    options: Mapping[str, object] | None = None,
) -> Template:
    """Return the template called `name`, or the Jinja file at that path (ending in .jinja, .j2 or .jinja2).

    `tokenizer`, `instruction` and `options` are used by `chat` alone; `answer_format` overrides the template's own.

    Raises:
        UserError: nothing goes by that name, the file is faulty, `chat` has no tokenizer or chat template, or an
            instruction or options are given to a template whose text is fixed.
    """
    if instruction and name != "chat":
        raise UserError(
            f"template.instruction is for chat only, and template.name is {name!r}: "
            f"remove the instruction, or write the whole prompt as a {JINJA_SUFFIXES[0]} file"
        )
    if options and name != "chat":
        raise UserError(f"template.options is for chat only, and template.name is {name!r}: leave the options out")
    template = _named(name, tokenizer, instruction, options)
    return template if answer_format is None else replace(template, answer_format=answer_format)


def _named(
    name: str, tokenizer: ChatTokenizer | None, instruction: str, options: Mapping[str, object] | None
) -> Template:
    key = _ALIASES.get(name, name)
    if key in _TABLE:
        return _TABLE[key]
    if name == "chat":
        if tokenizer is None:
            raise UserError("template.name is 'chat', which needs a model with a tokenizer: name another template here")
        return chat(tokenizer, instruction=instruction, options=options)
    if name.endswith(JINJA_SUFFIXES):
        return from_jinja(Path(name).expanduser())
    known = template_names()
    meant = did_you_mean(name, [*known, *_ALIASES], cutoff=0.4)
    raise UserError(
        f"template.name = {name!r} is not a valid template: {meant}"
        f"set it to one of {', '.join(known)} or to a {JINJA_SUFFIXES[0]} file"
    )


def make_template(settings: config.TemplateSettings, tokenizer: ChatTokenizer | None) -> Template:
    """Make the template that a section of a recipe describes; only chat templates need a tokenizer."""
    return get_template(
        settings.name,
        tokenizer,
        answer_format=settings.answer_format,
        instruction=settings.instruction,
        options=settings.options,
    )
